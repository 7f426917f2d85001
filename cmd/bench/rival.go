package main

import "fmt"

// devices are what a guest gets beside its console.
type devices struct {
	disk    string // image
	tap     string // name
	user    bool   // network without privilege
	balloon bool   // with free page reporting
}

// A rival is a monitor as the parts about devices run it.
type rival struct {
	name  string // last element of IDs
	title string
	// command boots a guest with devices.
	command func(b *bench, g guest, d devices) (command, env []string)
}

// rivals are compared, govmm first.
var rivals = []rival{
	{"govmm", "govmm", func(b *bench, g guest, d devices) ([]string, []string) {
		return b.govmmCommand(g, d.govmm()...), b.warmCache()
	}},
	{"q35", "QEMU q35", func(b *bench, g guest, d devices) ([]string, []string) {
		// With its help for the TPR of 32-bit Windows, QEMU 7.2 sets the guest's registers anew after it has come up, and then emulated
		// AMD-V, which is stricter with the task register than processors are, forbids the guest's programs all ports.
		return append(b.qemuOf("q35", g, "-global", "kvm-apic.vapic=off"), d.qemu("pci", ",romfile=")...), nil
	}},
	{"microvm", "QEMU microvm", func(b *bench, g guest, d devices) ([]string, []string) {
		return append(b.qemuOf("microvm", g, "-global", "virtio-mmio.force-legacy=off"), d.qemu("device", "")...), nil
	}},
}

func (d devices) govmm() []string {
	var flags []string
	if d.disk != "" {
		flags = append(flags, "--disk", d.disk)
	}
	if d.tap != "" {
		flags = append(flags, "--net", "tap="+d.tap)
	}
	if d.user {
		flags = append(flags, "--net", "user")
	}
	if d.balloon {
		flags = append(flags, "--balloon")
	}
	return flags
}

// qemu gives the flags for devices whose names end in suffix. A network card gets no firmware to boot from, nic says how.
func (d devices) qemu(suffix, nic string) []string {
	var flags []string
	add := func(device, options string) { flags = append(flags, "-device", device+"-"+suffix+options) }
	if d.disk != "" {
		flags = append(flags, "-drive", fmt.Sprintf("file=%s,if=none,id=disk,format=raw", d.disk))
		add("virtio-blk", ",drive=disk")
	}
	if d.tap != "" {
		flags = append(flags, "-netdev", fmt.Sprintf("tap,id=tap,ifname=%s,script=no,downscript=no,vhost=off", d.tap))
		add("virtio-net", ",netdev=tap"+nic)
	}
	if d.user {
		flags = append(flags, "-netdev", "user,id=user")
		add("virtio-net", ",netdev=user"+nic)
	}
	if d.balloon {
		add("virtio-balloon", ",free-page-reporting=on")
	}
	return flags
}
