package probe

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"
)

// HarmVariable must be 1 for what harms the machine that it runs on.
const HarmVariable = "GOVMM_PROBE_HARM"

// harm wraps what is done only on a machine that is there for it: not on the one whose boot id is given, and so in none of its containers.
func harm(do func([]string) error) func([]string) error {
	return func(args []string) error {
		rest, notOn, err := cutNotOn(args)
		if err != nil {
			return err
		}
		here := read(bootIDPath)
		switch {
		case os.Getenv(HarmVariable) != "1":
			return errors.New("refused: " + HarmVariable + " is not 1")
		case here == "" || here == notOn:
			return errors.New("refused: this is the machine that it must not be done to")
		case hypervisor() == "":
			return errors.New("refused: this is no virtual machine")
		}
		return do(rest)
	}
}

// cutNotOn takes "-not-on BOOTID" off the end of arguments.
func cutNotOn(args []string) (rest []string, bootID string, err error) {
	n := len(args) - 2
	if n < 0 || args[n] != "-not-on" || args[n+1] == "" {
		return nil, "", errors.New("refused: without -not-on BOOTID at the end")
	}
	return args[:n], args[n+1], nil
}

// panicKernel has the kernel panic (admin-guide/sysrq.rst).
func panicKernel([]string) error {
	fmt.Fprintln(os.Stderr, Name+": now the kernel is to panic")
	if err := os.WriteFile("/proc/sysrq-trigger", []byte("c"), 0); err != nil {
		return err
	}
	time.Sleep(time.Minute)
	return errors.New("the kernel goes on")
}

// Bomb is how many processes there were, and why there were no more.
type Bomb struct {
	Started int
	Error   string
}

// bomb starts processes that stay, until there are -max or no more can be.
func bomb(args []string) error {
	f := flags("bomb")
	limit := f.Int("max", 1000, "processes")
	if err := f.Parse(args); err != nil {
		return err
	}
	var b Bomb
	var all []*exec.Cmd
	for ; b.Started < *limit; b.Started++ {
		c := exec.Command("/proc/self/exe", "child")
		c.Args[0] = Name
		if err := c.Start(); err != nil {
			b.Error = err.Error()
			break
		}
		all = append(all, c)
	}
	for _, c := range all {
		_ = c.Process.Kill() // may have been killed for its memory
	}
	return say(b)
}

// child sleeps.
func child([]string) error {
	for {
		if err := syscall.Pause(); err != syscall.EINTR {
			return err
		}
	}
}

// exhaust takes memory until it is killed.
func exhaust([]string) error {
	for {
		if err := touch(1 << 20); err != nil {
			return err
		}
	}
}

// Fill is how many bytes a file system took, and why no more.
type Fill struct {
	Bytes int64
	Error string
}

// fill writes a file until there is no room, and removes it.
func fill(args []string) error {
	f := flags("fill")
	dir := f.String("dir", "/", "directory")
	if err := f.Parse(args); err != nil {
		return err
	}
	path := filepath.Join(*dir, "fill-"+strconv.Itoa(os.Getpid()))
	file, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer os.Remove(path)
	defer file.Close()
	var r Fill
	for p := make([]byte, piece); ; {
		n, err := file.Write(p)
		r.Bytes += int64(n)
		if err != nil {
			r.Error = err.Error()
			return say(r)
		}
	}
}
