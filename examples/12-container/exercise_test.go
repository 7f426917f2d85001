package main

import (
	"fmt"
	"testing"

	"golang.org/x/sys/unix"

	"govmm/examples/internal/exercise"
)

func TestNamespaces(t *testing.T) {
	exercise.Check(t, func(flags uintptr) error {
		for _, n := range []struct {
			flag uintptr
			what string
		}{
			{unix.CLONE_NEWUSER, "users"}, {unix.CLONE_NEWNS, "mounts"}, {unix.CLONE_NEWPID, "process numbers"}, {unix.CLONE_NEWUTS, "host name"},
			{unix.CLONE_NEWNET, "network"}, {unix.CLONE_NEWIPC, "shared memory and message queues"}, {unix.CLONE_NEWCGROUP, "view of control groups"},
		} {
			if flags&n.flag == 0 {
				return fmt.Errorf("the container has the host's %s", n.what)
			}
		}
		return nil
	}, namespaces, namespacesSolution)
}

func TestInGuest(t *testing.T) {
	exercise.Check(t, func(inGuest func(string) bool) error {
		for _, tt := range []struct {
			cpuinfo string
			want    bool
		}{
			{"processor\t: 0\nmodel name\t: Intel Xeon\nflags\t\t: fpu vme hypervisor lahf_lm\nbugs\t\t: spectre_v1\n", true},
			{"processor\t: 0\nmodel name\t: Intel Xeon\nflags\t\t: fpu vme lahf_lm\nbugs\t\t: spectre_v1\n", false},
			{"processor\t: 0\nmodel name\t: hypervisor\nflags\t\t: fpu vme nohypervisor2\n", false},
			{"flags: hypervisor", true},
			{"", false},
		} {
			got, err := exercise.Call(func() bool { return inGuest(tt.cpuinfo) })
			if err != nil {
				return err
			}
			if got != tt.want {
				return fmt.Errorf("with %q it is %v", tt.cpuinfo, got)
			}
		}
		return nil
	}, inGuest, inGuestSolution)
}

func TestOutside(t *testing.T) {
	const podman = "         0       1000          1\n         1     100000      65536\n"
	exercise.Check(t, func(outside func(string, uint32) (uint32, bool)) error {
		for _, tt := range []struct {
			uidMap string
			user   uint32
			want   uint32
			ok     bool
		}{
			{"         0          0 4294967295\n", 1000, 1000, true}, // the host itself
			{podman, 0, 1000, true},
			{podman, 1, 100000, true},
			{podman, 33, 100032, true},
			{podman, 65536, 165535, true},
			{podman, 65537, 0, false},
			{"", 0, 0, false},
			{"nonsense\n", 0, 0, false},
			{"0 1000\n", 0, 0, false},
		} {
			type result struct {
				user uint32
				ok   bool
			}
			got, err := exercise.Call(func() (r result) { r.user, r.ok = outside(tt.uidMap, tt.user); return r })
			if err != nil {
				return err
			}
			if got.ok != tt.ok || tt.ok && got.user != tt.want {
				return fmt.Errorf("user %d with the map %q is %d outside, %v; it should be %d, %v", tt.user, tt.uidMap, got.user, got.ok, tt.want, tt.ok)
			}
		}
		return nil
	}, outside, outsideSolution)
}
