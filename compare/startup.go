package compare

import (
	"context"
	"fmt"
	"os"
	"time"

	"govmm/compare/report"
)

// mostCold bounds the starts with an empty cache, each of which unpacks a kernel.
const mostCold = 10

// startup is claim 6.
func (c *comparison) startup(ctx context.Context, k *report.Claim) error {
	warm, cold := make(map[string][]float64), []float64(nil)
	failed := make(map[string]error)
	for i := range c.Runs + 1 {
		for _, p := range c.places {
			id := p.subject().ID
			if failed[id] != nil {
				continue
			}
			c.tell("startup: %s, run %d of %d", p.subject().Title, i, c.Runs)
			t, err := c.first(ctx, p, job{root: c.root, args: c.Command, limit: c.Timeout})
			if ctx.Err() != nil {
				return context.Cause(ctx)
			}
			if failed[id] = err; err == nil && i > 0 { // the first is not counted
				warm[id] = append(warm[id], t)
			}
		}
	}
	for range min(c.Runs, mostCold) {
		t, err := c.coldStart(ctx)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if failed["cold"] = err; err != nil {
			break
		}
		cold = append(cold, t)
	}
	k.Rows = []report.Row{
		c.row("startup/warm", "start to first output", report.Seconds, func(p place) report.Cell {
			if err := failed[p.subject().ID]; err != nil {
				return missing(err)
			}
			return figure(warm[p.subject().ID])
		}),
		c.vmRow("startup/cold", "the same with no unpacked kernel in the cache", report.Seconds, cold, failed["cold"]),
		c.vmRow("startup/snapshot", "the same from a snapshot", report.Seconds, nil, errNoSnapshots),
	}
	return c.judgeStart(k)
}

// vmRow makes a row that is the virtual machine's alone.
func (c *comparison) vmRow(id, title string, unit report.Unit, samples []float64, err error) report.Row {
	cell := figure(samples)
	if err != nil {
		cell = missing(err)
	}
	cell.Subject = c.vm.subject().ID
	return report.Row{ID: id, Title: title, Unit: unit, Cells: []report.Cell{cell}}
}

var errNoSnapshots = fmt.Errorf("govmm has no snapshots yet")

// judgeStart compares the virtual machine with each container.
func (c *comparison) judgeStart(k *report.Claim) error {
	row := &k.Rows[0]
	own, _ := row.Cell(c.vm.subject().ID)
	if own.Figure == nil {
		return fmt.Errorf("virtual machine: %s", own.Missing)
	}
	k.Finding = fmt.Sprintf("From start to first output the virtual machine took %s", duration(own.Figure.Median))
	for _, p := range c.containers() {
		cell, _ := row.Cell(p.subject().ID)
		if cell.Figure == nil {
			continue
		}
		ratio := own.Figure.Median / cell.Figure.Median
		k.Finding += fmt.Sprintf(", %.2f of %s's %s", ratio, p.subject().Title, duration(cell.Figure.Median))
		check(k, ratio > 1, "the virtual machine starts more slowly than the %s", p.subject().Title)
	}
	k.Finding += "."
	return nil
}

func duration(seconds float64) string {
	return time.Duration(seconds * 1e9).Round(100 * time.Microsecond).String()
}

// first gives the seconds to a job's first output; to its end if there is no output.
func (c *comparison) first(ctx context.Context, p place, j job) (float64, error) {
	o, err := run(ctx, p, j)
	if err != nil {
		return 0, err
	}
	if err := o.failure(); err != nil {
		return 0, err
	}
	if o.first < 0 {
		return o.total.Seconds(), nil
	}
	return o.first.Seconds(), nil
}

// coldStart starts a virtual machine with an empty cache.
func (c *comparison) coldStart(ctx context.Context) (float64, error) {
	cache, err := os.MkdirTemp(c.dir, "cache-")
	if err != nil {
		return 0, err
	}
	defer os.RemoveAll(cache)
	return c.first(ctx, c.vm, job{root: c.root, args: c.Command, coldFrom: cache, limit: c.Timeout})
}
