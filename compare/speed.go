package compare

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"govmm/compare/probe"
	"govmm/compare/report"
)

// The work of claim 10.
const (
	hashBytes   = 64 // MiB
	systemCalls = 200_000
	diskBytes   = 64 << 20
	randomReads = 2000
	fetchBytes  = 128 << 20
	speedRuns   = 3
	nativeRatio = 1.25 // up to which the speed counts as native
)

// speed is claim 10.
func (c *comparison) speed(ctx context.Context, k *report.Claim) error {
	server, address, err := c.serve(ctx, c.host(), "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer server.stop()
	_, port, _ := strings.Cut(address, ":")
	image, scratch := filepath.Join(c.dir, "disk.img"), filepath.Join(c.dir, "scratch")
	if err := errors.Join(os.WriteFile(image, make([]byte, diskBytes), 0o644), os.Mkdir(scratch, 0o755)); err != nil {
		return err
	}
	works := []struct {
		id     string
		titles []string
		do     func(place) ([]float64, error)
	}{
		{"cpu", []string{"hashing 64 MiB"}, func(p place) ([]float64, error) {
			w, err := ask[probe.Work](ctx, p, c.probeJob("cpu", "-n", strconv.Itoa(hashBytes)))
			return []float64{float64(w.Nanoseconds)}, err
		}},
		{"syscalls", []string{"200,000 system calls"}, func(p place) ([]float64, error) {
			w, err := ask[probe.Work](ctx, p, c.probeJob("syscalls", "-n", strconv.Itoa(systemCalls)))
			return []float64{float64(w.Nanoseconds)}, err
		}},
		{"disk", []string{"writing 64 MiB", "reading them", "2,000 reads of 4 KiB at random"}, func(p place) ([]float64, error) {
			j := c.probeJob("disk", "-path", diskPath(p, scratch), "-size", strconv.Itoa(diskBytes), "-random", strconv.Itoa(randomReads))
			j.disk, j.scratch = image, scratch
			d, err := ask[probe.Disk](ctx, p, j)
			return []float64{float64(d.WriteNS), float64(d.ReadNS), float64(d.RandomNS)}, err
		}},
		{"network", []string{"fetching 128 MiB"}, func(p place) ([]float64, error) {
			j := c.probeJob("net", "-address", p.hostAddress()+":"+port, "-n", strconv.Itoa(fetchBytes))
			j.network = true
			w, err := ask[probe.Work](ctx, p, j)
			return []float64{float64(w.Nanoseconds)}, err
		}},
	}
	for _, w := range works {
		c.tell("speed: %s", w.id)
		samples, failed := c.work(ctx, len(w.titles), w.do)
		for i, title := range w.titles {
			c.speedRows(k, fmt.Sprintf("speed/%s-%d", w.id, i), title, func(id string) ([]float64, error) {
				if failed[id] != nil {
					return nil, failed[id]
				}
				return samples[id][i], nil
			})
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return c.judgeSpeed(k)
}

// work does something several times in each place, in turns. Samples are in seconds, for each of n figures.
func (c *comparison) work(ctx context.Context, n int, do func(place) ([]float64, error)) (samples map[string][][]float64, failed map[string]error) {
	samples, failed = make(map[string][][]float64), make(map[string]error)
	for range speedRuns {
		for _, p := range c.places {
			id := p.subject().ID
			if failed[id] != nil || ctx.Err() != nil {
				continue
			}
			ns, err := do(p)
			if failed[id] = err; err != nil {
				continue
			}
			if samples[id] == nil {
				samples[id] = make([][]float64, n)
			}
			for i := range n {
				samples[id][i] = append(samples[id][i], ns[i]/1e9)
			}
		}
	}
	return samples, failed
}

// speedRows adds a row of times and one of their ratios to the host's.
func (c *comparison) speedRows(k *report.Claim, id, title string, of func(subject string) ([]float64, error)) {
	times := c.row(id, title, report.Seconds, func(p place) report.Cell {
		s, err := of(p.subject().ID)
		if err != nil {
			return missing(err)
		}
		return figure(s)
	})
	base, _ := times.Cell(c.host().subject().ID)
	ratios := c.row(id+"/ratio", title+", to the host", report.RatioUnit, func(p place) report.Cell {
		cell, _ := times.Cell(p.subject().ID)
		switch {
		case cell.Figure == nil:
			return report.Cell{Missing: cell.Missing}
		case base.Figure == nil || base.Figure.Median <= 0:
			return missing(errors.New("the host's is missing"))
		}
		var s []float64
		for _, t := range cell.Figure.Samples {
			s = append(s, t/base.Figure.Median)
		}
		return figure(s)
	})
	k.Rows = append(k.Rows, times, ratios)
}

// judgeSpeed checks the ratios.
func (c *comparison) judgeSpeed(k *report.Claim) error {
	var own []string
	for _, r := range k.Rows {
		if r.Unit != report.RatioUnit {
			continue
		}
		for _, p := range c.guests() {
			cell, _ := r.Cell(p.subject().ID)
			if cell.Figure == nil {
				continue
			}
			check(k, cell.Figure.Median <= nativeRatio, "%s: the %s takes at most %v of the time", r.Title, p.subject().Title, nativeRatio)
			if p.subject().Kind == report.KindVM {
				own = append(own, fmt.Sprintf("%s %.2f", strings.TrimSuffix(r.Title, ", to the host"), cell.Figure.Median))
			}
		}
	}
	if len(own) == 0 {
		return errors.New("nothing could be measured in the virtual machine")
	}
	k.Finding = "The virtual machine's time, to the host's: " + strings.Join(own, ", ") + "."
	return nil
}
