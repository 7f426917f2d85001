package compare

import (
	"context"
	"errors"
	"fmt"

	"govmm/compare/probe"
	"govmm/compare/report"
)

// probeName is the probe's place in a root file system.
const probeName = probe.Name

// probeJob is a job of the probe.
func (c *comparison) probeJob(args ...string) job {
	return job{root: c.probeRoot, args: append([]string{"/" + probeName}, args...), probe: true, limit: c.Timeout}
}

// ask runs the probe in a place and gives what it says.
func ask[T any](ctx context.Context, p place, j job) (T, error) {
	var none T
	o, err := run(ctx, p, j)
	if err != nil {
		return none, err
	}
	if err := o.failure(); err != nil {
		return none, err
	}
	if o.bytes > int64(len(o.stdout)) {
		return none, fmt.Errorf("the probe has said %d bytes", o.bytes)
	}
	return probe.Decode[T](o.stdout)
}

// factsOf gives what is seen in a place, which is looked at once.
func (c *comparison) factsOf(ctx context.Context, p place) (*probe.Facts, error) {
	id := p.subject().ID
	if f, ok := c.facts[id]; ok {
		return f, c.factsErr[id]
	}
	f, err := ask[probe.Facts](ctx, p, c.probeJob("facts"))
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c.facts[id], c.factsErr[id] = &f, err
	return &f, err
}

// factRow makes a row of what is seen in each place.
func (c *comparison) factRow(ctx context.Context, id, title string, text func(*probe.Facts) string) report.Row {
	return c.row(id, title, report.Text, func(p place) report.Cell {
		f, err := c.factsOf(ctx, p)
		if err != nil {
			return missing(err)
		}
		return report.Cell{Text: text(f)}
	})
}

// row makes a row with a cell for each place.
func (c *comparison) row(id, title string, unit report.Unit, look func(place) report.Cell) report.Row {
	r := report.Row{ID: id, Title: title, Unit: unit}
	for _, p := range c.places {
		cell := look(p)
		cell.Subject = p.subject().ID
		r.Cells = append(r.Cells, cell)
	}
	return r
}

func missing(err error) report.Cell { return report.Cell{Missing: oneLine(err)} }

// figure makes a cell of samples; without any it is missing.
func figure(samples []float64) report.Cell {
	if len(samples) == 0 {
		return missing(errors.New("nothing was measured"))
	}
	return report.Cell{Figure: report.NewFigure(samples)}
}

// pair gives the facts of the host and of a place.
func (c *comparison) pair(ctx context.Context, p place) (hosts, its *probe.Facts, err error) {
	if hosts, err = c.factsOf(ctx, c.host()); err != nil {
		return nil, nil, fmt.Errorf("host: %w", err)
	}
	its, err = c.factsOf(ctx, p)
	return hosts, its, err
}

// compared looks at the places beside the host of which there are facts, and counts the containers among them. Without those of the virtual machine there is nothing to compare.
func (c *comparison) compared(ctx context.Context, look func(p place, hosts, its *probe.Facts)) (containers int, err error) {
	for _, p := range c.guests() {
		hosts, its, err := c.pair(ctx, p)
		switch {
		case err == nil:
			look(p, hosts, its)
			if p.subject().Kind == report.KindContainer {
				containers++
			}
		case ctx.Err() != nil:
			return containers, context.Cause(ctx)
		case p.subject().Kind == report.KindVM:
			return containers, fmt.Errorf("%s: %w", p.subject().Title, err)
		}
	}
	return containers, nil
}

// beside makes the finding of what was seen of the virtual machine and, if there were any, of containers.
func beside(containers int, machine, container string) string {
	if containers > 0 {
		machine += "; " + container
	}
	return machine + "."
}

// alone is contradicted for a claim of which no container was seen, if that is so: half of what it says is not shown then.
func alone(k *report.Claim, containers int, err error) error {
	if containers == 0 && err == nil && judge(k.Checks) == report.Holds {
		k.Verdict = report.Partly
		k.Finding += " No container was seen."
	}
	return contradicted(k, err)
}
