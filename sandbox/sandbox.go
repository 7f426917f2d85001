// Package sandbox takes away from this process what a virtual machine monitor does not need once its guest runs, so that a guest
// that breaks into the monitor finds itself in a process that can do nothing: open no file, start no program, reach no other process,
// and, where the guest has no network of ordinary sockets, no network.
//
// It is made of layers of Linux's that need no privilege: no_new_privs (prctl(2)), seccomp(2) with a list of system calls, landlock(7), and, in programs that
// are linked for it, a user and a mount namespace (namespaces(7)), by which the process can give up its root directory (chroot(2)). A process with privileges
// loses its capabilities (capabilities(7)) too. Limits (getrlimit(2)) bound descriptors, and keep the guest's memory out of core files. None of it can be undone.
//
// Left out: cgroups, which are their owner's.
//
// What is passed in is trusted. The process is not, after Apply.
package sandbox

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

//go:generate go run ./internal/callnames -o callnames_amd64.go

// A Policy says what the process is still going to do. The zero value is for a machine without a network of ordinary sockets.
type Policy struct {
	// Sockets says what it does with sockets of IPv4 and IPv6.
	Sockets Sockets

	// Readable are files, and directories with all that is below them, that it opens for reading. What is not there may be looked for.
	Readable []string

	// Links are symbolic links, by their names, to what is readable. They are made where the process gets a root directory that has only that.
	Links map[string]string

	// Debugger says that it takes connections of debuggers, by a socket that is open, and looks into vCPUs for them.
	Debugger bool

	// Files is how many descriptors the process may have open, if not zero.
	Files uint64

	// Complaint begins the message about a system call that is not on the list, and Ending ends it; the call's name comes between them.
	// The message goes to standard error, and the process ends with ViolationStatus.
	Complaint, Ending string
}

// Sockets is what the process does with sockets. What is larger includes what is smaller.
type Sockets int

// Sockets of a Policy.
const (
	NoSockets   Sockets = iota
	OpenSockets         // sends and receives by those that are open
	NewSockets          // opens others, for TCP and UDP
)

// ViolationStatus is the exit status of a process that made a system call which is not on the list: what a shell shows for SIGSYS.
const ViolationStatus = 128 + int(unix.SIGSYS)

// A Layer is one part of the sandbox, and whether the host has it.
type Layer struct {
	Name   string
	Have   bool
	Detail string // what the layer does here, or why it cannot be had
	Remedy string // what to do where it cannot be had
}

// foreignThreads is what a program with cgo lacks.
var foreignThreads = Layer{
	Name: "pure-Go build", Detail: "this program is built with cgo, whose threads Go does not know, and has no sandbox",
	Remedy: "build it with CGO_ENABLED=0, as make build does",
}

// Layers looks at what the host and this program offer, and changes nothing.
func Layers() []Layer {
	limits := Layer{Name: "limits", Have: true, Detail: "no core files, no locked memory, no message queues, and without --net user few descriptors"}
	namespaces := offeredNamespaces()
	return append(append(append(basicLayers(), namespaces), privilegeLayers(namespaces)...), limits)
}

// basicLayers are those that all processes need, but for the namespaces.
func basicLayers() []Layer {
	layers := []Layer{seccompLayer(), landlockLayer()}
	if _, _, errno := syscall.AllThreadsSyscall(unix.SYS_GETPID, 0, 0, 0); errno == syscall.ENOTSUP {
		layers = append(layers, foreignThreads)
	}
	return layers
}

// Missing gives what the host does not have of the layers that all processes need. Apply finds the same, and whether the root directory can be given up.
func Missing() (missing []Layer) {
	for _, l := range append(basicLayers(), namespaceLayer()) {
		if !l.Have {
			missing = append(missing, l)
		}
	}
	return missing
}

