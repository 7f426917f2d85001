package main

import (
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
)

// A bootFigure is how a kernel is booted.
type bootFigure struct {
	*figure
	cold bool // with an empty cache each time
}

// boots measures from exec to init's line.
func (b *bench) boots() error {
	var all []bootFigure
	for _, k := range b.kernels {
		all = append(all, b.bootsOf(k)...)
	}
	// All of them in turn, so that what changes during the run changes all of them alike, and in another order each time, because what runs leaves the host's memory in
	// a state that the next one feels.
	for round := range b.report.Runs + 1 {
		order := rand.New(rand.NewPCG(uint64(round), 0)).Perm(len(all))
		for _, i := range order {
			f := all[i]
			if f.Missing == "" {
				b.bootOnce(f, round)
			}
		}
	}
	for _, f := range all {
		f.close()
	}
	return nil
}

// bootsOf lists the ways of booting a kernel.
func (b *bench) bootsOf(k *kernel) []bootFigure {
	bz, elf := b.guest(k.bzImage), b.guest(k.vmlinux)
	fixed := bz
	fixed.cmdline += " nokaslr"
	warm := b.warmCache()
	var list []bootFigure
	add := func(variant, title string, command, env []string, cold bool) {
		f := b.figure(figure{
			ID: "boot/" + k.name + "/" + variant, Title: title, Command: command, Env: env, Missing: k.missing,
		})
		list = append(list, bootFigure{f, cold})
	}
	add("govmm-warm", "govmm, bzImage", b.govmmCommand(bz), warm, false)
	add("govmm-cold", "govmm, bzImage, the first time", b.govmmCommand(bz), []string{"XDG_CACHE_HOME=" + b.files.path("cold")}, true)
	add("govmm-nokaslr", "govmm, bzImage, `nokaslr`", b.govmmCommand(fixed), warm, false)
	add("govmm-open", "govmm, bzImage, `--sandbox=off`", b.govmmCommand(bz, "--sandbox=off"), warm, false)
	add("govmm-trace", "govmm, bzImage, `--trace`", b.govmmCommand(bz, "--trace", b.files.path("trace.json")), warm, false)
	add("govmm-never", "govmm, bzImage, `--direct=never`", b.govmmCommand(bz, "--direct=never"), warm, false)
	add("govmm-vmlinux", "govmm, vmlinux", b.govmmCommand(elf), warm, false)
	add("qemu-bzImage", "QEMU microvm, bzImage", b.qemuCommand(bz), nil, false)
	add("qemu-vmlinux", "QEMU microvm, vmlinux", b.qemuCommand(elf), nil, false)
	return list
}

func (b *bench) bootOnce(f bootFigure, round int) {
	if f.cold {
		dir := strings.TrimPrefix(f.Env[0], "XDG_CACHE_HOME=")
		defer os.RemoveAll(dir)
	}
	took, err := boot(f.Command, f.Env, nil)
	f.add(round, float64(took.Nanoseconds()), err)
	b.say(round, f.ID, fmt.Sprintf("%.1f ms", took.Seconds()*1000), err)
}
