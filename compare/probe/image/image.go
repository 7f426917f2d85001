// Package image makes an initramfs of the probe alone, which any kernel boots that has a serial port.
package image

import (
	"io"
	"io/fs"

	"govmm/bootimage/initramfs"
	"govmm/compare/probe"
)

// Initramfs writes an archive with the program as the guest's init.
func Initramfs(w io.Writer, program []byte) error {
	a := initramfs.NewWriter(w)
	for _, dir := range []string{"dev", "proc", "sys"} {
		if err := a.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := a.Mknod("dev/console", 0o600|fs.ModeDevice|fs.ModeCharDevice, 5, 1); err != nil {
		return err
	}
	if err := a.WriteFile(probe.InitName[1:], 0o755, program); err != nil {
		return err
	}
	return a.Close()
}
