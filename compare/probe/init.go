package probe

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// consoleMarker begins the line of facts on a console that has the kernel's messages too.
const consoleMarker = "BEGIN-FACTS "

// isInit says whether this process is that of an initramfs which has nothing else (package image).
func isInit() bool { return os.Getpid() == 1 && len(os.Args) == 1 && os.Args[0] == "/init" }

// initMain prints the facts on the console and powers off. It does not return.
func initMain() {
	if err := tellConsole(); err != nil {
		fmt.Fprintln(os.Stderr, "compareprobe:", err)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	for { // a kernel panics when its process 1 ends
		time.Sleep(time.Hour)
	}
}

func tellConsole() error {
	for _, m := range []struct{ kind, target string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		_ = unix.Mount(m.kind, m.target, m.kind, 0, "") // without one there are fewer facts
	}
	// The kernel's messages would come between the bytes of the line. Level 1 leaves those of a panic.
	_ = os.WriteFile("/proc/sys/kernel/printk", []byte("1"), 0)
	console, err := os.OpenFile("/dev/console", os.O_WRONLY|unix.O_NOCTTY, 0)
	if err != nil {
		return err
	}
	defer console.Close()
	var line bytes.Buffer
	line.WriteString("\n" + consoleMarker)
	if err := say(&line, Look()); err != nil {
		return err
	}
	if _, err := console.Write(line.Bytes()); err != nil {
		return err
	}
	return drain(console)
}

// drain waits until a terminal has sent all, as tcdrain(3). What it has not sent is lost when the power goes.
func drain(f *os.File) error { return unix.IoctlSetInt(int(f.Fd()), unix.TCSBRK, 1) }

// maxConsole is how much of a console's output is searched, in bytes.
const maxConsole = 16 << 20

// FromConsole finds the facts in what a guest that was started from package image's initramfs has written to its console. It is bounded as Decode is.
func FromConsole(output []byte) (Facts, error) {
	err := errors.New("probe: no facts in the console's output")
	output = output[:min(len(output), maxConsole)]
	for {
		_, after, found := bytes.Cut(output, []byte(consoleMarker))
		if !found {
			return Facts{}, err
		}
		line, _, _ := bytes.Cut(after, []byte("\n"))
		var f Facts
		if f, err = Decode[Facts](line); err == nil {
			return f, nil
		}
		output = after[len(line):]
	}
}
