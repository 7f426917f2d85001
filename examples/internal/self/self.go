// Package self makes a program of the lessons the guest's first process: a monitor and what runs in its guest are then one file.
package self

import (
	"bytes"
	"fmt"
	"os"

	"golang.org/x/sys/unix"

	"govmm/bootimage/initramfs"
)

// InGuest reports whether the program runs as the guest's first process.
func InGuest() bool { return os.Getpid() == 1 }

// Archive is an initrd with one file in it, this program. Linux starts /init as its first process when it has unpacked the archive. The program
// must need no libraries, as Go programs do not that are built without cgo.
func Archive() ([]byte, error) {
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	w := initramfs.NewWriter(&b)
	if err := w.WriteFile("init", 0o755, program); err != nil {
		return nil, err
	}
	err = w.Close()
	return b.Bytes(), err
}

// Reset ends the guest.
func Reset() error { return unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART) }

// KernelVersion is what uname -r shows.
func KernelVersion() string {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return err.Error()
	}
	return unix.ByteSliceToString(u.Release[:])
}

// Say prints a line and waits until it has left the serial port, so that what the monitor prints next comes behind it.
func Say(format string, args ...any) {
	fmt.Printf(format+"\n", args...)
	unix.IoctlSetInt(1, unix.TCSBRK, 1) // what tcdrain does
}
