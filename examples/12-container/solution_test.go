package main

import (
	"fmt"
	"slices"
	"strings"

	"golang.org/x/sys/unix"
)

// Answers to the exercises. Yours may be others.

const namespacesSolution = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS |
	unix.CLONE_NEWNET | unix.CLONE_NEWIPC | unix.CLONE_NEWCGROUP

func inGuestSolution(cpuinfo string) bool {
	for line := range strings.Lines(cpuinfo) {
		name, value, _ := strings.Cut(line, ":")
		if strings.TrimSpace(name) == "flags" {
			return slices.Contains(strings.Fields(value), "hypervisor")
		}
	}
	return false
}

func outsideSolution(uidMap string, user uint32) (uint32, bool) {
	for line := range strings.Lines(uidMap) {
		var in, out, count uint32
		if _, err := fmt.Sscan(line, &in, &out, &count); err != nil {
			return 0, false
		}
		if user >= in && user-in < count {
			return out + (user - in), true
		}
	}
	return 0, false
}
