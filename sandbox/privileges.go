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

// privilegeLayers are the capabilities, and the root directory, which only a process with CAP_SYS_CHROOT can give up. The root directory of another stays, and
// Landlock keeps all that is below it from the process. namespaces are what a process without privileges would have that capability by.
func privilegeLayers(namespaces Layer) []Layer {
	have, err := capabilities()
	if err != nil {
		return []Layer{{Name: "capabilities", Detail: err.Error(), Remedy: "let the container that this runs in use capget"}}
	}
	layers := []Layer{{Name: "capabilities", Have: true, Detail: "there are none to give up"}}
	if have.any() {
		layers[0].Detail = "all are given up"
	}
	switch {
	case have.effective(unix.CAP_SYS_CHROOT):
		// To where it is already.
		if err := errors.Join(unix.Chroot("/"), unix.Access(nowhere, unix.F_OK)); err != nil {
			return append(layers, nowhereStays(err))
		}
	case have.any():
		return append(layers, noChroot)
	case !namespaces.Have:
		return append(layers, Layer{Name: "root directory", Detail: "stays, without namespaces", Remedy: namespaces.Remedy})
	}
	return append(layers, Layer{Name: "root directory", Have: true, Detail: "given up; with --net user the name servers' directory is left, and without namespaces all"})
}
