package compare

import (
	"context"
	"fmt"

	"govmm/compare/report"
)

// A claim is what is commonly said, and how it is looked at.
type claim struct {
	number      int
	key         string // for --only
	title       string
	how, limits string

	// probe fills in rows, checks and the finding, and the verdict where the checks do not say it. With an error the claim is not measured.
	probe func(*comparison, context.Context, *report.Claim) error
}

// Keys gives the names of the claims, in their order.
func Keys() []string {
	var keys []string
	for _, k := range allClaims() {
		keys = append(keys, k.key)
	}
	return keys
}

// Describe gives a claim's title, and how it is measured.
func Describe(key string) (title, how string) {
	for _, k := range allClaims() {
		if k.key == key {
			return k.title, k.how
		}
	}
	return "", ""
}

// allClaims gives the claims, in their order.
func allClaims() []claim {
	return []claim{
		{1, "hardware", "A VM virtualizes hardware; a container virtualizes the operating system",
			"One program looks in each place at CPUID, at ACPI's tables and at the devices in /sys.",
			"What is hidden from a container by mounts over /sys counts as hidden, although the kernel behind it is the same.", (*comparison).hardware},
		{2, "kernel", "Each VM has its own kernel; containers share the host's",
			"uname and /proc/sys/kernel/random/boot_id, which a kernel makes once when it starts; then another kernel is booted beside a running virtual machine.",
			"A kernel that lies about its boot id would not be noticed.", (*comparison).kernel},
		{3, "resources", "A VM gets its own CPUs, memory, storage and network, by the hypervisor's decision",
			"A virtual machine with 1 CPU and 128 MiB says what it has, and then allocates memory until it is stopped. The container's limits are read from its cgroup.",
			"Limits of a container's cgroup are there when someone sets them; the default bundle of runtimes sets none.", (*comparison).resources},
		{4, "isolation", "Strong isolation: trouble in one VM does not affect the others",
			"In one virtual machine the kernel panics, processes fork for ten seconds or until there are a thousand, memory is exhausted, a file system is filled. From its start to its end a second virtual machine " +
				"and the host sleep for 10 ms and do a little work, again and again; by how much they are late is their latency.",
			"Nothing of it is run in a container or on the host: there the probe says what stands in the way. Neighbours on one processor share its time, which is not counted as harm.", (*comparison).isolation},
		{5, "surface", "A container's security rests on the shared kernel",
			"The command is run under ptrace in each place, and its different system calls are counted; so are those of the monitor while a virtual machine runs it. Capabilities, seccomp and kernel interfaces " +
				"that can be written are read in each place.",
			"A number of system calls is not a measure of what an attacker can do with them; the monitor's include those of its start.", (*comparison).surface},
		{6, "startup", "VMs start slowly, containers in milliseconds",
			"The time from starting the program (govmm run, the runtime's run) to the first byte of the command's output, in turns, after a start of each that is not counted. Cold: with an empty cache of kernels.",
			"Making the root file system, fetching images and a daemon's part are in none of the figures.", (*comparison).startup},
		{7, "memory", "VMs cost more memory; containers give higher density",
			"N idle instances are started; the proportional set sizes (PSS) of all their processes are added up, in which a page that several have counts once. The slope of the line through them is the cost of one more.",
			"Memory of the host's kernel for either is not in PSS, nor are pages of files that nobody has mapped.", (*comparison).memory},
		{8, "duplicates", "Many small identical VMs duplicate the operating system",
			"From the same instances: what one more costs beside what the first one does. What they share is the kernel's unpacked image and the monitor.",
			"Clones of a snapshot, which would share their memory, are not there yet.", (*comparison).duplicates},
		{9, "size", "VM images are larger; containers are more portable where the kernel fits",
			"Sizes of the files that have to be shipped for the same command.",
			"Sizes are as they lie there: images are usually compressed.", (*comparison).size},
		{10, "speed", "Both run the workload at about native speed",
			"The same program hashes, makes system calls, writes and reads a disk of 64 MiB and fetches from a server on the host, in each place. A virtual machine's disk is a file by virtio, a container's is the " +
				"file; a virtual machine's network is --net user, a container's is the host's.",
			"Memory-bound work, many processors and long runs are not covered.", (*comparison).speed},
		{11, "legacy", "VMs suit legacy and special kernels, containers suit services",
			"Other kernels are booted, with a root file system of one program, and say what they are. A server is started in each place, and reached from the host.",
			"One server and a few kernels stand for many.", (*comparison).legacy},
	}
}

// check adds what would be otherwise if the claim did not hold.
func check(k *report.Claim, holds bool, format string, args ...any) {
	k.Checks = append(k.Checks, report.Check{Text: fmt.Sprintf(format, args...), Holds: holds})
}
