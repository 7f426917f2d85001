package compare

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"time"
)

// Limits of what a command may do.
const (
	defaultLimit = 2 * time.Minute  // to the end of a job
	deleteLimit  = 20 * time.Second // removing a container
	waitDelay    = 2 * time.Second  // from the end of a command to that of its output, which others may hold open
	maxOutput    = 1 << 20          // of which more is counted and thrown away
	maxErrors    = 16 << 10
)

// An outcome is what became of a command.
type outcome struct {
	stdout, stderr []byte        // as far as they are kept
	bytes          int64         // on standard output
	first          time.Duration // from the start to the first byte of output; negative if there was none
	total          time.Duration
	err            error // of the command's end
}

// status is the exit status; -1 for a command that a signal ended.
func (o *outcome) status() int {
	if exit, ok := errors.AsType[*exec.ExitError](o.err); ok {
		return exit.ExitCode()
	}
	return 0
}

// failure is an error of one line if the command has failed, with the last line that it has said.
func (o *outcome) failure() error {
	if o.err == nil {
		return nil
	}
	if said := lastLine(o.stderr); said != "" {
		return fmt.Errorf("%w: %s", o.err, said)
	}
	return o.err
}

// run runs a job in a place to its end. An error is one of ours, or of ctx; the command's is in the outcome.
func run(ctx context.Context, p place, j job) (_ *outcome, err error) {
	if j.limit == 0 {
		j.limit = defaultLimit
	}
	ctx, cancel := context.WithTimeoutCause(ctx, j.limit, fmt.Errorf("%s: no end after %v", strings.Join(j.args, " "), j.limit))
	defer cancel()
	s, err := start(ctx, p, j)
	if err != nil {
		return nil, err
	}
	return s.finish(ctx)
}

// A started is a command that runs.
type started struct {
	place  place
	limit  time.Duration
	cmd    *exec.Cmd
	done   func() error
	begun  time.Time
	stdout *capture
	stderr *capture

	ended chan struct{}
	total time.Duration // when it has ended
	err   error
}

// start starts a job. The caller calls finish or stop.
func start(ctx context.Context, p place, j job) (*started, error) {
	cmd, done, err := p.prepare(ctx, j)
	if err != nil {
		return nil, err
	}
	if j.limit == 0 {
		j.limit = defaultLimit
	}
	s := &started{place: p, limit: j.limit, cmd: cmd, done: done, stdout: newCapture(maxOutput), stderr: newCapture(maxErrors), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = s.stdout, s.stderr
	s.begun = time.Now()
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, done())
	}
	go func() {
		s.err = cmd.Wait()
		s.total = time.Since(s.begun)
		close(s.ended)
	}()
	return s, nil
}

// finish waits for the end.
func (s *started) finish(ctx context.Context) (*outcome, error) {
	<-s.ended // which ctx's end brings about
	if err := s.done(); err != nil {
		return nil, err
	}
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	o := &outcome{total: s.total, err: s.err, first: -1, bytes: s.stdout.total, stdout: s.stdout.kept(), stderr: s.stderr.kept()}
	if o.bytes > 0 {
		o.first = s.stdout.first.Sub(s.begun)
	}
	return o, nil
}

// stop ends the command, unless it has ended.
func (s *started) stop() error {
	select {
	case <-s.ended:
	default:
		_ = s.cmd.Cancel()
		<-s.ended
	}
	return s.done()
}

// await waits for the first output, and gives what there is of it.
func (s *started) await(ctx context.Context) ([]byte, error) {
	select {
	case <-s.stdout.some:
		return s.stdout.kept(), nil
	case <-s.ended:
		return nil, fmt.Errorf("it has ended without output: %w", (&outcome{err: s.err, stderr: s.stderr.kept()}).failure())
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(s.limit):
		return nil, fmt.Errorf("no output after %v", s.limit)
	}
}

// A capture keeps the beginning of what is written to it.
type capture struct {
	limit int
	some  chan struct{} // closed with the first byte

	mu    sync.Mutex
	buf   bytes.Buffer
	total int64
	first time.Time
}

func newCapture(limit int) *capture { return &capture{limit: limit, some: make(chan struct{})} }

// Write implements io.Writer.
func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.total == 0 && len(p) > 0 {
		c.first = time.Now()
		close(c.some)
	}
	c.total += int64(len(p))
	c.buf.Write(p[:min(len(p), c.limit-c.buf.Len())])
	return len(p), nil
}

func (c *capture) kept() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return bytes.Clone(c.buf.Bytes())
}

// lastLine gives the last line of a text that has something in it, fit for an error.
func lastLine(text []byte) string {
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	last := strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, lines[len(lines)-1])
	return last[:min(len(last), 300)]
}
