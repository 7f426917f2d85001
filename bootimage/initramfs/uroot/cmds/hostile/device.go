package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// A device is a virtio device that no driver has any more.
type device struct {
	name   string
	kind   uint32
	mmio   bool
	bar    []byte   // its registers
	config *os.File // its configuration space, of PCI
	live   bool     // was started
	queues [maxQueues]queue
}

// A queue is a split virtqueue, in three pages of the pinned memory.
type queue struct {
	page int
	size int // 0 if the device has no such queue
	next uint16
}

const (
	maxQueues = 4
	ringSize  = 64 // of descriptors, at most
)

// rings gives each device the pages of its rings.
func (d *device) rings(number int) {
	for i := range d.queues {
		d.queues[i].page = (number*maxQueues + i) * 3
	}
}

// findPCI takes all virtio devices on PCI from their drivers.
func findPCI() (found []*device) {
	paths, _ := filepath.Glob("/sys/bus/pci/devices/*") // the pattern is good
	for _, path := range paths {
		if field(path, "vendor") != "0x1af4" {
			continue
		}
		id, err := strconv.ParseUint(field(path, "device"), 0, 32)
		if err != nil || id < 0x1040 {
			continue
		}
		d, err := openPCI(path, uint32(id-0x1040))
		if err != nil {
			fmt.Println("hostile:", err)
			continue
		}
		d.rings(len(found))
		found = append(found, d)
	}
	return found
}

func field(path, name string) string {
	b, _ := os.ReadFile(filepath.Join(path, name)) // nothing if there is none
	return strings.TrimSpace(string(b))
}

func openPCI(path string, kind uint32) (*device, error) {
	unbind(path)
	if err := os.WriteFile(filepath.Join(path, "enable"), []byte("1"), 0); err != nil {
		return nil, err
	}
	d := &device{name: filepath.Base(path), kind: kind}
	var err error
	if d.config, err = os.OpenFile(filepath.Join(path, "config"), os.O_RDWR, 0); err != nil {
		return nil, err
	}
	d.bar, err = mapFile(filepath.Join(path, "resource0"), 0, pciBAR)
	return d, err
}

// unbind takes a device from its driver, if it has one.
func unbind(path string) {
	_ = os.WriteFile(filepath.Join(path, "driver", "unbind"), []byte(filepath.Base(path)), 0)
}

// findMMIO does the same with those that ACPI tells of. The kernel lets /dev/mem at addresses that no driver has.
func findMMIO() (found []*device) {
	paths, _ := filepath.Glob("/sys/bus/platform/devices/LNRO0005:*")
	for i, path := range paths {
		unbind(path)
		b, err := mapFile("/dev/mem", mmioBase+int64(i)*pageSize, pageSize)
		if err != nil {
			fmt.Println("hostile:", err)
			continue
		}
		d := &device{name: filepath.Base(path), kind: uint32(load(b, 8, 4)), mmio: true, bar: b}
		d.rings(len(found))
		found = append(found, d)
	}
	return found
}

func mapFile(name string, off int64, size int) ([]byte, error) {
	f, err := os.OpenFile(name, os.O_RDWR|os.O_SYNC, 0)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	b, err := unix.Mmap(int(f.Fd()), off, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("mmap %s: %w", name, err)
	}
	return b, nil
}
