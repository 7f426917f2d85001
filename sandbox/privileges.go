package sandbox

import (
	"errors"
	"fmt"

	"golang.org/x/sys/unix"
)

// A capabilitySet is what capget(2) gives of a thread: the capabilities up to 31, and those from 32 on.
type capabilitySet [2]unix.CapUserData

// capabilities gives those of the calling thread.
func capabilities() (capabilitySet, error) {
	var have capabilitySet
	if err := unix.Capget(&unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}, &have[0]); err != nil {
		return have, fmt.Errorf("capabilities: %w", err)
	}
	return have, nil
}

// any tells whether there is one to give up.
func (c capabilitySet) any() bool { return c[0].Permitted|c[1].Permitted != 0 }

// effective tells whether the thread may use a capability below 32.
func (c capabilitySet) effective(capability int) bool { return c[0].Effective&(1<<capability) != 0 }

// privilegeLayers are what only processes with privileges lose. The root directory of one without CAP_SYS_CHROOT stays, and Landlock
// keeps all that is below it from the process, as it does from root.
func privilegeLayers() []Layer {
	have, err := capabilities()
	if err != nil {
		return []Layer{{Name: "capabilities", Detail: err.Error(), Remedy: "let the container that this runs in use capget"}}
	}
	if !have.any() {
		return []Layer{{Name: "capabilities", Have: true, Detail: "there are none to give up"}}
	}
	layers := []Layer{{Name: "capabilities", Have: true, Detail: "all are given up"}}
	if !have.effective(unix.CAP_SYS_CHROOT) {
		return layers
	}
	// To where it is already.
	if err := unix.Chroot("/"); err != nil {
		return append(layers, rootStays(err))
	}
	if err := unix.Access(nowhere, unix.F_OK); err != nil {
		return append(layers, rootStays(err))
	}
	return append(layers, Layer{Name: "root directory", Have: true, Detail: "given up, without --net user"})
}

// rootStays is the layer where it is missing.
func rootStays(err error) Layer {
	l := Layer{Name: "root directory", Detail: "chroot to " + nowhere + ": " + err.Error(), Remedy: "let the container that this runs in use chroot, or run govmm without privileges"}
	if errors.Is(err, unix.ENOENT) {
		l.Detail, l.Remedy = "there is no "+nowhere, "mount /proc"
	}
	return l
}

// dropPrivileges takes the root directory and all capabilities away, where there are any, and gives the layer that cannot be had.
// The bounding set stays: only execve(2) would look at it, and there is none.
func dropPrivileges(have capabilitySet, noFiles bool) (missing []Layer, err error) {
	if noFiles && have.effective(unix.CAP_SYS_CHROOT) {
		if missing, err = changeRoot(); err != nil {
			return nil, err
		}
	}
	if !have.any() {
		return missing, nil
	}
	return missing, dropCapabilities()
}

// nowhere is a directory of every process's that has no files but small ones to read, and into which nothing can be put.
const nowhere = "/proc/self/fdinfo"

// changeRoot makes nowhere the root of all paths. Threads share it.
func changeRoot() (missing []Layer, err error) {
	if err := unix.Chroot(nowhere); err != nil {
		return []Layer{rootStays(err)}, nil // no /proc, or a container that forbids it
	}
	if err := unix.Chdir("/"); err != nil {
		return nil, fmt.Errorf("the root directory: %w", err)
	}
	return nil, nil
}
