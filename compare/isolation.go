package compare

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"govmm/compare/probe"
	"govmm/compare/report"
)

// A harm is what a guest does to its own machine.
type harm struct {
	key, title string
	args       []string
	memory     string // of the machine that it is done to
	// seen says by the end of the command whether it was done.
	seen func(*outcome) bool
}

var harms = []harm{
	{"panic", "the kernel panics", []string{"panic"}, "", panicked},
	{"bomb", "processes fork by the hundred", []string{"bomb", "-max", "1000", "-for", "10s"}, "256M", overwhelmed},
	{"exhaust", "memory is exhausted", []string{"exhaust"}, "128M", overwhelmed},
	{"fill", "the file system is filled", []string{"fill", "-dir", "/"}, "128M", overwhelmed},
}

func panicked(o *outcome) bool { return bytes.Contains(o.stderr, []byte("Kernel panic")) }

// overwhelmed says whether a command had what it wanted, or was killed for it, or its kernel gave up. The probe refuses with another status.
func overwhelmed(o *outcome) bool {
	const killed = 137
	return o.status() == 0 || o.status() == killed || panicked(o)
}

// How a neighbour's latency is looked at.
const latencyPeriod = 10 * time.Millisecond

// harmLimit is how long a harm may take, which a slow host may have to wait for.
const harmLimit = 4 * time.Minute

// latencyTime is for how long at a time.
var latencyTime = 6 * time.Second

// isolation is claim 4.
func (c *comparison) isolation(ctx context.Context, k *report.Claim) error {
	hosts, err := c.factsOf(ctx, c.host())
	if err != nil {
		return err
	}
	_ = c.latencies(ctx, k, "quiet", "nothing happens", nil)
	undone := make(map[string]error)
	var errs []error
	var titles []string
	for _, h := range harms {
		c.tell("isolation: %s", h.title)
		j := c.probeJob(append(h.args, "-not-on", hosts.Kernel.BootID)...)
		j.env, j.memory = []string{"GOVMM_PROBE_HARM=1"}, h.memory
		j.limit = harmLimit
		err := c.latencies(ctx, k, h.key, h.title, func(ctx context.Context) error {
			o, err := run(ctx, c.vm, j)
			if err == nil && !h.seen(o) {
				err = fmt.Errorf("%s: it was not seen in the virtual machine: %v", h.key, o.failure())
			}
			return err
		})
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			undone[h.key], errs = err, append(errs, err)
			titles = append(titles, h.title)
		}
	}
	if len(undone) == len(harms) {
		return errors.Join(errs...)
	}
	c.obstacles(ctx, k, undone)
	k.Finding = "While one virtual machine came to grief, its neighbour and the host went on."
	if len(undone) > 0 {
		k.Finding += " It could not be seen that " + strings.Join(titles, ", or that ") + "."
		if judge(k.Checks) == report.Holds {
			k.Verdict = report.Partly
		}
	}
	return contradicted(k, nil)
}

// latencies measures how late the host and a second virtual machine are while something happens, from its beginning to its end. Its error is that of what was to happen, which
// is no harm then.
func (c *comparison) latencies(ctx context.Context, k *report.Claim, id, title string, happen func(context.Context) error) error {
	var over atomic.Bool // what was to happen has happened
	over.Store(happen == nil)
	places := []place{c.host(), c.vm}
	cells := make([]report.Cell, len(places))
	var measured sync.WaitGroup
	for i, p := range places {
		measured.Go(func() { cells[i] = c.latency(ctx, p, &over) })
	}
	var err error
	if happen != nil {
		err = happen(ctx)
		over.Store(true)
	}
	measured.Wait()
	if err == nil && happen != nil {
		for i, p := range places {
			check(k, cells[i].Figure != nil, "while %s, the %s goes on", title, neighbour(p))
		}
	}
	if err != nil {
		for i := range cells {
			cells[i] = report.Cell{Missing: oneLine(err)}
		}
	}
	for i, p := range places {
		cells[i].Subject = p.subject().ID
	}
	k.Rows = append(k.Rows, report.Row{ID: "isolation/" + id, Title: "latency while " + title, Unit: report.Seconds, Cells: cells})
	return err
}

// latency measures in a place again and again until all is over, and at least once.
func (c *comparison) latency(ctx context.Context, p place, over *atomic.Bool) report.Cell {
	j := c.probeJob("latency", "-period", latencyPeriod.String(), "-for", latencyTime.String())
	j.limit = cmp.Or(c.Timeout, defaultLimit) + latencyTime
	var samples []float64
	for last := false; !last; {
		last = over.Load()
		l, err := ask[probe.Latency](ctx, p, j)
		if err != nil {
			return missing(err)
		}
		samples = append(samples, seconds(l.Samples)...)
	}
	return figure(samples)
}

func neighbour(p place) string {
	if p.subject().Kind == report.KindVM {
		return "other virtual machine"
	}
	return p.subject().Title
}

func seconds(ns []int64) []float64 {
	var s []float64
	for _, n := range ns {
		s = append(s, float64(n)/1e9)
	}
	return s
}

// obstacles says what would stand in the way in each container, and what could not be done in the virtual machine.
func (c *comparison) obstacles(ctx context.Context, k *report.Claim, undone map[string]error) {
	seen := make(map[string]probe.Obstacles)
	failed := make(map[string]error)
	for _, p := range c.containers() {
		id := p.subject().ID
		seen[id], failed[id] = ask[probe.Obstacles](ctx, p, c.probeJob("obstacles"))
	}
	for _, o := range []struct {
		id, title string
		text      func(probe.Obstacles) string
	}{
		{"panic", "what stands in the way of a panic", func(o probe.Obstacles) string { return o.Panic }},
		{"bomb", "of a fork bomb", func(o probe.Obstacles) string { return o.ForkBomb }},
		{"exhaust", "of exhausting memory", func(o probe.Obstacles) string { return o.Memory }},
		{"fill", "of filling the disk", func(o probe.Obstacles) string { return o.Disk }},
	} {
		k.Rows = append(k.Rows, c.row("isolation/obstacle-"+o.id, o.title, report.Text, func(p place) report.Cell {
			id := p.subject().ID
			switch {
			case p.subject().Kind == report.KindVM && undone[o.id] != nil:
				return missing(undone[o.id])
			case p.subject().Kind == report.KindVM:
				return report.Cell{Text: "nothing: it was done"}
			case p.subject().Kind == report.KindHost:
				return report.Cell{Text: "not tried"}
			case failed[id] != nil:
				return missing(failed[id])
			}
			if text := o.text(seen[id]); text != "" {
				return report.Cell{Text: text}
			}
			return report.Cell{Text: "nothing"}
		}))
	}
}
