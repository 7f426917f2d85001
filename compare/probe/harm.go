package probe

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"time"

	"github.com/klauspost/cpuid/v2"
	"golang.org/x/sys/unix"
)

// HarmVariable must be "1" in the environment of commands that do harm: panic, bomb, exhaust and fill. They must also be told by -not-on the boot identifier of the host, on
// whose kernel they refuse to run, so that they run in a virtual machine and neither on the host nor in a container.
const HarmVariable = "GOVMM_PROBE_HARM"

// A place is what the guard decides by.
type place struct {
	variable   string // HarmVariable's value
	bootID     string
	hypervisor bool
}

func here() place {
	return place{os.Getenv(HarmVariable), bootID(), cpuid.CPU.Supports(cpuid.HYPERVISOR)}
}

// allow says why harm may not be done, where notOn is the host's boot identifier.
func (p place) allow(notOn string) error {
	switch {
	case p.variable != "1":
		return errors.New("does harm, and " + HarmVariable + " is not 1")
	case !isBootID(notOn):
		return errors.New("-not-on must be the host's boot identifier")
	case !isBootID(p.bootID):
		return errors.New("this kernel has no boot identifier to know it by")
	case p.bootID == notOn:
		return errors.New("does harm, and this is the host's kernel")
	case !p.hypervisor:
		return errors.New("does harm, and this is not a virtual machine")
	}
	return nil
}

// isBootID recognizes a UUID as the kernel writes it, so that a letter in upper case or a space makes no difference between equal ones.
func isBootID(s string) bool {
	if len(s) != 36 {
		return false
	}
	for i, c := range s {
		isDash := i == 8 || i == 13 || i == 18 || i == 23
		isDigit := c >= '0' && c <= '9' || c >= 'a' && c <= 'f'
		if isDash != (c == '-') || !isDash && !isDigit {
			return false
		}
	}
	return true
}

// parseHarm reads the flags of a command that does harm, and asks the guard.
func parseHarm(args []string, define func(*flag.FlagSet)) error {
	var notOn string
	err := parse(args, func(f *flag.FlagSet) {
		f.StringVar(&notOn, "not-on", "", "boot identifier of the host")
		define(f)
	})
	if err != nil {
		return err
	}
	return here().allow(notOn)
}

func noFlags(*flag.FlagSet) {}

// crash makes the kernel panic: by asking for it, or, where it was built without that, by running out of memory when that is set to be fatal.
func crash(args []string, out io.Writer) error {
	if err := parseHarm(args, noFlags); err != nil {
		return err
	}
	err := os.WriteFile(sysrq, []byte("c"), 0)
	fmt.Fprintln(os.Stderr, "compareprobe: no panic by", sysrq+":", err)
	const always = "2"
	if err := os.WriteFile(panicOnOOM, []byte(always), 0); err != nil {
		return err
	}
	return touch(math.MaxUint64, io.Discard)
}

// Files by which a kernel can be crashed.
const (
	sysrq      = "/proc/sysrq-trigger"
	panicOnOOM = "/proc/sys/vm/panic_on_oom"
)

// exhaust takes memory until the kernel has none.
func exhaust(args []string, out io.Writer) error {
	if err := parseHarm(args, noFlags); err != nil {
		return err
	}
	return touch(math.MaxUint64, out)
}

// fill writes a file until the file system is full.
func fill(args []string, out io.Writer) error {
	var dir string
	if err := parseHarm(args, func(f *flag.FlagSet) { f.StringVar(&dir, "dir", "/", "where") }); err != nil {
		return err
	}
	done, err := fillUp(filepath.Join(dir, "compareprobe.fill"), math.MaxInt64)
	if err != nil {
		return err
	}
	return say(out, done)
}

// fillUp writes a new file until that fails, or until it has most bytes. It removes it.
func fillUp(path string, most int64) (done Fill, err error) {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return done, err
	}
	defer os.Remove(path)
	defer f.Close()
	for piece := make([]byte, mib); int64(done.Bytes) < most; {
		n, err := f.Write(piece)
		done.Bytes += uint64(n)
		if err != nil {
			done.Error = short(err.Error())
			return done, nil
		}
	}
	return done, nil
}

// bomb starts processes that start processes, all of which stay, until there cannot be more. Where memory ends before processes do, the kernel ends some of them and lets
// others begin, so that only time ends it.
func bomb(args []string, out io.Writer) error {
	var most int
	var patience time.Duration
	err := parseHarm(args, func(f *flag.FlagSet) {
		f.IntVar(&most, "max", 100_000, "processes")
		f.DurationVar(&patience, "for", 10*time.Second, "time")
	})
	if err != nil {
		return err
	}
	if most < 1 || most > math.MaxInt32/2 {
		return errors.New("-max: from 1 to 2^30 - 1")
	}
	// Otherwise the kernel lists all processes on its console for each that it ends.
	_ = os.WriteFile("/proc/sys/vm/oom_dump_tasks", []byte("0"), 0)
	b, err := explode(int32(most), patience)
	if err != nil {
		return err
	}
	return say(out, b)
}

// explode runs a fork bomb of at most so many processes, which has so much time, and ends them all.
func explode(most int32, patience time.Duration) (b Bomb, err error) {
	// Whoever loses its parent becomes a child of this process, which can so see the end of all.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return b, err
	}
	page, err := unix.Mmap(-1, 0, os.Getpagesize(), unix.PROT_READ|unix.PROT_WRITE, unix.MAP_SHARED|unix.MAP_ANON)
	if err != nil {
		return b, err
	}
	defer unix.Munmap(page)
	c := chargeIn(page)
	c.most = most
	group, errno := c.light()
	if errno != 0 {
		return Bomb{Error: errno.Error()}, nil
	}
	// The kernel is to end others when memory is short. Where this process may not ask for that, it takes its chance.
	_ = os.WriteFile("/proc/self/oom_score_adj", []byte("-1000"), 0)
	complete := c.await(patience)
	b.Started = int(min(c.started.Load(), most))
	if e := c.errno.Load(); e != 0 {
		b.Error = unix.Errno(e).Error()
	} else if !complete {
		b.Error = fmt.Sprintf("not all within %v", patience)
	}
	return b, endAll(group)
}

// endAll kills the process group and waits until none of it is left. A process with the signal pending cannot fork, so that once is enough.
func endAll(group int) error {
	if err := unix.Kill(-group, unix.SIGKILL); err != nil {
		return err
	}
	for {
		_, err := unix.Wait4(-1, nil, 0, nil)
		if err == unix.ECHILD {
			return nil
		}
		if err != nil && err != unix.EINTR {
			return err
		}
	}
}
