package main

import (
	"fmt"
	"maps"
	"slices"
)

// A trial is one guest under one monitor, and the figures that a run of it gives.
type trial struct {
	figures map[string]*figure // by the subject of their IDs
	command []string
	env     []string
	measure func(command, env []string) (map[string]float64, error) // by subject
}

// A subject is what is measured of a trial.
type subject struct{ name, title, kind string }

// devices measures disks, networks, idle guests or the memory that comes back from them.
func (b *bench) devices(part string) error {
	lab, err := b.newLab()
	if err != nil {
		return err
	}
	defer lab.close()
	list := map[string]func() []trial{"disk": lab.disks, "tap": lab.taps, "user": lab.users, "idle": lab.idles, "free": lab.frees}[part]()
	for round := range b.report.Runs + 1 {
		for _, t := range list {
			b.try(t, round)
		}
	}
	for _, t := range list {
		for _, f := range t.figures {
			f.close()
		}
	}
	return nil
}

// trials makes one for each rival. The group is the part of their IDs that says of what and with which guest.
func (b *bench) trials(group, title, missing string, g guest, d devices, subjects []subject, measure func(command, env []string) (map[string]float64, error)) []trial {
	list := make([]trial, len(rivals))
	for i, r := range rivals {
		list[i] = trial{figures: map[string]*figure{}, measure: measure}
		list[i].command, list[i].env = r.command(b, g, d)
	}
	for n, s := range subjects {
		for i, r := range rivals {
			f := figure{ID: "devices/" + group + "/" + s.name + "/" + r.name, Title: title + ": " + s.title, Kind: s.kind, Missing: missing}
			if n == 0 { // one guest gives them all
				f.Command, f.Env = list[i].command, list[i].env
			}
			list[i].figures[s.name] = b.figure(f)
		}
	}
	return list
}

// try makes one run of a trial.
func (b *bench) try(t trial, round int) {
	names := slices.DeleteFunc(slices.Sorted(maps.Keys(t.figures)), func(name string) bool { return t.figures[name].Missing != "" })
	if len(names) == 0 {
		return
	}
	values, err := t.measure(t.command, t.env)
	for _, name := range names {
		f, v, err := t.figures[name], 0.0, err
		if err == nil {
			var ok bool
			if v, ok = values[name]; !ok {
				err = fmt.Errorf("the guest said nothing of %s", name)
			}
		}
		f.add(round, v, err)
		unit := unitOf(f.Kind, v)
		b.say(round, f.ID, unit.show(v)+" "+unit.name, err)
	}
}
