package kvm

import (
	"errors"
	"strings"
)

// ErrAPIVersion says that the kernel speaks another version of the KVM API than
// the one of every kernel since Linux 2.6.22 (api.rst 4.1).
var ErrAPIVersion = errors.New("API version is not 12")

// Error is the failure of one call to KVM. errors.Is sees through it to the
// system's error number, so errors.Is(err, unix.EINVAL) and
// errors.Is(err, fs.ErrNotExist) both work.
type Error struct {
	Op   string // the ioctl as the kernel's headers spell it, "KVM_CREATE_VM"; or "open", "mmap"
	Path string // the device's path when Op is "open", otherwise empty
	Err  error  // usually a unix.Errno; fs.ErrClosed after Close
}

// Error returns a line such as "kvm: KVM_CREATE_VM: device or resource busy".
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("kvm: ")
	b.WriteString(e.Op)
	if e.Path != "" {
		b.WriteString(" ")
		b.WriteString(e.Path)
	}
	b.WriteString(": ")
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap returns e.Err.
func (e *Error) Unwrap() error { return e.Err }

// CapError says which capabilities the host's KVM lacks. It matches
// errors.ErrUnsupported.
type CapError struct {
	Missing []Cap // in the order in which they were asked for
}

// Error names every missing capability.
func (e *CapError) Error() string {
	names := make([]string, len(e.Missing))
	for i, c := range e.Missing {
		names[i] = c.String()
	}
	return "kvm: host lacks " + strings.Join(names, ", ")
}

// Is reports whether target is errors.ErrUnsupported.
func (e *CapError) Is(target error) bool { return target == errors.ErrUnsupported }
