package main

// A goal is an upper limit of a median, or of the ratio of two.
type goal struct {
	what    string
	figure  string // its ID
	beside  string // ID of what it is divided by; none for a limit of its own
	most    float64
	percent bool // show it as what it is more than the other
}

// goals are what govmm is to reach.
var goals = []goal{
	{what: "6.12 bzImage to init, of QEMU with the same", figure: "boot/6.12-cloud/govmm-warm", beside: "boot/6.12-cloud/qemu-bzImage", most: 0.60},
	{what: "6.12 bzImage to init, of QEMU with its vmlinux", figure: "boot/6.12-cloud/govmm-warm", beside: "boot/6.12-cloud/qemu-vmlinux", most: 0.85},
	{what: "tiny bzImage to init, of QEMU with the same", figure: "boot/tiny/govmm-warm", beside: "boot/tiny/qemu-bzImage", most: 0.35},
	{what: "KASLR, over `nokaslr`: 6.12", figure: "boot/6.12-cloud/govmm-warm", beside: "boot/6.12-cloud/govmm-nokaslr", most: 1.04, percent: true},
	{what: "KASLR, over `nokaslr`: 6.1", figure: "boot/6.1-cloud/govmm-warm", beside: "boot/6.1-cloud/govmm-nokaslr", most: 1.04, percent: true},
	{what: "KASLR, over `nokaslr`: tiny", figure: "boot/tiny/govmm-warm", beside: "boot/tiny/govmm-nokaslr", most: 1.04, percent: true},
	{what: "exec to the first guest instruction, of QEMU's", figure: "start/govmm", beside: "start/qemu", most: 0.25},
	{what: "an exit for port I/O, of the same in C", figure: "exits/pio/go", beside: "exits/pio/c", most: 1.10},
	{what: "the monitor's memory, guest of 128 MiB", figure: "memory/govmm/128M", most: 8 << 20},
	{what: "the monitor's memory, guest of 1 GiB", figure: "memory/govmm/1G", most: 8 << 20},
	{what: "the monitor's memory, 4 CPUs", figure: "memory/govmm/4cpus", most: 8 << 20},
}

// value is what a report has for the goal; false if it lacks a figure.
func (g goal) value(r *report) (float64, bool) {
	v, ok := median(r, g.figure)
	if !ok || g.beside == "" {
		return v, ok
	}
	d, ok := median(r, g.beside)
	return v / d, ok
}

// median is that of a figure; false if it was not measured.
func median(r *report, id string) (float64, bool) {
	f := r.figure(id)
	if f == nil || len(f.Samples) == 0 {
		return 0, false
	}
	return summarize(f.Samples).Median, true
}
