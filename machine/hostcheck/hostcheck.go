// Package hostcheck finds out what a host offers to govmm and what it would take to
// give more: the KVM device and its capabilities, whether it runs guest kernels on
// hardware or emulates them, huge pages and tun.
package hostcheck

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"

	"govmm/kvm"
	"govmm/machine"
	"govmm/sandbox"
)

// Status is the verdict on one Item.
type Status string

// The verdicts. Only Missing keeps Linux from booting.
const (
	OK       Status = "ok"
	Absent   Status = "absent"  // govmm does without
	Missing  Status = "missing" // needed
	NotKnown Status = "unknown" // could not be looked at
)

// Item is one thing that was looked at.
type Item struct {
	Name   string `json:"name"`
	Status Status `json:"status"`
	Detail string `json:"detail"`           // what was seen
	Remedy string `json:"remedy,omitempty"` // what to do, where there is something to do
}

// Report is what Check found, in reading order.
type Report struct {
	Items []Item `json:"items"`
	// CanBoot says whether a stock Linux kernel can boot here.
	CanBoot bool `json:"can_boot"`
}

// Check looks at the host. kvmPath is usually /dev/kvm. Looking changes nothing; a
// tiny guest runs for some milliseconds.
func Check(kvmPath string) *Report {
	r := new(Report)
	r.checkKVM(kvmPath)
	r.Items = append(r.Items, hugePages(), tun())
	r.sandbox()
	r.CanBoot = true
	for _, i := range r.Items {
		if i.Status == Missing {
			r.CanBoot = false
		}
	}
	return r
}

func (r *Report) add(name string, s Status, detail, remedy string) {
	r.Items = append(r.Items, Item{name, s, detail, remedy})
}

func (r *Report) checkKVM(path string) {
	dev, err := kvm.OpenPath(path)
	if err != nil {
		detail, remedy := openFault(path, err)
		r.add(path, Missing, detail, remedy)
		return
	}
	defer dev.Close()
	r.add(path, OK, permissions(path), "")
	version, err := dev.APIVersion()
	if err != nil {
		r.add("API version", Missing, err.Error(), "")
		return
	}
	r.add("API version", OK, strconv.Itoa(version), "")
	for _, c := range machine.RequiredCaps() {
		r.capability(dev, c, Missing)
	}
	for _, c := range machine.OptionalCaps() {
		r.capability(dev, c, Absent)
	}
	if n, err := dev.Check(kvm.CapMaxVCPUs); err == nil {
		r.add("vCPUs", OK, fmt.Sprintf("up to %d", min(n, machine.MaxCPUs)), "")
	}
	r.Items = append(r.Items, virtualization(path))
}

// sandbox tells what the monitor can be kept from.
func (r *Report) sandbox() {
	for _, l := range sandbox.Layers() {
		s := OK
		if !l.Have {
			s = Absent
		}
		r.add("sandbox: "+l.Name, s, l.Detail, l.Remedy)
	}
}

func (r *Report) capability(dev *kvm.Device, c kvm.Cap, without Status) {
	n, err := dev.Check(c)
	switch {
	case err != nil:
		r.add(c.String(), NotKnown, err.Error(), "")
	case n != 0:
		r.add(c.String(), OK, "yes", "")
	case without == Missing:
		r.add(c.String(), Missing, "no", "a host kernel that has it; every kernel since Linux 4.12 does")
	default:
		r.add(c.String(), without, "no, govmm does without", "")
	}
}

// openFault says why the device cannot be used, and what to do.
func openFault(path string, err error) (detail, remedy string) {
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return "not there", loadModule
	case errors.Is(err, unix.ENODEV), errors.Is(err, unix.ENXIO):
		return "there, but no driver behind it", loadModule
	case errors.Is(err, unix.EPERM):
		return permissions(path) + ", forbidden to this container", "start the container with --device " + path
	case errors.Is(err, fs.ErrPermission):
		return permissions(path), letIn(path)
	case errors.Is(err, unix.ENOTTY):
		return "not a KVM device", "give the path of a KVM device"
	}
	return err.Error(), ""
}

const loadModule = "load the module, as root: modprobe kvm_intel or modprobe kvm_amd; if that fails, enable VT-x or AMD-V in the firmware, or nesting on this VM's host"

// letIn says how root lets the user open the device: by the group that has it, if one has.
func letIn(path string) string {
	info, err := os.Stat(path)
	if err == nil {
		st, ok := info.Sys().(*syscall.Stat_t)
		if ok && st.Gid != 0 && info.Mode()&0o060 == 0o060 {
			return fmt.Sprintf("join the device's group, as root: usermod -aG %s %s, then log in again", groupName(st.Gid), userName())
		}
	}
	return "open the device to a group of yours, as root: chgrp kvm " + path + " && chmod 660 " + path
}

func groupName(gid uint32) string {
	g, err := user.LookupGroupId(strconv.Itoa(int(gid)))
	if err != nil {
		return strconv.Itoa(int(gid))
	}
	return g.Name
}

// permissions is the device's mode and owner as ls would show them.
func permissions(path string) string {
	info, err := os.Stat(path)
	if err != nil {
		return err.Error()
	}
	st, ok := info.Sys().(*syscall.Stat_t)
	if !ok {
		return info.Mode().String()
	}
	mode := strings.TrimPrefix(info.Mode().String(), "D") // Go marks devices twice, ls once
	return fmt.Sprintf("%s uid %d gid %d", mode, st.Uid, st.Gid)
}

func userName() string {
	if n := os.Getenv("USER"); n != "" {
		return n
	}
	return "$(id -un)"
}

// hugePages reports transparent huge pages and the pool, which lessen the cost of
// nested page tables.
func hugePages() Item {
	const name = "huge pages"
	thp, err := os.ReadFile("/sys/kernel/mm/transparent_hugepage/enabled")
	if err != nil {
		return Item{name, Absent, "this kernel has no transparent huge pages", ""}
	}
	mode := "unknown"
	if _, rest, ok := strings.Cut(string(thp), "["); ok {
		mode, _, _ = strings.Cut(rest, "]")
	}
	free, _ := os.ReadFile("/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages")
	detail := fmt.Sprintf("transparent: %s; free in the pool: %s", mode, orZero(free))
	if mode != "always" {
		return Item{name, Absent, detail, "guests run faster with them; as root: echo always > /sys/kernel/mm/transparent_hugepage/enabled"}
	}
	return Item{name, OK, detail, ""}
}

func orZero(b []byte) string {
	if s := strings.TrimSpace(string(b)); s != "" {
		return s
	}
	return "0"
}

// tun reports the device behind tap networks.
func tun() Item {
	const name, path = "tun", "/dev/net/tun"
	if _, err := os.Stat(path); err != nil {
		return Item{name, Absent, path + " is not there", "for tap networks, as root: modprobe tun"}
	}
	if err := unix.Access(path, unix.R_OK|unix.W_OK); err != nil {
		return Item{name, Absent, filepath.Clean(path) + " " + permissions(path), "for tap networks, as root: chmod 666 " + path}
	}
	return Item{name, OK, permissions(path), ""}
}
