package main

import (
	"fmt"
	"strconv"
	"strings"
)

// diskJobs are those of guest/disk.fio.
var diskJobs = []subject{
	{"randread-1", "random reads of 4 KiB, depth 1", kindRate},
	{"randread-32", "random reads of 4 KiB, depth 32", kindRate},
	{"randwrite-1", "random writes of 4 KiB, depth 1", kindRate},
	{"randwrite-32", "random writes of 4 KiB, depth 32", kindRate},
	{"read", "reads of 1 MiB in a row, depth 4", kindThroughput},
	{"write", "writes of 1 MiB in a row, depth 4", kindThroughput},
}

// diskBlock is the size of a request of the jobs whose requests are counted.
const diskBlock = 4 << 10

// cells are the guests that devices are measured with.
var cells = []struct {
	kernel   string
	cpus     int
	diskOnly bool
}{{tiny, 1, false}, {tiny, 2, false}, {stock612, 1, true}}

func cellTitle(kernel string, cpus int) string {
	if cpus == 1 {
		return kernel + ", 1 CPU"
	}
	return fmt.Sprintf("%s, %d CPUs", kernel, cpus)
}

func cellName(kernel string, cpus int) string { return fmt.Sprintf("%s-%d", kernel, cpus) }

func (l *lab) disks() []trial {
	var list []trial
	for _, c := range cells {
		k := l.kernel(c.kernel)
		list = append(list, l.trials("disk/"+cellName(c.kernel, c.cpus), cellTitle(c.kernel, c.cpus), k.missing,
			l.guestOf(k, c.cpus, "disk"), devices{disk: l.image}, diskJobs, diskOnce)...)
	}
	return list
}

func diskOnce(command, env []string) (map[string]float64, error) {
	console, err := runGuest(command, env)
	if err != nil {
		return nil, err
	}
	out, err := section(console, "fio")
	if err != nil {
		return nil, err
	}
	return parseFio(out)
}

// Fields of fio's terse format, version 3 (fio's HOWTO, "Terse output").
const (
	fioName     = 2
	fioError    = 4
	fioRead     = 5 // KiB; then the bandwidth, the rate and milliseconds
	fioWrite    = 46
	fioDuration = 3 // from fioRead and fioWrite
)

// parseFio computes each job's result from what it did and how long that took.
func parseFio(out string) (map[string]float64, error) {
	values := map[string]float64{}
	for line := range strings.Lines(out) {
		fields := strings.Split(strings.TrimSpace(line), ";")
		if len(fields) <= fioWrite+fioDuration || fields[0] != "3" {
			return nil, fmt.Errorf("fio: %q", line)
		}
		name := fields[fioName]
		if fields[fioError] != "0" {
			return nil, fmt.Errorf("fio: job %s failed with error %s", name, fields[fioError])
		}
		var kib, ms float64
		for _, at := range []int{fioRead, fioWrite} {
			for i, sum := range map[int]*float64{at: &kib, at + fioDuration: &ms} {
				v, err := strconv.ParseFloat(fields[i], 64)
				if err != nil {
					return nil, fmt.Errorf("fio: job %s: %w", name, err)
				}
				*sum += v
			}
		}
		if ms == 0 {
			return nil, fmt.Errorf("fio: job %s took no time", name)
		}
		perSecond := kib * 1024 / (ms / 1000)
		for _, j := range diskJobs {
			if j.name == name && j.kind == kindRate {
				perSecond /= diskBlock
			}
		}
		values[name] = perSecond
	}
	return values, nil
}
