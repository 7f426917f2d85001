package main

import (
	"fmt"
	"testing"
)

// TestKeep has a run of one part take the others from two earlier ones, and nothing from another host.
func TestKeep(t *testing.T) {
	made := func(version string, parts ...string) *report {
		r := &report{Govmm: version, Runs: 5, Parts: parts}
		for _, p := range parts {
			if name, ok := map[string]string{"disk": "devices/disk", "tap": "devices/tap"}[p]; ok {
				p = name
			}
			r.Figures = append(r.Figures, &figure{ID: p + "/" + version})
		}
		return r
	}
	ids := func(r *report) (list []string) {
		for _, f := range r.Figures {
			list = append(list, f.ID)
		}
		return list
	}
	first, second, third := made("1", "boot", "exits", "memory"), made("2", "exits", "disk", "tap"), made("3", "disk", "tap")
	second.keep(first)
	third.keep(second)
	if got, want := fmt.Sprint(ids(third), third.Kept), "[devices/disk/3 devices/tap/3 exits/2 boot/1 memory/1] [{2 5 [exits]} {1 5 [boot memory]}]"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	other := made("4", "boot")
	other.Host.VirtualTime = true
	other.keep(third)
	if len(other.Figures) != 1 || len(other.Kept) != 0 {
		t.Errorf("figures of another host: %v, %v", ids(other), other.Kept)
	}
}