// Apply puts the process, with all its threads and all that they start, into the sandbox, and gives the layers that the host does not
// have. With an error some layers may be there and others not. A process with cgo gets none, because the threads of C are not known to Go
// and make calls of their own. Apply is called once, when everything is open that will be needed.
func Apply(p Policy) (missing []Layer, err error) {
	// Each layer is taken on by the calling thread first, and by others then.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	ForgetOwners()
	if err := settleRuntime(); err != nil {
		return nil, err
	}
	if err := limit(p.Files); err != nil {
		return nil, err
	}
	if missing, err = restrictThreads(p); errors.Is(err, unix.ENOTSUP) {
		return []Layer{foreignThreads}, nil
	}
	if err != nil {
		return missing, err
	}
	if !haveSeccomp() {
		return append(missing, noSeccomp), nil
	}
	if err := catchViolations(p.Complaint, p.Ending); err != nil {
		return missing, fmt.Errorf("SIGSYS: %w", err)
	}
	if err := installFilter(program(p)); err != nil {
		return missing, fmt.Errorf("seccomp: %w", err)
	}
	return missing, nil
}

// restrictThreads puts on the layers that each thread has for itself, and takes the root directory, which threads share.
func restrictThreads(p Policy) (missing []Layer, err error) {
	have, err := capabilities()
	if err != nil {
		return nil, err
	}
	if err := forbidPrivileges(have); err != nil {
		return nil, err
	}
	if l := namespaceLayer(); !l.Have {
		missing = append(missing, l)
	}
	stays, err := leaveRoot(p, have)
	if err != nil {
		return nil, err
	}
	missing = append(missing, stays...)
	if l := landlockLayer(); !l.Have {
		missing = append(missing, l)
	} else if err := restrictFiles(p); err != nil {
		return nil, fmt.Errorf("landlock: %w", err)
	}
	if !have.any() {
		return missing, nil
	}
	// The bounding set stays: only execve(2) would look at it, and there is none.
	return missing, dropCapabilities()
}

// forbidPrivileges sets no_new_privs, on which Landlock and seccomp insist. A process with CAP_SYS_ADMIN needs it for seccomp only,
// and that hands it on from this thread to all others.
func forbidPrivileges(have capabilitySet) error {
	if have.effective(unix.CAP_SYS_ADMIN) && haveSeccomp() {
		return unix.Prctl(unix.PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
	}
	return onAllThreads("no_new_privs", unix.SYS_PRCTL, unix.PR_SET_NO_NEW_PRIVS, 1, 0)
}

// settleRuntime has Go's runtime do what it does once, or else would do at any time.
func settleRuntime() error {
	runtime.GOMAXPROCS(runtime.GOMAXPROCS(0)) // it follows the host no more (settingProcs)
	_, _ = time.Now().Zone()                  // the time zone's file is read, unless time.Local is set
	r, w, err := os.Pipe()                    // the poller is made
	if err != nil {
		return err
	}
	return errors.Join(r.Close(), w.Close())
}

// onAllThreads makes a system call that changes only the thread which makes it on all of them.
func onAllThreads(what string, nr, a1, a2, a3 uintptr) error {
	_, _, errno := syscall.AllThreadsSyscall(nr, a1, a2, a3)
	if errno != 0 {
		return fmt.Errorf("%s: %w", what, errno)
	}
	return nil
}

// limit sets limits of resources. They are the process's, not a thread's.
func limit(files uint64) error {
	limits := []struct {
		resource int
		max      uint64
	}{
		{unix.RLIMIT_CORE, 0},     // the guest's memory is nobody else's
		{unix.RLIMIT_MEMLOCK, 0},  // no memory that cannot be swapped
		{unix.RLIMIT_MSGQUEUE, 0}, // no memory of message queues
		{unix.RLIMIT_NOFILE, files},
	}
	for _, l := range limits {
		if l.resource == unix.RLIMIT_NOFILE && files == 0 {
			continue
		}
		if err := lower(l.resource, l.max); err != nil {
			return fmt.Errorf("limit %d: %w", l.resource, err)
		}
	}
	return nil
}

// lower lowers a limit for good. One that is lower stays.
func lower(resource int, to uint64) error {
	var now unix.Rlimit
	if err := unix.Getrlimit(resource, &now); err != nil {
		return err
	}
	if now.Cur <= to && now.Max <= to {
		return nil
	}
	return unix.Setrlimit(resource, &unix.Rlimit{Cur: min(now.Cur, to), Max: min(now.Max, to)})
}

// CallName gives the name of a system call of this architecture, empty if the number is not one.
func CallName(nr uint64) string {
	if nr < uint64(len(callNames)) {
		return callNames[nr]
	}
	return ""
}
