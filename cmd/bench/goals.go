package main

import (
	"fmt"
	"slices"
)

// A goal is a limit of a median, or of the ratio of two.
type goal struct {
	what    string
	figure  string   // its ID
	beside  []string // IDs of what it is divided by, of several by that which is the hardest to reach; none for a limit of its own
	limit   limit
	share   bool // one of 1, without unit
	count   bool // a number of events
	percent bool // show a ratio as what it is more than the other
}

// A limit is one of these.
type limit struct{ most, least float64 }

func atMost(v float64) limit  { return limit{most: v} }
func atLeast(v float64) limit { return limit{least: v} }

// upper reports that less is better.
func (l limit) upper() bool { return l.least == 0 }

func (l limit) holds(v float64) bool {
	if l.upper() {
		return v <= l.most
	}
	return v >= l.least
}

// goals are what govmm is to reach.
var goals = slices.Concat(monitorGoals, deviceGoals())

var monitorGoals = []goal{
	{what: "6.12 bzImage to init, of QEMU with the same", figure: "boot/6.12-cloud/govmm-warm", beside: []string{"boot/6.12-cloud/qemu-bzImage"}, limit: atMost(0.60)},
	{what: "6.12 bzImage to init, of QEMU with its vmlinux", figure: "boot/6.12-cloud/govmm-warm", beside: []string{"boot/6.12-cloud/qemu-vmlinux"}, limit: atMost(0.85)},
	{what: "tiny bzImage to init, of QEMU with the same", figure: "boot/tiny/govmm-warm", beside: []string{"boot/tiny/qemu-bzImage"}, limit: atMost(0.35)},
	{what: "KASLR, over `nokaslr`: 6.12", figure: "boot/6.12-cloud/govmm-warm", beside: []string{"boot/6.12-cloud/govmm-nokaslr"}, limit: atMost(1.04), percent: true},
	{what: "KASLR, over `nokaslr`: 6.1", figure: "boot/6.1-cloud/govmm-warm", beside: []string{"boot/6.1-cloud/govmm-nokaslr"}, limit: atMost(1.04), percent: true},
	{what: "the sandbox, over `--sandbox=off`: 6.12", figure: "boot/6.12-cloud/govmm-warm", beside: []string{"boot/6.12-cloud/govmm-open"}, limit: atMost(1.02), percent: true},
	{what: "the sandbox, over `--sandbox=off`: tiny", figure: "boot/tiny/govmm-warm", beside: []string{"boot/tiny/govmm-open"}, limit: atMost(1.02), percent: true},
	{what: "`--trace`, over none: 6.12", figure: "boot/6.12-cloud/govmm-trace", beside: []string{"boot/6.12-cloud/govmm-warm"}, limit: atMost(1.10), percent: true},
	{what: "`--trace`, over none: tiny", figure: "boot/tiny/govmm-trace", beside: []string{"boot/tiny/govmm-warm"}, limit: atMost(1.10), percent: true},
	{what: "KASLR, over `nokaslr`: tiny", figure: "boot/tiny/govmm-warm", beside: []string{"boot/tiny/govmm-nokaslr"}, limit: atMost(1.04), percent: true},
	{what: "exec to the first guest instruction, of QEMU's", figure: "start/govmm", beside: []string{"start/qemu"}, limit: atMost(0.25)},
	{what: "an exit for port I/O, of the same in C", figure: "exits/pio/go", beside: []string{"exits/pio/c"}, limit: atMost(1.10)},
	{what: "the monitor's memory, guest of 128 MiB", figure: "memory/govmm/128M", limit: atMost(8 << 20)},
	{what: "the monitor's memory, guest of 1 GiB", figure: "memory/govmm/1G", limit: atMost(8 << 20)},
	{what: "the monitor's memory, 4 CPUs", figure: "memory/govmm/4cpus", limit: atMost(8 << 20)},
}

// deviceGoals are that nothing is slower than under either of QEMU's machines, and that an idle guest costs nothing.
func deviceGoals() []goal {
	var list []goal
	add := func(what, group string, l limit) {
		g := goal{what: what, figure: "devices/" + group + "/" + rivals[0].name, limit: l}
		for _, r := range rivals[1:] {
			g.beside = append(g.beside, "devices/"+group+"/"+r.name)
		}
		list = append(list, g)
	}
	for _, c := range cells {
		title, name := cellTitle(c.kernel, c.cpus), cellName(c.kernel, c.cpus)
		for _, j := range diskJobs {
			add(fmt.Sprintf("disk, %s: %s", title, j.title), "disk/"+name+"/"+j.name, atLeast(1))
		}
	}
	for _, network := range []string{"tap", "user"} {
		for _, c := range cells {
			if c.diskOnly {
				continue
			}
			title, group := network+" network, "+cellTitle(c.kernel, c.cpus), network+"/"+cellName(c.kernel, c.cpus)
			add(title+": a ping and its answer", group+"/ping", atMost(1))
			add(title+": TCP from the guest", group+"/send", atLeast(1))
			add(title+": TCP to the guest", group+"/receive", atLeast(1))
		}
	}
	for _, c := range cells {
		if !c.diskOnly {
			list = append(list, goal{what: "processor time of an idle guest, " + cellTitle(c.kernel, c.cpus),
				figure: "devices/idle/" + cellName(c.kernel, c.cpus) + "/cpu/govmm", limit: atMost(0.01), share: true},
				goal{what: "wake-ups of the monitor beside the vCPUs', in 10 s of an idle guest, " + cellTitle(c.kernel, c.cpus),
					figure: "devices/idle/" + cellName(c.kernel, c.cpus) + "/other/govmm", limit: atMost(0), count: true})
		}
	}
	return append(list, goal{what: "memory that the guest frees, back within 10 s", figure: "devices/free/" + cellName(tiny, 1) + "/returned/govmm", limit: atLeast(0.9), share: true})
}

// value is what a report has for the goal; false if it lacks a figure.
func (g goal) value(r *report) (float64, bool) {
	v, ok := median(r, g.figure)
	if !ok || len(g.beside) == 0 {
		return v, ok
	}
	var ratios []float64
	for _, id := range g.beside {
		d, ok := median(r, id)
		if !ok {
			return 0, false
		}
		ratios = append(ratios, v/d)
	}
	if g.limit.upper() {
		return slices.Max(ratios), true
	}
	return slices.Min(ratios), true
}

// show writes a value of the goal, with a digit more than the limits need, so that a verdict can be seen to be right.
func (g goal) show(v float64) string {
	switch {
	case g.percent:
		return fmt.Sprintf("%+.2f %%", (v-1)*100)
	case len(g.beside) > 0:
		return fmt.Sprintf("%.3f", v)
	case g.count:
		return fmt.Sprintf("%.0f", v)
	case g.share:
		return fmt.Sprintf("%.2f %%", v*100)
	}
	return fmt.Sprintf("%.2f MiB", v/(1<<20))
}

// median is that of a figure; false if it was not measured.
func median(r *report, id string) (float64, bool) {
	f := r.figure(id)
	if f == nil || len(f.Samples) == 0 {
		return 0, false
	}
	return summarize(f.Samples).Median, true
}
