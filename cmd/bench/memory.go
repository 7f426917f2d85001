package main

import (
	"fmt"
	"os"
	"path/filepath"
)

// memory measures what monitors hold beside the guest's RAM when init speaks.
func (b *bench) memory() error {
	k := b.kernel(stock612)
	type sized struct {
		*figure
		ram uint64
	}
	var all []sized
	add := func(id, title, memory string, ram uint64, cpus int, isQEMU bool) {
		g := b.guest(k.bzImage)
		g.memory, g.cpus = memory, cpus
		f := figure{ID: "memory/" + id, Title: title, Kind: kindMemory, Missing: k.missing, Command: b.govmmCommand(g), Env: b.warmCache()}
		if isQEMU {
			f.Command, f.Env = b.qemuCommand(g), nil
		}
		all = append(all, sized{b.figure(f), ram})
	}
	add("govmm/128M", "govmm, guest of 128 MiB, 1 CPU", "128M", 128<<20, 1, false)
	add("govmm/1G", "govmm, guest of 1 GiB, 1 CPU", "1G", 1<<30, 1, false)
	add("govmm/4cpus", "govmm, guest of 256 MiB, 4 CPUs", "256M", 256<<20, 4, false)
	add("qemu/128M", "QEMU microvm, guest of 128 MiB, 1 CPU", "128M", 128<<20, 1, true)
	for round := range b.report.Runs + 1 {
		for _, f := range all {
			if f.Missing != "" {
				continue
			}
			bytes, err := f.memoryOnce(f.ram)
			f.add(round, bytes, err)
			b.say(round, f.ID, fmt.Sprintf("%.2f MiB", bytes/(1<<20)), err)
		}
	}
	for _, f := range all {
		f.close()
	}
	return nil
}

// memoryOnce boots a guest and looks at its monitor.
func (f *figure) memoryOnce(ram uint64) (bytes float64, err error) {
	_, err = boot(f.Command, f.Env, func(pid int) error {
		smaps, err := os.Open(filepath.Join("/proc", fmt.Sprint(pid), "smaps"))
		if err != nil {
			return err
		}
		defer smaps.Close()
		list, err := parseSmaps(smaps)
		if err != nil {
			return err
		}
		if list, err = splitRAM(list, ram); err != nil {
			return err
		}
		var total uint64
		f.Holders, f.Mappings, total = holders(list, f.Command[0])
		bytes = float64(total)
		return nil
	})
	return bytes, err
}
