package compare

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"

	"govmm/compare/child"
	"govmm/compare/report"
)

// host runs commands as ordinary processes, with the root file system as their root directory: the measure for the other places.
type host struct{}

func (host) subject() report.Subject {
	return report.Subject{ID: "host", Title: "host", Kind: report.KindHost}
}

func (host) prepare(ctx context.Context, j job) (*exec.Cmd, func() error, error) {
	if j.probe {
		cmd := exec.CommandContext(ctx, filepath.Join(j.root, j.args[0]), j.args[1:]...)
		cmd.Env = append(os.Environ(), j.env...)
		child.Bind(cmd)
		return cmd, func() error { return endGroup(cmd) }, nil
	}
	path, err := lookIn(j.root, j.args[0])
	if err != nil {
		return nil, nil, err
	}
	cmd := exec.CommandContext(ctx, path, j.args[1:]...)
	cmd.Args[0] = j.args[0]
	cmd.Env = append([]string{"PATH=" + searchPath, "HOME=/"}, j.env...)
	cmd.Dir = "/"
	cmd.SysProcAttr = &syscall.SysProcAttr{Chroot: j.root}
	if os.Geteuid() != 0 {
		enterUserNamespace(cmd.SysProcAttr)
	}
	if mayMount() {
		cmd.SysProcAttr.Unshareflags = syscall.CLONE_NEWNS // what the command mounts goes with it
	}
	child.Bind(cmd)
	return cmd, func() error { return endGroup(cmd) }, nil
}

// endGroup ends what a command that has ended has left in its process group. What has made itself a session of its own stays, as after any command.
func endGroup(cmd *exec.Cmd) error {
	if cmd.Process == nil {
		return nil
	}
	if err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL); err != nil && err != syscall.ESRCH {
		return fmt.Errorf("what %s has left: %w", cmd.Args[0], err)
	}
	return nil
}

// mayMount tells whether this process may mount file systems, or commands in a user namespace of their own may.
func mayMount() bool {
	if os.Geteuid() != 0 {
		return true
	}
	var have [2]unix.CapUserData
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	return unix.Capget(&header, &have[0]) == nil && have[0].Effective&(1<<unix.CAP_SYS_ADMIN) != 0
}

// enterUserNamespace gives a process the right to change its root directory, and no other that matters.
func enterUserNamespace(a *syscall.SysProcAttr) {
	a.Cloneflags |= syscall.CLONE_NEWUSER
	a.UidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Geteuid(), Size: 1}}
	a.GidMappings = []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getegid(), Size: 1}}
}

func (host) pids(cmd *exec.Cmd) ([]int, error) { return family(cmd.Process.Pid) }

func (host) hostAddress() string { return "127.0.0.1" }

// searchPath is where commands are looked for in each place.
const searchPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

// lookIn finds a command in a root file system; its path begins there.
func lookIn(root, name string) (string, error) {
	if filepath.Base(name) != name {
		return filepath.Join("/", name), nil
	}
	r, err := os.OpenRoot(root)
	if err != nil {
		return "", err
	}
	defer r.Close()
	for _, dir := range filepath.SplitList(searchPath) {
		path := filepath.Join(dir, name)
		// A symbolic link's target is looked for by whoever runs it.
		if info, err := r.Lstat(path[1:]); err == nil && !info.IsDir() && (info.Mode()&0o111 != 0) {
			return path, nil
		}
	}
	return "", &exec.Error{Name: name, Err: exec.ErrNotFound}
}
