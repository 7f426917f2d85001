// Package child is for the processes that a comparison starts, and for what they say, which is not believed.
package child

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"time"
)

// waitDelay is from the end of a command to that of its output, which others may hold open.
const waitDelay = 2 * time.Second

// Bind has a command, which is made by exec.CommandContext and not started, end with this process and with its context, whole with its process group. The group is its
// own, so that a terminal's signals do not reach it.
func Bind(cmd *exec.Cmd) {
	if cmd.SysProcAttr == nil {
		cmd.SysProcAttr = new(syscall.SysProcAttr)
	}
	cmd.SysProcAttr.Setpgid = true
	cmd.SysProcAttr.Pdeathsig = syscall.SIGKILL
	cmd.WaitDelay = waitDelay
	cmd.Cancel = func() error {
		err := syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL)
		if err == syscall.ESRCH {
			return os.ErrProcessDone
		}
		return err
	}
}

// A Head keeps the first Limit bytes that are written to it. It is for one goroutine at a time.
type Head struct {
	Limit int
	kept  []byte
}

// Write implements io.Writer. It takes everything.
func (h *Head) Write(p []byte) (int, error) {
	h.kept = append(h.kept, p[:min(len(p), h.Limit-len(h.kept))]...)
	return len(p), nil
}

// Bytes gives what is kept, which is valid until the next Write.
func (h *Head) Bytes() []byte { return h.kept }

// MaxSaid is how much Output keeps, in bytes.
const MaxSaid = 64 << 10

// Output runs a program for a limited time, and gives what it has said, as far as it is kept.
func Output(ctx context.Context, limit time.Duration, path string, args ...string) ([]byte, error) {
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("no end after %v", limit))
	defer cancel()
	cmd := exec.CommandContext(ctx, path, args...)
	Bind(cmd)
	out, errs := &Head{Limit: MaxSaid}, &Head{Limit: MaxSaid}
	cmd.Stdout, cmd.Stderr = out, errs
	err := cmd.Run()
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, LastLine(errs.Bytes()))
	}
	return out.Bytes(), nil
}

// maxLine is the most of a line that is told, in bytes.
const maxLine = 300

// LastLine gives the last line of a text that has something in it, short and with nothing that a terminal would obey.
func LastLine(text []byte) string {
	text = bytes.TrimSpace(text)
	return Printable(text[bytes.LastIndexByte(text, '\n')+1:])
}

// Printable makes such a line of text.
func Printable(line []byte) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r >= 0x7f && r < 0xa0 {
			return -1
		}
		return r
	}, strings.ToValidUTF8(string(line[:min(len(line), maxLine)]), ""))
}
