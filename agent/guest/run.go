package guest

import (
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"

	"govmm/agent"
)

// Exit statuses for a command that does not run, as shells have them.
const (
	statusCannot   = 126
	statusNotFound = 127
)

// run runs the command and tells its end.
func run(c *console, spec *agent.Spec) error {
	cmd, err := command(spec)
	if err != nil {
		return c.fail(statusOf(err), err)
	}
	var output sync.WaitGroup
	streams, err := connect(c, cmd, spec, &output)
	if err != nil {
		return c.fail(statusCannot, err)
	}
	if err := cmd.Start(); err != nil {
		return c.fail(statusOf(err), err)
	}
	streams.started()
	go streams.feed(c)
	go streams.hear(c, cmd.Process)
	state := reap(cmd.Process.Pid)
	// What the command has written is there, but a child that it has left may hold its output open for ever.
	streams.finish(c, &output)
	return c.send(agent.Exit, []byte{exitStatus(state)})
}

// command makes the command of a specification.
func command(spec *agent.Spec) (*exec.Cmd, error) {
	user, err := userFiles{"/etc/passwd", "/etc/group"}.look(spec.User)
	if err != nil {
		return nil, err
	}
	env := environment(spec.Env, user.home)
	for _, e := range env {
		if path, ok := strings.CutPrefix(e, "PATH="); ok {
			os.Setenv("PATH", path)
		}
	}
	dir := spec.Dir
	if dir == "" {
		dir = "/"
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if err := os.Chdir(dir); err != nil { // for a command with a relative path
		return nil, err
	}
	path, err := exec.LookPath(spec.Args[0])
	if err != nil && !errors.Is(err, exec.ErrDot) {
		return nil, err
	}
	cmd := &exec.Cmd{Path: path, Args: spec.Args, Env: env, Dir: dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true}
	if user.uid != 0 || user.gid != 0 {
		cmd.SysProcAttr.Credential = &syscall.Credential{Uid: user.uid, Gid: user.gid, Groups: user.groups}
	}
	return cmd, nil
}

// defaultPath is where commands are looked for if the specification does not say it.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"

func environment(given []string, home string) []string {
	env := []string{"PATH=" + defaultPath, "HOME=" + home}
	return append(env, given...) // the last of a name counts
}

func statusOf(err error) byte {
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, os.ErrNotExist) {
		return statusNotFound
	}
	return statusCannot
}

// reap waits for all processes that end, as process 1 has to, until the one with this number does.
func reap(pid int) syscall.WaitStatus {
	for {
		var status syscall.WaitStatus
		got, err := syscall.Wait4(-1, &status, 0, nil)
		if err == nil && got == pid {
			return status
		}
		if err != nil && !errors.Is(err, syscall.EINTR) {
			return status
		}
	}
}

func exitStatus(s syscall.WaitStatus) byte {
	if s.Signaled() {
		return 128 + byte(s.Signal())
	}
	return byte(s.ExitStatus())
}
