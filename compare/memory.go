package compare

import (
	"cmp"
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
	grown := make(map[string]growth)
	for _, p := range c.places {
		grown[p.subject().ID] = c.grow(ctx, p)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	for _, n := range c.Instances {
		title := fmt.Sprintf("%d idle instances", n)
		if n == 1 {
			title = "an idle instance"
		}
		k.Rows = append(k.Rows, c.row(fmt.Sprintf("memory/%d", n), title, report.Bytes, func(p place) report.Cell {
			g := grown[p.subject().ID]
			if total, ok := g.totals[n]; ok {
				return figure([]float64{total})
			}
			return missing(g.reason())
		}))
	}
	slopes := c.row(slopeRow, "one more instance", report.Bytes, func(p place) report.Cell { return grown[p.subject().ID].slope(growth.own) })
	k.Rows = append(k.Rows, slopes,
		c.row("memory/with-runtime", "the same with what started it, if that stays", report.Bytes, func(p place) report.Cell { return grown[p.subject().ID].slope(growth.all) }))
	return c.judgeMemory(k, &slopes)
}

// A growth is the memory of instances in a place, by their number.
type growth struct {
	totals  map[int]float64
	started map[int]float64 // with the processes that started them and stay, as a runtime in the foreground
	err     error
}

func (g growth) own() map[int]float64 { return g.totals }
func (g growth) all() map[int]float64 { return g.started }

// slope gives the cost of one more.
func (g growth) slope(of func(growth) map[int]float64) report.Cell {
	if len(of(g)) < 2 {
		return missing(g.reason())
	}
	return figure([]float64{slope(of(g))})
}

func (g growth) reason() error {
	if g.err == nil {
		return errors.New("needs two numbers of instances")
	}
	return g.err
}

func (c *comparison) judgeMemory(k *report.Claim, slopes *report.Row) error {
	own, _ := slopes.Cell(c.vm.subject().ID)
	if own.Figure == nil {
		return fmt.Errorf("virtual machine: %s", own.Missing)
	}
	k.Finding = "One more virtual machine costs " + report.Bytes.Format(own.Figure.Median)
	for _, p := range c.containers() {
		cell, _ := slopes.Cell(p.subject().ID)
		if cell.Figure == nil {
			continue
		}
		k.Finding += fmt.Sprintf(", one more %s %s", p.subject().Title, report.Bytes.Format(cell.Figure.Median))
		check(k, own.Figure.Median > cell.Figure.Median, "one more virtual machine costs more memory than one more %s", p.subject().Title)
	}
	k.Finding += "."
	return nil
}

// grow starts instances in a place until there are as many as the largest number wanted, and measures at each number.
func (c *comparison) grow(ctx context.Context, p place) growth {
	g := growth{totals: make(map[int]float64), started: make(map[int]float64)}
	var running []*started
	g.err = func() error {
		for n := 1; n <= slices.Max(c.Instances); n++ {
			c.tell("memory: %s, run %d", p.subject().Title, n)
			s, err := start(ctx, p, c.idle())
			if err != nil {
				return err
			}
			running = append(running, s)
			if _, err := s.await(ctx); err != nil {
				return err
			}
			if !slices.Contains(c.Instances, n) {
				continue
			}
			if err := pause(ctx, settleTime); err != nil {
				return err
			}
			if err := g.measure(n, running); err != nil {
				return err
			}
		}
		return nil
	}()
	for _, s := range running {
		g.err = errors.Join(g.err, s.stop())
	}
	return g
}

// measure takes the memory of n instances.
func (g growth) measure(n int, running []*started) error {
	var own, all []int
	for _, s := range running {
		pids, err := s.place.pids(s.cmd)
		if err != nil {
			return err
		}
		relatives, err := family(s.cmd.Process.Pid)
		if err != nil {
			return err
		}
		own, all = append(own, pids...), append(append(all, pids...), relatives...)
	}
	slices.Sort(all)
	total, err := memoryOf(own)
	if err != nil {
		return err
	}
	withAll, err := memoryOf(slices.Compact(all))
	g.totals[n], g.started[n] = total, withAll
	return err
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
		return errors.New(cmp.Or(one.Missing, next.Missing))
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
