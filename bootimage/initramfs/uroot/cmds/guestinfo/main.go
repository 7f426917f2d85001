// Command guestinfo prints what the guest sees of its machine, one name=value on a line, for programs that watch the
// console:
//
//	kernel      release, as uname -r prints it
//	machine     architecture, as uname -m prints it
//	cpus        processors that are online
//	memory      bytes that the kernel manages
//	clocksource in use
//	cmdline     the kernel's command line
//	block.NAME  bytes of a disk, and block.NAME.readonly=1 where it cannot be written
//	net.NAME    hardware address of a network interface
//
// What the kernel does not tell is left out.
package main

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// sectorSize is the unit of a disk's size in sysfs, whatever its real sectors are.
const sectorSize = 512

func main() {
	out := bufio.NewWriter(os.Stdout)
	var u unix.Utsname
	if err := unix.Uname(&u); err == nil {
		fmt.Fprintf(out, "kernel=%s\n", unix.ByteSliceToString(u.Release[:]))
		fmt.Fprintf(out, "machine=%s\n", unix.ByteSliceToString(u.Machine[:]))
	}
	report(out, os.DirFS("/"))
	if err := out.Flush(); err != nil {
		fmt.Fprintln(os.Stderr, "guestinfo:", err)
		os.Exit(1)
	}
}

// report prints what proc and sys below root tell.
func report(w io.Writer, root fs.FS) {
	if n, ok := cpus(text(root, "sys/devices/system/cpu/online")); ok {
		fmt.Fprintf(w, "cpus=%d\n", n)
	}
	if n, ok := memory(text(root, "proc/meminfo")); ok {
		fmt.Fprintf(w, "memory=%d\n", n)
	}
	if s := text(root, "sys/devices/system/clocksource/clocksource0/current_clocksource"); s != "" {
		fmt.Fprintf(w, "clocksource=%s\n", s)
	}
	if s := text(root, "proc/cmdline"); s != "" {
		fmt.Fprintf(w, "cmdline=%s\n", s)
	}
	reportDisks(w, root)
	reportNetwork(w, root)
}

func reportDisks(w io.Writer, root fs.FS) {
	for _, name := range names(root, "sys/block") {
		dir := path.Join("sys/block", name)
		sectors, err := strconv.ParseUint(text(root, path.Join(dir, "size")), 10, 54)
		if err != nil {
			continue
		}
		fmt.Fprintf(w, "block.%s=%d\n", name, sectors*sectorSize)
		if text(root, path.Join(dir, "ro")) == "1" {
			fmt.Fprintf(w, "block.%s.readonly=1\n", name)
		}
	}
}

func reportNetwork(w io.Writer, root fs.FS) {
	for _, name := range names(root, "sys/class/net") {
		if address := text(root, path.Join("sys/class/net", name, "address")); address != "" {
			fmt.Fprintf(w, "net.%s=%s\n", name, address)
		}
	}
}

// cpus counts the members of a list such as "0-3,6".
func cpus(list string) (n int, ok bool) {
	for span := range strings.SplitSeq(list, ",") {
		first, last, isRange := strings.Cut(span, "-")
		if !isRange {
			last = first
		}
		from, err1 := strconv.ParseUint(first, 10, 16)
		to, err2 := strconv.ParseUint(last, 10, 16)
		if err1 != nil || err2 != nil || to < from {
			return 0, false
		}
		n += int(to-from) + 1
	}
	return n, true
}

func memory(meminfo string) (bytes uint64, ok bool) {
	for line := range strings.Lines(meminfo) {
		f := strings.Fields(line)
		if len(f) == 3 && f[0] == "MemTotal:" && f[2] == "kB" {
			kib, err := strconv.ParseUint(f[1], 10, 54)
			return kib << 10, err == nil
		}
	}
	return 0, false
}

func names(root fs.FS, dir string) []string {
	entries, err := fs.ReadDir(root, dir)
	if err != nil {
		return nil
	}
	var s []string
	for _, e := range entries {
		s = append(s, e.Name())
	}
	return s
}

func text(root fs.FS, name string) string {
	data, err := fs.ReadFile(root, name)
	if err != nil {
		return ""
	}
	return strings.TrimSpace(string(data))
}
