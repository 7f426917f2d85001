package compare

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"govmm/compare/probe"
	"govmm/compare/report"
)

// list writes a list of names for a cell.
func list(names []string) string { return someOf(names, 12) }

// counted writes the length of one of the probe's lists.
func counted(n int) string {
	if n >= probe.MaxList {
		return fmt.Sprintf("%d or more", n)
	}
	return strconv.Itoa(n)
}

// someOf writes the first of a list of names.
func someOf(names []string, most int) string {
	if len(names) == 0 {
		return "none"
	}
	text := strings.Join(names[:min(len(names), most)], ", ")
	if more := len(names) - most; more > 0 {
		text += fmt.Sprintf(" and %d more", more)
	}
	return text
}

// hardware is claim 1.
func (c *comparison) hardware(ctx context.Context, k *report.Claim) error {
	k.Rows = []report.Row{
		c.factRow(ctx, "hardware/hypervisor", "CPUID's hypervisor leaf", func(f *probe.Facts) string { return orNone(f.Hypervisor) }),
		c.factRow(ctx, "hardware/cpu", "processor", func(f *probe.Facts) string { return f.CPUModel }),
		c.factRow(ctx, "hardware/acpi", "ACPI tables", func(f *probe.Facts) string { return list(f.ACPI) }),
		c.factRow(ctx, "hardware/pci", "PCI devices", func(f *probe.Facts) string { return counted(len(f.PCI)) }),
		c.factRow(ctx, "hardware/virtio", "virtio devices", func(f *probe.Facts) string { return list(f.Virtio) }),
		c.factRow(ctx, "hardware/disks", "disks", func(f *probe.Facts) string { return list(f.Disks) }),
		c.factRow(ctx, "hardware/serial", "serial ports", func(f *probe.Facts) string { return list(f.Serial) }),
		c.factRow(ctx, "hardware/nodes", "nodes in /dev", func(f *probe.Facts) string { return strconv.Itoa(f.Devices) }),
		c.factRow(ctx, "hardware/nics", "network interfaces", func(f *probe.Facts) string { return list(f.NICs) }),
	}
	containers, err := c.compared(ctx, func(p place, hosts, its *probe.Facts) {
		title := p.subject().Title
		if p.subject().Kind == report.KindVM {
			check(k, its.Hypervisor == kvmVendor && (hosts.Hypervisor != kvmVendor || !slices.Equal(its.PCI, hosts.PCI)),
				"the %s's processor says that it is KVM's, and its devices are not the host's", title)
			check(k, !slices.Equal(its.ACPI, hosts.ACPI) || !slices.Equal(its.Disks, hosts.Disks), "the %s has firmware tables or disks of its own", title)
			return
		}
		check(k, its.Hypervisor == hosts.Hypervisor && its.CPUModel == hosts.CPUModel, "the %s's processor is the host's", title)
		check(k, subset(its.Disks, hosts.Disks) && subset(its.PCI, hosts.PCI), "the %s sees no disk and no PCI device that is not the host's", title)
	})
	k.Finding = beside(containers, "The virtual machine has a processor with KVM's mark and devices of its own", "a container has the host's, as far as it may see them")
	return alone(k, containers, err)
}

func orNone(s string) string {
	if s == "" {
		return "none"
	}
	return s
}

func subset(some, all []string) bool {
	return !slices.ContainsFunc(some, func(s string) bool { return !slices.Contains(all, s) })
}

// contradicted changes the finding of a claim that does not hold whole.
func contradicted(k *report.Claim, err error) error {
	var against []string
	for _, check := range k.Checks {
		if !check.Holds {
			against = append(against, check.Text)
		}
	}
	if len(against) > 0 {
		k.Finding = "Not so: " + strings.Join(against, "; not so: ") + "."
	}
	return err
}

// kernel is claim 2.
func (c *comparison) kernel(ctx context.Context, k *report.Claim) error {
	k.Rows = []report.Row{
		c.factRow(ctx, "kernel/release", "kernel", func(f *probe.Facts) string { return f.Kernel.Release }),
		c.factRow(ctx, "kernel/bootid", "boot id", func(f *probe.Facts) string { return f.Kernel.BootID }),
		c.factRow(ctx, "kernel/processes", "processes that are seen", func(f *probe.Facts) string { return strconv.Itoa(f.Processes) }),
		c.factRow(ctx, "kernel/mounts", "mounts", func(f *probe.Facts) string { return counted(len(f.Mounts)) }),
	}
	containers, err := c.compared(ctx, func(p place, hosts, its *probe.Facts) {
		title := p.subject().Title
		if p.subject().Kind == report.KindVM {
			check(k, its.Kernel.BootID != "" && its.Kernel.BootID != hosts.Kernel.BootID, "the %s's boot id is not the host's", title)
			return
		}
		check(k, its.Kernel.BootID == hosts.Kernel.BootID && its.Kernel.Release == hosts.Kernel.Release, "the %s's boot id and kernel are the host's", title)
	})
	k.Finding = beside(containers, "The virtual machine runs a kernel that was booted for it", "a container runs on the one that the host booted")
	if err == nil {
		c.sideBySide(ctx, k)
	}
	return alone(k, containers, err)
}

// sideBySide runs two virtual machines with different kernels at the same time.
func (c *comparison) sideBySide(ctx context.Context, k *report.Claim) {
	row := report.Row{ID: "kernel/second", Title: "second virtual machine at the same time"}
	cell := func() report.Cell {
		if len(c.Others) == 0 {
			return report.Cell{Missing: "no other kernel; give --other-kernel FILE"}
		}
		s, err := start(ctx, c.vm, c.probeJob("sleep"))
		if err != nil {
			return missing(err)
		}
		defer s.stop()
		if _, err := s.await(ctx); err != nil {
			return missing(err)
		}
		second, err := c.bootOther(ctx, c.Others[0])
		if err != nil {
			return missing(err)
		}
		first, err := c.factsOf(ctx, c.vm)
		if err != nil {
			return missing(err)
		}
		check(k, second.Kernel.Release != first.Kernel.Release && second.Kernel.BootID != first.Kernel.BootID, "two virtual machines run different kernels at the same time")
		return report.Cell{Text: second.Kernel.Release}
	}()
	cell.Subject = c.vm.subject().ID
	row.Cells = []report.Cell{cell}
	k.Rows = append(k.Rows, row)
}
