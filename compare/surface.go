package compare

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"os/exec"
	"strconv"
	"strings"

	"govmm/compare/probe"
	"govmm/compare/report"
)

// surface is claim 5.
func (c *comparison) surface(ctx context.Context, k *report.Claim) error {
	reached := make(map[string]probe.Trace)
	k.Rows = append(k.Rows, c.row("surface/calls", "different system calls of the command, to the kernel of the place", report.Count, func(p place) report.Cell {
		j := c.probeJob(append([]string{"trace", "--"}, c.Command...)...)
		j.probe = false // the command has the root directory that it has elsewhere, also on the host
		t, err := ask[probe.Trace](ctx, p, j)
		if err != nil {
			return missing(err)
		}
		reached[p.subject().ID] = t
		return figure([]float64{float64(t.Distinct)})
	}))
	monitor, monitorErr := c.traceMonitor(ctx)
	cells := c.row("surface/hostcalls", "of these and the monitor's, those that reach the host's kernel", report.Count, func(p place) report.Cell {
		if p.subject().Kind == report.KindVM {
			if monitorErr != nil {
				return missing(monitorErr)
			}
			return figure([]float64{float64(monitor.Distinct)})
		}
		t, ok := reached[p.subject().ID]
		if !ok {
			return report.Cell{Missing: "the command could not be traced"}
		}
		return figure([]float64{float64(t.Distinct)})
	})
	k.Rows = append(k.Rows, cells,
		c.factRow(ctx, "surface/capabilities", "capabilities", func(f *probe.Facts) string { return strconv.Itoa(len(f.CapEff)) }),
		c.factRow(ctx, "surface/seccomp", "seccomp filter", func(f *probe.Facts) string { return map[int]string{0: "none", 1: "strict", 2: "yes"}[f.Seccomp] }),
		c.factRow(ctx, "surface/writable", "kernel interfaces in /proc/sys and /sys that it may write", func(f *probe.Facts) string { return strconv.Itoa(f.WritableCount) }),
		c.factRow(ctx, "surface/sensitive", "of the sensitive ones", func(f *probe.Facts) string { return someOf(f.Writable, 3) }))
	k.Rows = append(k.Rows, c.monitorRow(ctx))
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	containers, err := c.compared(ctx, func(p place, hosts, its *probe.Facts) {
		same := its.Kernel.BootID == hosts.Kernel.BootID
		if p.subject().Kind == report.KindContainer {
			check(k, same, "the kernel that serves the %s's system calls is the host's", p.subject().Title)
			return
		}
		check(k, !same, "the kernel that serves the virtual machine's system calls is its own")
	})
	if containers > 0 {
		k.Finding = "A container's system calls go to the host's kernel. "
	}
	k.Finding += "Of a virtual machine the host's kernel sees the monitor"
	if monitorErr == nil {
		k.Finding += fmt.Sprintf(": %d different calls from its start to its end, while the guest ran the command", monitor.Distinct)
	}
	k.Finding += "."
	return alone(k, containers, err)
}

// monitorRow says what the process that runs a virtual machine may do to the host.
func (c *comparison) monitorRow(ctx context.Context) report.Row {
	cell := func() report.Cell {
		s, err := start(ctx, c.vm, c.probeJob("sleep"))
		if err != nil {
			return missing(err)
		}
		defer s.stop()
		if _, err := s.await(ctx); err != nil {
			return missing(err)
		}
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", s.cmd.Process.Pid))
		if err != nil {
			return missing(err)
		}
		return report.Cell{Text: privileges(text)}
	}()
	cell.Subject = c.vm.subject().ID
	return report.Row{ID: "surface/monitor", Title: "the monitor, on the host", Cells: []report.Cell{cell}}
}

// privileges tells of a process's by /proc/PID/status.
func privileges(status []byte) string {
	values := make(map[string]string)
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		values[key] = strings.TrimSpace(value)
	}
	caps, _ := strconv.ParseUint(values["CapEff"], 16, 64)
	filter := "no seccomp filter"
	if values["Seccomp"] == "2" {
		filter = "a seccomp filter"
	}
	return fmt.Sprintf("%d capabilities, %s", bits.OnesCount64(caps), filter)
}

// traceMonitor counts the monitor's own system calls while a virtual machine runs the command.
func (c *comparison) traceMonitor(ctx context.Context) (probe.Trace, error) {
	limit := cmp.Or(c.Timeout, defaultLimit)
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no end after %v", limit))
	defer cancel()
	cmd, done, err := c.vm.prepare(ctx, job{root: c.root, args: c.Command})
	if err != nil {
		return probe.Trace{}, err
	}
	errs := newErrors()
	cmd.Stderr = errs
	t, err := probe.TraceCommand(ctx, cmd)
	err = errors.Join(err, done())
	switch {
	case ctx.Err() != nil:
		return t, context.Cause(ctx)
	case err != nil:
		return t, err
	case !cmd.ProcessState.Success():
		return t, (&outcome{err: &exec.ExitError{ProcessState: cmd.ProcessState}, stderr: errs.kept()}).failure()
	}
	return t, nil
}
