package probe

// Facts are what a process sees of the machine that it runs on. What cannot be found out is empty.
type Facts struct {
	Kernel      Kernel   `json:"kernel"`
	Hostname    string   `json:"hostname"`
	CPUs        int      `json:"cpus"`         // online
	CPUsAllowed int      `json:"cpus_allowed"` // that this process may run on
	CPUModel    string   `json:"cpu_model"`
	Hypervisor  string   `json:"hypervisor"` // vendor in CPUID leaf 0x40000000, "KVMKVMKVM" for KVM; empty where CPUID tells of none
	Memory      uint64   `json:"memory"`     // bytes, MemTotal
	ACPI        []string `json:"acpi"`       // names of tables
	PCI         []string `json:"pci"`        // "0000:00:01.0 1af4:1042"
	Virtio      []string `json:"virtio"`     // names of drivers, one for each device
	Serial      []string `json:"serial"`     // UARTs that are there
	Disks       []string `json:"disks"`      // "vda 1073741824", with bytes
	NICs        []string `json:"nics"`       // without lo
	Devices     int      `json:"devices"`    // nodes in /dev

	Processes    int      `json:"processes"`     // that are visible
	ProcessNames []string `json:"process_names"` // of the first few
	PID          int      `json:"pid"`
	UID          int      `json:"uid"`
	Mounts       []Mount  `json:"mounts"`
	CapEff       []string `json:"cap_eff"` // capabilities by name, "CAP_SYS_ADMIN"
	CapBnd       []string `json:"cap_bnd"`
	Seccomp      int      `json:"seccomp"` // 0 none, 1 strict, 2 a filter
	NoNewPrivs   bool     `json:"no_new_privs"`
	Cgroup       Cgroup   `json:"cgroup"`

	Writable      []string `json:"writable"`       // of a list of interfaces to the kernel, those that this process could write
	WritableCount int      `json:"writable_count"` // files in /proc/sys and /sys that it could write
}

// A Kernel is known by what uname tells, and by the identifier that it chose for this boot of it.
type Kernel struct {
	Release string `json:"release"`
	Version string `json:"version"`
	BootID  string `json:"boot_id"`
}

// A Mount is a mounted file system.
type Mount struct {
	Target   string `json:"target"`
	Type     string `json:"type"`
	ReadOnly bool   `json:"read_only"`
}

// A Cgroup is what the process's control group allows, as the kernel writes it ("max" for no limit). Empty where the group cannot be seen.
type Cgroup struct {
	PidsMax   string `json:"pids_max"`
	MemoryMax string `json:"memory_max"` // bytes
	CPUMax    string `json:"cpu_max"`    // "QUOTA PERIOD", microseconds
}

// Work is how long some work took.
type Work struct {
	Units       uint64 `json:"units"` // MiB hashed, calls, or bytes
	Nanoseconds int64  `json:"nanoseconds"`
	Result      string `json:"result,omitempty"` // of cpu, the hash; of net, how the server greeted
}

// Disk is how long a disk took.
type Disk struct {
	Bytes       uint64 `json:"bytes"` // written, and then read
	WriteNS     int64  `json:"write_ns"`
	ReadNS      int64  `json:"read_ns"`
	RandomReads int    `json:"random_reads"` // of 4 KiB
	RandomNS    int64  `json:"random_ns"`
	Direct      bool   `json:"direct"` // past the page cache, by O_DIRECT
}

// Listening is what serve says when it can be reached.
type Listening struct {
	Address string `json:"listening"`
}

// Progress is how much memory alloc has touched, and when.
type Progress struct {
	Bytes       uint64 `json:"bytes"`
	Nanoseconds int64  `json:"nanoseconds"` // since it began
}

// Sleeping is what sleep says first.
type Sleeping struct {
	Sleeping bool `json:"sleeping"`
}

// Latency is how late a process was that sleeps and then works a little.
type Latency struct {
	Samples []int64 `json:"samples"` // nanoseconds beyond the sleep, each
}

// Bomb is how far a fork bomb came.
type Bomb struct {
	Started int    `json:"started"`         // processes, those among them that the kernel has ended meanwhile
	Error   string `json:"error,omitempty"` // what ended it before all were there, as that fork failed
}

// Fill is how much went into a file system until it was full.
type Fill struct {
	Bytes uint64 `json:"bytes"`
	Error string `json:"error,omitempty"` // by which writing ended
}

// Obstacles are what stands in the way of each kind of harm, in words; empty where nothing does.
type Obstacles struct {
	Panic    string `json:"panic"`
	ForkBomb string `json:"fork_bomb"`
	Memory   string `json:"memory"`
	Disk     string `json:"disk"`
}

// Trace is what system calls a command made, with all its threads and children.
type Trace struct {
	Distinct int      `json:"distinct"`
	Names    []string `json:"names"` // sorted
	Calls    uint64   `json:"calls"` // in all
}
