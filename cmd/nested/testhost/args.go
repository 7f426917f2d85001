package testhost

import (
	"fmt"
	"strings"

	"govmm/cmd/nested/wire"
)

// File descriptors of QEMU, in the order of exec.Cmd.ExtraFiles.
const (
	initrdFD = 3 + iota
	controlFD
	inputFD
)

// processor has AMD-V and nested paging, both of which TCG has. Without topoext
// it need not be told the shape of its caches. The rest is what TCG of QEMU 7.2
// lacks: named, so that it does not warn of it, and so that the machine is the
// same with a later one. XSAVE stays, because KVM's calls for it are to be tested, though TCG does
// not tell KVM when a guest sets XCR0: Linux guests warn of an "XSAVE consistency problem".
const processor = "EPYC,+svm,+npt,-topoext," +
	"-rdseed,-sha-ni,-fxsr-opt,-misalignsse,-3dnowprefetch,-osvw,-nrip-save,-xsavec"

// arguments returns QEMU's, without its name.
func (c *Config) arguments() []string {
	accel := "tcg,thread=multi,tb-size=512"
	cpus := c.CPUs
	if c.VirtualTime {
		// One instruction takes 2^1 ns. With sleep=off an idle machine's clock
		// jumps to its next timer. Both need all processors on one thread.
		accel = "tcg,thread=single,tb-size=512"
		cpus = 1
	}
	var args []string
	for _, dir := range c.Firmware {
		args = append(args, "-L", dir)
	}
	args = append(args,
		"-name", "govmm-nested",
		"-M", "q35",
		"-accel", accel,
		"-cpu", processor,
		"-smp", fmt.Sprint(cpus),
		"-m", fmt.Sprint(c.MemoryMiB),
		"-kernel", c.Kernel,
		"-initrd", fmt.Sprintf("/proc/self/fd/%d", initrdFD),
		"-append", c.kernelCommandLine(),
		"-nodefaults", "-display", "none", "-no-reboot",
		"-serial", "stdio",
		"-device", "virtio-serial-pci",
		"-chardev", fmt.Sprintf("socket,id=control,fd=%d", controlFD),
		"-device", "virtserialport,chardev=control,name="+wire.ControlPort,
		"-chardev", fmt.Sprintf("socket,id=input,fd=%d", inputFD),
		"-device", "virtserialport,chardev=input,name="+wire.InputPort,
		"-virtfs", "local,path=/,mount_tag="+wire.RootTag+",security_model=none,readonly=on,multidevs=remap",
	)
	if c.VirtualTime {
		args = append(args, "-icount", "shift=1,sleep=off")
	}
	for i, dir := range c.Job.Shares {
		args = append(args, "-virtfs", "local,path="+escape(dir)+",mount_tag="+wire.ShareTag(i)+",security_model=none,multidevs=remap")
	}
	return args
}

// escape writes a value that may have commas as QEMU reads it.
func escape(value string) string { return strings.ReplaceAll(value, ",", ",,") }

func (c *Config) kernelCommandLine() string {
	line := "console=ttyS0 reboot=t panic=-1 mitigations=off"
	if !c.Verbose {
		line += " quiet"
	}
	return line
}
