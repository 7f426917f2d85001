package probe

import (
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// pciFunctions gives "ADDRESS VENDOR:DEVICE" of each.
func pciFunctions() []string {
	const dir = "/sys/bus/pci/devices"
	return listed(dir, func(e os.DirEntry) string {
		id := func(name string) string { return strings.TrimPrefix(content(filepath.Join(dir, e.Name(), name)), "0x") }
		return e.Name() + " " + id("vendor") + ":" + id("device")
	})
}

// virtioDrivers gives the driver of each virtio device, "none" for one without.
func virtioDrivers() []string {
	const dir = "/sys/bus/virtio/devices"
	return listed(dir, func(e os.DirEntry) string {
		driver, err := os.Readlink(filepath.Join(dir, e.Name(), "driver"))
		if err != nil {
			return "none"
		}
		return filepath.Base(driver)
	})
}

// uarts gives the serial ports that have a chip. The driver makes more than there are, of type 0 (PORT_UNKNOWN).
func uarts() []string {
	const dir = "/sys/class/tty"
	return listed(dir, func(e os.DirEntry) string {
		kind := content(filepath.Join(dir, e.Name(), "type"))
		if kind == "" || kind == "0" {
			return ""
		}
		return e.Name()
	})
}

// disks gives "NAME BYTES" of each that holds something, those made of files and memory apart.
func disks() []string {
	const dir = "/sys/block"
	return listed(dir, func(e os.DirEntry) string {
		name := e.Name()
		sectors := content(filepath.Join(dir, name, "size"))
		if sectors == "" || sectors == "0" || strings.HasPrefix(name, "loop") || strings.HasPrefix(name, "ram") {
			return ""
		}
		return name + " " + sectorBytes(sectors)
	})
}

// nics gives the names of network interfaces.
func nics() []string {
	return listed("/sys/class/net", func(e os.DirEntry) string {
		if e.Name() == "lo" {
			return ""
		}
		return e.Name()
	})
}

// countDevices counts the device nodes below dir.
func countDevices(dir string) (n int) {
	left := maxWalk
	_ = filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error {
		if left--; left < 0 {
			return fs.SkipAll
		}
		if err == nil && e.Type()&fs.ModeDevice != 0 {
			n++
		}
		return nil
	})
	return n
}
