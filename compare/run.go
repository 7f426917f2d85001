package compare

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"time"

	"govmm/compare/child"
)

// Limits of what a command may do.
const (
	defaultLimit = 2 * time.Minute // to the end of a job
	maxOutput    = 1 << 20         // of which more is counted and thrown away
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
	if said := child.LastLine(o.stderr); said != "" {
		return fmt.Errorf("%w: %s", o.err, said)
	}
	return o.err
}

// run runs a job in a place to its end. An error is one of ours, or of ctx; the command's is in the outcome.
func run(ctx context.Context, p place, j job) (_ *outcome, err error) {
	j.limit = cmp.Or(j.limit, defaultLimit)
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
	s := &started{place: p, limit: cmp.Or(j.limit, defaultLimit), cmd: cmd, done: done, stdout: newCapture(maxOutput), stderr: newErrors(), ended: make(chan struct{})}
	cmd.Stdout, cmd.Stderr = s.stdout, s.stderr
	s.begun = time.Now()
	if err := cmd.Start(); err != nil {
		return nil, errors.Join(err, done())
	}
	go func() {
		s.err = cmd.Wait()
		if errors.Is(s.err, exec.ErrWaitDelay) {
			s.err = nil // the command has ended as it should, and left others its output
		}
		s.total = time.Since(s.begun)
		close(s.ended)
	}()
	return s, nil
}

// finish waits for the end.
func (s *started) finish(ctx context.Context) (*outcome, error) {
	<-s.ended // which ctx's end brings about
	cut := context.Cause(ctx)
	if err := s.done(); err != nil {
		return nil, err
	}
	if cut != nil {
		return nil, cut
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
		if err := (&outcome{err: s.err, stderr: s.stderr.kept()}).failure(); err != nil {
			return nil, fmt.Errorf("it has ended without output: %w", err)
		}
		return nil, errors.New("it has ended without output")
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	case <-time.After(s.limit):
		return nil, fmt.Errorf("no output after %v", s.limit)
	}
}

// A capture keeps the beginning of what is written to it, and maybe as much of the end.
type capture struct {
	some chan struct{} // closed with the first byte
	ends bool          // keep the end

	mu    sync.Mutex
	head  child.Head
	tail  []byte // of what is not in head
	total int64
	first time.Time
}

func newCapture(limit int) *capture {
	return &capture{some: make(chan struct{}), head: child.Head{Limit: limit}}
}

// newErrors gives a capture for standard error: what has happened stands at its end.
func newErrors() *capture {
	c := newCapture(maxErrors)
	c.ends = true
	return c
}

// Write implements io.Writer.
func (c *capture) Write(p []byte) (int, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.total == 0 && len(p) > 0 {
		c.first = time.Now()
		close(c.some)
	}
	c.total += int64(len(p))
	kept := len(c.head.Bytes())
	n, err := c.head.Write(p)
	if c.ends {
		c.tail = append(c.tail, p[len(c.head.Bytes())-kept:]...)
		c.tail = c.tail[max(0, len(c.tail)-c.head.Limit):]
	}
	return n, err
}

func (c *capture) kept() []byte {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Concat(c.head.Bytes(), c.tail)
}
