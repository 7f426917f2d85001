package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"
)

// A Container is a bundle, and what the runtime has made of it.
type Container struct {
	runtime *Runtime
	id      string
	dir     string // of the bundle and the runtime's state
	cgroup  string // below the mount of control groups
}

var containers atomic.Int64

// New makes a bundle in a new directory below dir. Nothing runs yet.
func (r *Runtime) New(dir string, c Config) (*Container, error) {
	id := fmt.Sprintf("govmm-compare-%d-%d", os.Getpid(), containers.Add(1))
	made := &Container{runtime: r, id: id, dir: filepath.Join(dir, id), cgroup: "/" + id}
	if err := os.MkdirAll(made.bundle(), 0o700); err != nil {
		return nil, err
	}
	if err := writeConfig(made.bundle(), c, made.cgroup); err != nil {
		return nil, errors.Join(err, os.RemoveAll(made.dir))
	}
	return made, nil
}

func (c *Container) bundle() string { return filepath.Join(c.dir, "bundle") }
func (c *Container) state() string  { return filepath.Join(c.dir, "state") }

// ID is the container's name.
func (c *Container) ID() string { return c.id }

// Command gives the command that runs the container and ends with it. The end of ctx, and that of this process, kills the runtime, which may leave
// the container: Delete ends that too.
func (c *Container) Command(ctx context.Context) *exec.Cmd {
	words := c.runtime.words(c)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	bind(cmd)
	return cmd
}

func (r *Runtime) words(c *Container) []string {
	if r.path == "" {
		var words []string
		replace := strings.NewReplacer("{bundle}", c.bundle(), "{id}", c.id)
		for _, w := range r.template {
			words = append(words, replace.Replace(w))
		}
		return words
	}
	words := []string{r.path, "--root", c.state(), "run"}
	if rootIsInitramfs() {
		words = append(words, "--no-pivot") // pivot_root(2) refuses there
	}
	return append(words, "--bundle", c.bundle(), c.id)
}

// waitDelay is how long output may be held open behind the end of a command.
const waitDelay = 2 * time.Second

// bind has a command end with this process, and in a process group of its own so that a terminal's signals do not reach it.
func bind(cmd *exec.Cmd) {
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
	cmd.WaitDelay = waitDelay
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) }
}

// deleteLimit is how long the runtime may take to delete a container.
const deleteLimit = 10 * time.Second

// Delete ends what runs in the container and removes all that was made for it, whatever state it is in. It may be called again.
func (c *Container) Delete(ctx context.Context) error {
	if _, err := os.Stat(c.dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	kill := c.killAll(ctx)
	if c.runtime.path != "" && c.known() {
		// What it cannot do is done below.
		_, _ = bounded(ctx, deleteLimit, c.runtime.path, "--root", c.state(), "delete", "--force", c.id)
	}
	return errors.Join(kill, c.killAll(ctx), c.removeCgroups(ctx), unmountBelow(c.dir), os.RemoveAll(c.dir))
}

// known says whether the runtime has heard of the container.
func (c *Container) known() bool {
	_, err := os.Stat(filepath.Join(c.state(), c.id))
	return err == nil
}

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
	return pids, nil
}

// killAll kills the container's processes until there are none.
func (c *Container) killAll(ctx context.Context) error {
	for {
		pids, err := c.PIDs()
		if err != nil || len(pids) == 0 {
			return err
		}
		for _, pid := range pids {
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
				return err
			}
		}
		if err := wait(ctx); err != nil {
			return fmt.Errorf("processes of container %s are not to be killed: %w", c.id, err)
		}
	}
}

// wait lets a moment pass.
func wait(ctx context.Context) error {
	const moment = 5 * time.Millisecond
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-time.After(moment):
		return nil
	}
}
