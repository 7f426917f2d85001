package kvm

import (
	"golang.org/x/sys/unix"
)

// apiVersion is KVM_API_VERSION, the only one that was ever stable (api.rst 4.1).
const apiVersion = 12

// Device is an open /dev/kvm: the way to ask what the host offers and to create
// VMs. VMs outlive it. Its methods may be called from any goroutine.
type Device struct {
	handle handle
}

// Open opens /dev/kvm. The error is an *Error which matches fs.ErrNotExist when
// the host has no KVM, fs.ErrPermission when the user may not use it, and
// ErrAPIVersion when the kernel predates the stable API.
func Open() (*Device, error) { return OpenPath("/dev/kvm") }

// OpenPath is Open for a device that lies elsewhere.
func OpenPath(path string) (*Device, error) {
	fd, err := openRetry(path)
	if err != nil {
		return nil, &Error{Op: "open", Path: path, Err: err}
	}
	d := &Device{handle{fd: fd}}
	version, err := d.APIVersion()
	if err == nil && version != apiVersion {
		err = &Error{Op: kvmGetAPIVersion.String(), Err: ErrAPIVersion}
	}
	if err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

func openRetry(path string) (int, error) {
	for {
		fd, err := unix.Open(path, unix.O_RDWR|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}

// Close gives the descriptor back. Later calls fail with fs.ErrClosed; a second
// Close does nothing.
func (d *Device) Close() error { return d.handle.close() }

// APIVersion returns 12 (KVM_GET_API_VERSION, api.rst 4.1).
func (d *Device) APIVersion() (int, error) {
	return ioctl(&d.handle, kvmGetAPIVersion, 0)
}

// Check returns 0 if the host lacks c, otherwise 1 or what else c's row in the
// table of capabilities says (KVM_CHECK_EXTENSION, api.rst 4.4).
func (d *Device) Check(c Cap) (int, error) {
	return ioctl(&d.handle, kvmCheckExtension, uintptr(c))
}

// Require returns nil if the host has all of caps, a *CapError that lists those it
// lacks, or the error of asking.
func (d *Device) Require(caps ...Cap) error {
	var missing []Cap
	for _, c := range caps {
		n, err := d.Check(c)
		if err != nil {
			return err
		}
		if n == 0 {
			missing = append(missing, c)
		}
	}
	if missing != nil {
		return &CapError{Missing: missing}
	}
	return nil
}

// CreateVM creates a VM without memory, processors or devices (KVM_CREATE_VM,
// api.rst 4.2).
func (d *Device) CreateVM() (*VM, error) {
	// The size of a VCPU's shared page never changes: ask now, so that the VM
	// does not need the Device later (api.rst 4.5).
	size, err := ioctl(&d.handle, kvmGetVCPUMmapSize, 0)
	if err != nil {
		return nil, err
	}
	fd, err := ioctl(&d.handle, kvmCreateVM, 0)
	if err != nil {
		return nil, err
	}
	return &VM{handle: handle{fd: fd}, runSize: size}, nil
}
