package main

import "golang.org/x/sys/unix"

// The exercises of lesson 12. Change what stands here, then: go test ./examples/12-container -exercise

// Exercise 1: what the container has for itself: users, mounts, process numbers and the host name. What is missing? It should reach the host by nothing that
// has a namespace (namespaces(7)).
const namespaces = unix.CLONE_NEWUSER | unix.CLONE_NEWNS | unix.CLONE_NEWPID | unix.CLONE_NEWUTS

// Exercise 2: does the text of /proc/cpuinfo come from a guest? The processor says so by a flag with the name hypervisor, which only a hypervisor sets.
// (A container has the host's file.)
func inGuest(cpuinfo string) bool { return false }

// Exercise 3: who is a user of a container outside of it? uidMap is the text of /proc/PID/uid_map (user_namespaces(7)): lines of three numbers, the first user inside, who
// that is outside, and how many follow each other. false if the user is nobody outside, or the text is none of the kernel's.
func outside(uidMap string, user uint32) (uint32, bool) { return user, true }
