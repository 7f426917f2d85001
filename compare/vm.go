package compare

import (
	"context"
	"os"
	"os/exec"
	"strconv"

	"govmm/compare/child"
	"govmm/compare/report"
)

// vm runs commands by govmm run.
type vm struct {
	program string // govmm
	kernel  string
	version string
	memory  string
	missing error // why there can be none
}

func (v *vm) subject() report.Subject {
	return report.Subject{ID: "vm", Title: "virtual machine", Kind: report.KindVM, Version: v.version}
}

func (v *vm) prepare(ctx context.Context, j job) (*exec.Cmd, func() error, error) {
	if v.missing != nil {
		return nil, nil, v.missing
	}
	cmd := exec.CommandContext(ctx, v.program, v.args(j)...)
	cmd.Env = os.Environ()
	if j.coldFrom != "" {
		cmd.Env = append(cmd.Env, "XDG_CACHE_HOME="+j.coldFrom)
	}
	child.Bind(cmd)
	return cmd, nothing, nil
}

func (v *vm) args(j job) []string {
	args := []string{"run", "--terminal=no", "--kernel", v.kernel, "--rootfs", j.root, "--memory", v.memory}
	if j.memory != "" {
		args[len(args)-1] = j.memory
	}
	if j.cpus > 0 {
		args = append(args, "--cpus", strconv.Itoa(j.cpus))
	}
	if j.disk != "" {
		args = append(args, "--disk", j.disk)
	}
	switch {
	case j.forward != "":
		args = append(args, "--net", "user,hostfwd=tcp:127.0.0.1:"+j.forward)
	case j.network:
		args = append(args, "--net", "user")
	}
	for _, e := range j.env {
		args = append(args, "--env", e)
	}
	return append(append(args, "--"), j.args...)
}

func (v *vm) pids(cmd *exec.Cmd) ([]int, error) { return family(cmd.Process.Pid) }

// hostAddress is that of --net user.
func (v *vm) hostAddress() string { return "10.0.2.2" }

func nothing() error { return nil }
