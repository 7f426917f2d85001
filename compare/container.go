package compare

import (
	"context"
	"errors"
	"os/exec"
	"sync"

	"govmm/compare/oci"
	"govmm/compare/report"
)

// container runs commands by an OCI runtime.
type container struct {
	runtime *oci.Runtime
	id      string // its name, and a number if others have that
	version string
	dir     string // for bundles

	mu   sync.Mutex
	open map[*exec.Cmd]*oci.Container
}

func newContainer(r *oci.Runtime, id, version, dir string) *container {
	return &container{runtime: r, id: id, version: version, dir: dir, open: make(map[*exec.Cmd]*oci.Container)}
}

func (c *container) subject() report.Subject {
	return report.Subject{ID: c.id, Title: c.id + " container", Kind: report.KindContainer, Version: c.version}
}

func (c *container) prepare(ctx context.Context, j job) (*exec.Cmd, func() error, error) {
	config := oci.Config{
		Root: j.root, ReadOnly: true, Args: j.args, Dir: "/",
		Env: append([]string{"PATH=" + searchPath, "HOME=/"}, j.env...),
		// A network of its own would have to be made by someone else: runtimes make none.
		HostNetwork: j.network || j.forward != "",
	}
	if j.scratch != "" {
		config.Mounts = append(config.Mounts, oci.Mount{Source: j.scratch, Target: containerDisk})
	}
	made, err := c.runtime.New(c.dir, config)
	if err != nil {
		return nil, nil, err
	}
	cmd := made.Command(ctx)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[cmd] = made
	return cmd, func() error { return c.delete(cmd) }, nil
}

// delete removes a container, also when the time of the run is up.
func (c *container) delete(cmd *exec.Cmd) error {
	c.mu.Lock()
	made := c.open[cmd]
	delete(c.open, cmd)
	c.mu.Unlock()
	return made.Delete(context.Background()) // which has limits of its own
}

func (c *container) pids(cmd *exec.Cmd) ([]int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	pids, err := c.open[cmd].PIDs()
	if err == nil && len(pids) == 0 {
		err = errors.New("the container has no control group, so its processes are not known; as root it has one")
	}
	return pids, err
}

func (c *container) hostAddress() string { return "127.0.0.1" }
