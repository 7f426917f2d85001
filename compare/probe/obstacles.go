package probe

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Obstacles are what would stand in the way of a harm, without its being tried.
type Obstacles struct{ Panic, ForkBomb, Memory, Disk string }

// LookForObstacles says what stands in the way here.
func LookForObstacles() Obstacles {
	c := lookAtCgroup()
	o := Obstacles{Panic: "the file /proc/sysrq-trigger cannot be written", ForkBomb: limit("pids.max", c.PidsMax), Memory: limit("memory.max", c.MemoryMax)}
	if mayWrite("/proc/sysrq-trigger") {
		o.Panic = "nothing: /proc/sysrq-trigger can be written"
	}
	var fs unix.Statfs_t
	if err := unix.Statfs("/", &fs); err != nil {
		o.Disk = "not known: " + err.Error()
		return o
	}
	if fs.Flags&unix.ST_RDONLY != 0 {
		o.Disk = "the root file system is mounted read-only"
		return o
	}
	o.Disk = fmt.Sprintf("nothing before %d MiB", int64(fs.Bavail)*fs.Bsize>>20)
	return o
}

func limit(name, value string) string {
	switch value {
	case "":
		return "nothing that can be seen: no " + name
	case "max":
		return "nothing: " + name + " is max"
	}
	return name + " is " + value
}
