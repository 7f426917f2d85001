package probe

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

func obstaclesCommand(args []string, out io.Writer) error {
	if len(args) > 0 {
		return errors.New("takes no arguments")
	}
	return say(out, LookForObstacles())
}

// LookForObstacles says what stands in the way of each kind of harm, and does none.
func LookForObstacles() Obstacles {
	group := cgroup()
	return Obstacles{
		Panic:    panicObstacle(),
		ForkBomb: limitObstacle("pids.max", group.PidsMax),
		Memory:   limitObstacle("memory.max", group.MemoryMax),
		Disk:     diskObstacle("/"),
	}
}

// panicObstacle says why this process cannot crash the kernel, by either of the ways of crash.
func panicObstacle() string {
	if canWrite(sysrq) || canWrite(panicOnOOM) {
		return ""
	}
	why := []string{writeObstacle(sysrq), writeObstacle(panicOnOOM)}
	for _, c := range []string{"CAP_SYS_BOOT", "CAP_SYS_ADMIN"} {
		if !hasCapability(c) {
			why = append(why, "no "+c)
		}
	}
	return strings.Join(why, "; ")
}

func writeObstacle(name string) string {
	err := unix.Access(name, unix.W_OK)
	switch {
	case err == unix.EROFS:
		return name + " is mounted read-only"
	case err != nil:
		return name + ": " + err.Error()
	}
	return name + " is not to be written"
}

func hasCapability(name string) bool {
	for _, has := range capabilities(fields("/proc/self/status")["CapEff"]) {
		if has == name {
			return true
		}
	}
	return false
}

// noLimit is what version 1 of control groups has for it: the largest number of pages, in bytes.
const noLimit = "9223372036854771712"

func limitObstacle(name, value string) string {
	if value == "" || value == "max" || value == noLimit {
		return ""
	}
	return name + " is " + value
}

// diskObstacle says what keeps this process from filling the file system of dir. The size of one that is shared is no obstacle, but who fills it is not alone in that.
func diskObstacle(dir string) string {
	var st unix.Statfs_t
	if err := unix.Statfs(dir, &st); err != nil {
		return ""
	}
	if st.Flags&unix.ST_RDONLY != 0 {
		return dir + " is mounted read-only"
	}
	if err := unix.Access(dir, unix.W_OK); err != nil {
		return fmt.Sprintf("user %d: %v", os.Getuid(), err)
	}
	return ""
}
