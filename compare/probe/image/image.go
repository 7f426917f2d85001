// Package image makes the probe alone a guest's user space, for kernels that govmm run cannot start: old ones, and stock ones, whose drivers are modules.
package image

import (
	"io"
	"io/fs"

	"govmm/bootimage/initramfs"
)

// Initramfs writes an archive whose init is the program, which is to be compareprobe: it prints what it sees on the kernel's console and powers off.
// probe.FromConsole reads that.
func Initramfs(w io.Writer, program []byte) error {
	a := initramfs.NewWriter(w)
	// An early kernel opens it before devtmpfs is there.
	if err := a.Mknod("dev/console", fs.ModeDevice|fs.ModeCharDevice|0o600, 5, 1); err != nil {
		return err
	}
	for _, dir := range []string{"proc", "sys"} {
		if err := a.Mkdir(dir, 0o755); err != nil {
			return err
		}
	}
	if err := a.WriteFile("init", 0o755, program); err != nil {
		return err
	}
	return a.Close()
}
