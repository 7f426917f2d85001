package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
)

// PIDs gives the processes in the container, by their numbers here; those of the runtime are not among them. An ordinary user's container has no control group,
// so there are none.
func (c *Container) PIDs() ([]int, error) {
	var pids []int
	for _, dir := range c.cgroupDirs() {
		text, err := os.ReadFile(filepath.Join(dir, "cgroup.procs"))
		if err != nil {
			if errors.Is(err, os.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
				continue
			}
			return nil, err
		}
		for word := range strings.FieldsSeq(string(text)) {
			pid, err := strconv.Atoi(word)
			if err != nil {
				return nil, err
			}
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids) // a process is in each hierarchy
	return slices.Compact(pids), nil
}

// starting gives the processes whose working directory is the bundle. Those are the runtime, which is started there, and what it has started
// but not yet put into a control group.
func (c *Container) starting() ([]int, error) {
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		return nil, err
	}
	var pids []int
	for _, link := range links {
		at, err := os.Readlink(link)
		if err != nil || at != c.dir && !strings.HasPrefix(at, c.dir+"/") {
			continue // another's, or gone
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(link))); err == nil && pid != os.Getpid() {
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// killAll kills the runtime and the container's processes until there are none.
func (c *Container) killAll(ctx context.Context) error {
	for {
		c.killCgroups()
		inside, err := c.PIDs()
		if err != nil {
			return err
		}
		outside, err := c.starting()
		if err != nil {
			return err
		}
		pids := append(inside, outside...)
		if len(pids) == 0 {
			return nil
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
				return fmt.Errorf("killing process %d of container %s: %w", pid, c.id, err)
			}
		}
		if err := wait(ctx); err != nil {
			return fmt.Errorf("processes of container %s are not to be killed: %w", c.id, err)
		}
	}
}

// killCgroups kills all processes at once, where the kernel can (Linux 5.14): those that make others faster than they are counted end too.
func (c *Container) killCgroups() {
	for _, dir := range c.cgroupDirs() {
		_ = writeExisting(filepath.Join(dir, "cgroup.kill"), "1")
	}
}

func writeExisting(name, text string) error {
	f, err := os.OpenFile(name, os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = f.WriteString(text)
	return errors.Join(err, f.Close())
}
