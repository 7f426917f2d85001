package oci

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"govmm/compare/child"
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
	dir, err := place(dir)
	if err != nil {
		return nil, err
	}
	made, err := r.claim(dir)
	if err != nil {
		return nil, err
	}
	if err := os.Mkdir(made.bundle(), 0o700); err != nil {
		return nil, errors.Join(err, os.RemoveAll(made.dir))
	}
	if err := writeConfig(made.bundle(), c, made.cgroup); err != nil {
		return nil, errors.Join(err, os.RemoveAll(made.dir))
	}
	return made, nil
}

// place makes a directory if it is not there, and gives the name by which the kernel tells of it.
func place(dir string) (string, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return "", err
	}
	return filepath.EvalSymlinks(dir)
}

// claim finds an id that neither a directory nor a control group has, as one that had this process's number before may have left them.
func (r *Runtime) claim(dir string) (*Container, error) {
	for {
		id := fmt.Sprintf("govmm-compare-%d-%d", os.Getpid(), containers.Add(1))
		c := &Container{runtime: r, id: id, dir: filepath.Join(dir, id), cgroup: "/" + id}
		if c.hasCgroup() {
			continue
		}
		if err := os.Mkdir(c.dir, 0o700); !errors.Is(err, os.ErrExist) {
			return c, err
		}
	}
}

func (c *Container) bundle() string { return filepath.Join(c.dir, "bundle") }
func (c *Container) state() string  { return filepath.Join(c.dir, "state") }

// ID is the container's name.
func (c *Container) ID() string { return c.id }

// Command gives the command that runs the container and ends with it. It is to be started in the bundle's directory, by which Delete knows it. The end
// of ctx, and that of this process, kills the runtime, which may leave the container: Delete ends that too.
func (c *Container) Command(ctx context.Context) *exec.Cmd {
	words := c.runtime.words(c)
	cmd := exec.CommandContext(ctx, words[0], words[1:]...)
	cmd.Dir = c.bundle()
	child.Bind(cmd)
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
	if rootIsInitramfs() && slices.Contains(known, c.runtime.name) {
		words = append(words, "--no-pivot") // pivot_root(2) refuses there
	}
	return append(words, "--bundle", c.bundle(), c.id)
}

// deleteLimit is how long it may take to delete a container, and runtimeLimit how long its runtime's part in that.
const deleteLimit = 30 * time.Second

var runtimeLimit = 10 * time.Second // shorter in a test

// Delete ends what runs in the container, and the runtime if it still runs, and removes all that was made for it, whatever state it is in. It may be called again.
func (c *Container) Delete(ctx context.Context) error {
	if _, err := os.Stat(c.dir); errors.Is(err, os.ErrNotExist) {
		return nil
	}
	ctx, cancel := context.WithTimeoutCause(ctx, deleteLimit, fmt.Errorf("no end after %v", deleteLimit))
	defer cancel()
	kill := c.killAll(ctx)
	if kill == nil && c.runtime.path != "" && c.known() {
		// What it cannot do is done below.
		_, _ = child.Output(ctx, runtimeLimit, c.runtime.path, "--root", c.state(), "delete", "--force", c.id)
		kill = c.killAll(ctx)
	}
	if kill != nil {
		return kill // what is in use is not to be removed, and Delete may be called again
	}
	if err := errors.Join(c.removeCgroups(ctx), unmountBelow(c.dir)); err != nil {
		return oneLine(err)
	}
	return os.RemoveAll(c.dir)
}

// oneLine puts errors that were joined on one line.
func oneLine(err error) error {
	return errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
}

// known says whether the runtime has heard of the container.
func (c *Container) known() bool {
	_, err := os.Stat(filepath.Join(c.state(), c.id))
	return err == nil
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
