package compare

import (
	"context"
	"os/exec"
	"path/filepath"
	"time"

	"govmm/compare/report"
)

// A place is where commands run.
type place interface {
	subject() report.Subject

	// prepare makes what a job needs. The command is not started. done removes what was made, whether the command ran or not, and is called once, after the
	// command has ended.
	prepare(ctx context.Context, j job) (cmd *exec.Cmd, done func() error, err error)

	// pids gives the processes that a started command consists of: the monitor's, the container's.
	pids(cmd *exec.Cmd) ([]int, error)

	// hostAddress is how a command that has asked for a network reaches the host's loopback.
	hostAddress() string
}

// A job is a command and what it needs.
type job struct {
	root     string // directory with the root file system
	args     []string
	env      []string
	memory   string // of the virtual machine, as --memory takes it; empty for the usual
	cpus     int    // the virtual machine's; 0 for the usual
	disk     string // image that is the virtual machine's disk, or empty
	scratch  string // directory of the host in which others have their file in place of a disk, or empty
	network  bool
	forward  string        // "HOSTPORT-PORT": the virtual machine's port that is reachable on the host's loopback
	limit    time.Duration // to its end, and to its first output; 0 for defaultLimit
	probe    bool          // args is the probe's command line, which on the host needs no root directory of its own
	coldFrom string        // empty directory in place of the user's cache, for a first start
}

// How commands that ask for a disk find it.
const (
	guestDisk     = "/dev/vda"
	containerDisk = "/compare-disk"
)

// diskPath is where a place's disk is, of which others than virtual machines have a file in the directory scratch.
func diskPath(p place, scratch string) string {
	switch p.subject().Kind {
	case report.KindVM:
		return guestDisk
	case report.KindContainer:
		return filepath.Join(containerDisk, "file")
	}
	return filepath.Join(scratch, "file")
}
