package compare

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"govmm/compare/report"
)

// settleTime is how long instances are left alone before they are measured: a guest tells the host of the memory that it does not use every two seconds.
var settleTime = 8 * time.Second

// Rows of claim 7 that claim 8 looks at.
const slopeRow = "memory/slope"

// memory is claim 7.
func (c *comparison) memory(ctx context.Context, k *report.Claim) error {
	totals := make(map[string]map[int]float64)
	failed := make(map[string]error)
	for _, p := range c.places {
		id := p.subject().ID
		totals[id], failed[id] = c.grow(ctx, p)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	for _, n := range c.Instances {
		k.Rows = append(k.Rows, c.row(fmt.Sprintf("memory/%d", n), fmt.Sprintf("%d idle instances", n), report.Bytes, func(p place) report.Cell {
			id := p.subject().ID
			if total, ok := totals[id][n]; ok {
				return figure([]float64{total})
			}
			return missing(orNothing(failed[id]))
		}))
	}
	slopes := c.row(slopeRow, "one more instance", report.Bytes, func(p place) report.Cell {
		id := p.subject().ID
		if len(totals[id]) < 2 {
			return missing(orNothing(failed[id]))
		}
		return figure([]float64{slope(totals[id])})
	})
	k.Rows = append(k.Rows, slopes)
	return c.judgeMemory(k, &slopes)
}

func orNothing(err error) error {
	if err == nil {
		return errors.New("needs two numbers of instances")
	}
	return err
}

func (c *comparison) judgeMemory(k *report.Claim, slopes *report.Row) error {
	own, _ := slopes.Cell(c.vm.subject().ID)
	if own.Figure == nil {
		return fmt.Errorf("virtual machine: %s", own.Missing)
	}
	k.Finding = fmt.Sprintf("One more virtual machine costs %.1f MiB", own.Figure.Median/(1<<20))
	for _, p := range c.places[2:] {
		cell, _ := slopes.Cell(p.subject().ID)
		if cell.Figure == nil {
			continue
		}
		k.Finding += fmt.Sprintf(", one more %s %.1f MiB", p.subject().Title, cell.Figure.Median/(1<<20))
		check(k, own.Figure.Median > cell.Figure.Median, "one more virtual machine costs more memory than one more %s", p.subject().Title)
	}
	k.Finding += "."
	return nil
}

// grow starts instances in a place until there are as many as the largest number wanted, and measures at each number.
func (c *comparison) grow(ctx context.Context, p place) (totals map[int]float64, err error) {
	totals = make(map[int]float64)
	var running []*started
	defer func() {
		for _, s := range running {
			err = errors.Join(err, s.stop())
		}
	}()
	for n := 1; n <= slices.Max(c.Instances); n++ {
		c.tell("memory: %s %d", p.subject().Title, n)
		s, err := start(ctx, p, c.idle())
		if err != nil {
			return totals, err
		}
		running = append(running, s)
		if _, err := s.await(ctx); err != nil {
			return totals, err
		}
		if !slices.Contains(c.Instances, n) {
			continue
		}
		if err := pause(ctx, settleTime); err != nil {
			return totals, err
		}
		if totals[n], err = memoryOfAll(running); err != nil {
			delete(totals, n)
			return totals, err
		}
	}
	return totals, nil
}

// idle is a job that says something and then sleeps: the root file system's own sleep, or else the probe's.
func (c *comparison) idle() job {
	for _, name := range []string{"sh", "sleep"} {
		if _, err := lookIn(c.root, name); err != nil {
			return c.probeJob("sleep")
		}
	}
	return job{root: c.root, args: []string{"sh", "-c", "echo asleep; exec sleep 1000000"}, limit: c.Timeout}
}

func pause(ctx context.Context, d time.Duration) error {
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(d):
		return nil
	}
}

func memoryOfAll(running []*started) (float64, error) {
	var all []int
	for _, s := range running {
		pids, err := s.place.pids(s.cmd)
		if err != nil {
			return 0, err
		}
		all = append(all, pids...)
	}
	return memoryOf(all)
}

// slope fits a line by least squares.
func slope(points map[int]float64) float64 {
	var n, sx, sy, sxx, sxy float64
	for x, y := range points {
		x := float64(x)
		n, sx, sy, sxx, sxy = n+1, sx+x, sy+y, sxx+x*x, sxy+x*y
	}
	return (n*sxy - sx*sy) / (n*sxx - sx*sx)
}

// duplicates is claim 8. It looks at what memory has measured, or measures it.
func (c *comparison) duplicates(ctx context.Context, k *report.Claim) error {
	measured := c.report.Claim("memory")
	if measured == nil {
		measured = new(report.Claim)
		if err := c.memory(ctx, measured); err != nil {
			return err
		}
	}
	row := func(id string) *report.Row {
		i := slices.IndexFunc(measured.Rows, func(r report.Row) bool { return r.ID == id })
		if i < 0 {
			return nil
		}
		return &measured.Rows[i]
	}
	first, more := row(fmt.Sprintf("memory/%d", c.Instances[0])), row(slopeRow)
	if first == nil || more == nil || c.Instances[0] != 1 {
		return errors.New("needs the memory of one instance, and of more")
	}
	one, _ := first.Cell("vm")
	next, _ := more.Cell("vm")
	if one.Figure == nil || next.Figure == nil {
		return errors.New(one.Missing + next.Missing)
	}
	k.Rows = []report.Row{renamed(*first, "duplicates/first", "the first instance"), renamed(*more, "duplicates/more", "one more"),
		c.vmRow("duplicates/clone", "one more clone of a snapshot", report.Bytes, nil, errNoSnapshots)}
	ratio := next.Figure.Median / one.Figure.Median
	check(k, ratio > 0.5, "one more identical virtual machine costs more than half of what the first does")
	k.Finding = fmt.Sprintf("One more identical virtual machine costs %.0f %% of the first.", 100*ratio)
	return nil
}

func renamed(r report.Row, id, title string) report.Row {
	r.ID, r.Title = id, title
	return r
}
