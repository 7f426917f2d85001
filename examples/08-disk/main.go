// Lesson 8: a disk. A virtio block device in some hundred lines (disk.go), and a Linux guest that reads and writes it. The guest's first process is this program
// again.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"

	"golang.org/x/sys/unix"

	"govmm/devices/virtio"
	"govmm/examples/internal/self"
	"govmm/machine"
)

func main() {
	log.SetFlags(0)
	if self.InGuest() {
		if err := guest(); err != nil {
			self.Say("guest: %v", err)
		}
		log.Fatal(self.Reset())
	}
	if len(os.Args) != 2 {
		log.Fatal("usage: 08-disk KERNEL")
	}
	if err := run(os.Args[1]); err != nil {
		log.Fatal(err)
	}
}

// run makes a disk of 1 MiB, boots the kernel with it, and looks at what the guest has written.
func run(kernelPath string) error {
	kernel, err := os.ReadFile(kernelPath)
	if err != nil {
		return err
	}
	initrd, err := self.Archive()
	if err != nil {
		return err
	}
	file, err := os.CreateTemp("", "disk-")
	if err != nil {
		return err
	}
	defer os.Remove(file.Name())
	defer file.Close()
	if err := errors.Join(file.Truncate(1<<20), write(file, 0, "written by the host")); err != nil {
		return err
	}
	d := &disk{storage: file, sectors: 1 << 20 / sectorSize, log: log.New(os.Stdout, "  disk: ", 0)}

	m, err := machine.New(machine.Config{
		Kernel: kernel, Initrd: initrd, Devices: []virtio.Device{d},
		Console: os.Stdout, Cmdline: "console=ttyS0 quiet panic=-1",
	})
	if err != nil {
		return err
	}
	defer m.Close()
	if _, err := m.Run(context.Background()); err != nil {
		return err
	}
	text, err := read(file, 8*sectorSize)
	fmt.Printf("host:  in sector 8 of the file is %q\n", text)
	return err
}

// guest reads a page of its disk and writes the next.
func guest() error {
	if err := unix.Mount("", "/dev", "devtmpfs", 0, ""); err != nil {
		return err
	}
	f, err := os.OpenFile("/dev/vda", os.O_RDWR, 0)
	if err != nil {
		return err
	}
	unix.Fadvise(int(f.Fd()), 0, 0, unix.FADV_RANDOM) // reads nothing ahead
	text, err := read(f, 0)
	if err != nil {
		return err
	}
	self.Say("guest: in sector 0 of /dev/vda is %q", text)
	if err := write(f, 8*sectorSize, "written by the guest"); err != nil {
		return err
	}
	self.Say("guest: write to sector 8 is done, fsync begins")
	if err := f.Sync(); err != nil {
		return err
	}
	self.Say("guest: fsync is done")
	return nil
}

func read(f io.ReaderAt, off int64) (string, error) {
	p := make([]byte, 4096)
	_, err := f.ReadAt(p, off)
	return unix.ByteSliceToString(p), err
}

func write(f io.WriterAt, off int64, text string) error {
	_, err := f.WriteAt(append([]byte(text), make([]byte, 4096-len(text))...), off)
	return err
}
