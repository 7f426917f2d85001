package compare

import (
	"context"
	"os/exec"
	"sync"

	"govmm/compare/oci"
	"govmm/compare/report"
)

// container runs commands by an OCI runtime.
type container struct {
	runtime *oci.Runtime
	version string
	dir     string // for bundles

	mu   sync.Mutex
	open map[*exec.Cmd]*oci.Container
}

func newContainer(r *oci.Runtime, version, dir string) *container {
	return &container{runtime: r, version: version, dir: dir, open: make(map[*exec.Cmd]*oci.Container)}
}

func (c *container) subject() report.Subject {
	return report.Subject{ID: c.runtime.Name(), Title: c.runtime.Name() + " container", Kind: report.KindContainer, Version: c.version}
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
	return c.open[cmd].PIDs()
}

func (c *container) hostAddress() string { return "127.0.0.1" }
