package compare

import (
	"bytes"
	"context"
	"fmt"
	"strconv"

	"govmm/compare/probe"
	"govmm/compare/report"
)

// Resources of the virtual machine of claim 3, and what is asked of it beyond.
const (
	smallCPUs   = 1
	smallMemory = 128 << 20
	tooMuch     = 512 << 20
)

// resources is claim 3.
func (c *comparison) resources(ctx context.Context, k *report.Claim) error {
	small := c.probeJob("facts")
	small.cpus, small.memory = smallCPUs, "128M"
	f, err := ask[probe.Facts](ctx, c.vm, small)
	if err != nil {
		return fmt.Errorf("virtual machine: %w", err)
	}
	seen := func(p place) (*probe.Facts, error) {
		if p.subject().Kind == report.KindVM {
			return &f, nil
		}
		return c.factsOf(ctx, p)
	}
	row := func(id, title string, text func(*probe.Facts) string) report.Row {
		return c.row(id, title, report.Text, func(p place) report.Cell {
			f, err := seen(p)
			if err != nil {
				return missing(err)
			}
			return report.Cell{Text: text(f)}
		})
	}
	k.Rows = []report.Row{
		row("resources/cpus", "CPUs", func(f *probe.Facts) string { return strconv.Itoa(f.CPUs) }),
		row("resources/memory", "memory", func(f *probe.Facts) string { return fmt.Sprintf("%d MiB", f.Memory>>20) }),
		row("resources/disks", "disks", func(f *probe.Facts) string { return list(f.Disks) }),
		row("resources/nics", "network interfaces", func(f *probe.Facts) string { return list(f.NICs) }),
		row("resources/limits", "limits of its cgroup: processes, memory, CPU", func(f *probe.Facts) string {
			return fmt.Sprintf("%s, %s, %s", orNone(f.Cgroup.PidsMax), orNone(f.Cgroup.MemoryMax), orNone(f.Cgroup.CPUMax))
		}),
	}
	check(k, f.CPUs == smallCPUs && f.Memory > 0 && f.Memory <= smallMemory, "the virtual machine has the one CPU and no more than the 128 MiB that it was given")
	if err := c.allocate(ctx, k); err != nil {
		return err
	}
	containers, err := c.compared(ctx, func(p place, hosts, its *probe.Facts) {
		if p.subject().Kind == report.KindContainer {
			check(k, its.CPUs == hosts.CPUs && its.Memory == hosts.Memory, "the %s sees the CPUs and the memory of the host", p.subject().Title)
		}
	})
	k.Finding = beside(containers, "The virtual machine has what it was given, and cannot take more", "a container sees the host's, and is limited by its cgroup where somebody has set a limit")
	return alone(k, containers, err)
}

// allocate has a command in the small virtual machine ask for more memory than there is.
func (c *comparison) allocate(ctx context.Context, k *report.Claim) error {
	j := c.probeJob("alloc", "-n", strconv.Itoa(tooMuch))
	j.cpus, j.memory = smallCPUs, "128M"
	o, err := run(ctx, c.vm, j)
	if err != nil {
		return err
	}
	lines := bytes.Split(bytes.TrimSpace(o.stdout), []byte("\n"))
	var reached uint64
	if p, err := probe.Decode[probe.Progress](lines[len(lines)-1]); err == nil {
		reached = p.Bytes
	}
	check(k, o.status() != 0 && reached < smallMemory, "a command that asks for 512 MiB in it is ended before it has 128 MiB")
	k.Rows = append(k.Rows, report.Row{ID: "resources/reached", Title: "memory that a command got which wanted 512 MiB", Unit: report.Bytes,
		Cells: []report.Cell{{Subject: c.vm.subject().ID, Figure: report.NewFigure([]float64{float64(reached)})}}})
	return nil
}
