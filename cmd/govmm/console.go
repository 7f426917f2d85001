package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"strings"
	"sync"
	"sync/atomic"

	"golang.org/x/sys/unix"
	"golang.org/x/term"
)

// console joins the program's standard input and output with the guest's serial port.
type console struct {
	in       *os.File
	terminal bool
	end      context.CancelCauseFunc // ends the run
	log      *slog.Logger
	helping  atomic.Bool

	mu    sync.Mutex
	saved *term.State
	guard *guard // puts the terminal back if we cannot; may be nil
}

// openConsole looks at standard input; a terminal becomes raw with start.
func openConsole(end context.CancelCauseFunc, log *slog.Logger) *console {
	return &console{in: os.Stdin, terminal: term.IsTerminal(int(os.Stdin.Fd())), end: end, log: log}
}

// start puts the terminal into raw mode and feeds input to send until ctx ends.
func (c *console) start(ctx context.Context, send func(context.Context, []byte) (int, error)) error {
	if !c.terminal {
		go c.feed(ctx, send)
		return nil
	}
	if inBackground(c.in) {
		fmt.Fprintln(stderr, "govmm: the terminal is another job's, so the guest gets no input from it; start govmm in the foreground (timeout needs --foreground)")
		return nil
	}
	// To put the terminal back from the background, as after kill -STOP, must not stop this process for good.
	signal.Ignore(unix.SIGTTOU)
	var err error
	if c.guard, err = startGuard(c.in); err != nil {
		// Only a killed monitor would need it.
		c.log.Debug("the terminal has no guard", "err", err)
	}
	saved, err := term.MakeRaw(int(c.in.Fd()))
	if err != nil {
		return fmt.Errorf("terminal: %w", err)
	}
	c.saved = saved
	// Before the run has ended, which may have to wait for a slow disk.
	context.AfterFunc(ctx, c.restore)
	typed := newTypeahead()
	context.AfterFunc(ctx, typed.close)
	go c.read(typed)
	go typed.drain(ctx, send)
	return nil
}

// inBackground tells whether file is the controlling terminal and another job is in its foreground: to read it, or to set it, would stop this process.
func inBackground(file *os.File) bool {
	foreground, err := unix.IoctlGetInt(int(file.Fd()), unix.TIOCGPGRP)
	return err == nil && foreground != unix.Getpgrp()
}

// input is standard input for a command that is no terminal's: none in the background, as a shell without jobs would give it.
func (c *console) input() io.Reader {
	if inBackground(c.in) {
		return strings.NewReader("")
	}
	return c.in
}

// restore gives the terminal back as it was. It may be called at any time after start, and twice.
func (c *console) restore() {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.saved != nil {
		_ = term.Restore(int(c.in.Fd()), c.saved)
		c.saved = nil
	}
	c.guard.release()
	c.guard = nil
}

// feed passes input that is no terminal to the guest, unchanged and no faster than
// the guest takes it. Its end is not the guest's end.
func (c *console) feed(ctx context.Context, send func(context.Context, []byte) (int, error)) {
	buf := make([]byte, 4096)
	for {
		n, err := c.in.Read(buf)
		if n > 0 {
			if _, err := send(ctx, buf[:n]); err != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// read takes keys from the terminal. It never waits for the guest, so that Ctrl-A X
// works with a guest that has stopped listening.
func (c *console) read(typed *typeahead) {
	var esc escapes
	buf := make([]byte, 4096)
	var out []byte
	for {
		n, err := c.in.Read(buf)
		for rest := buf[:n]; len(rest) > 0; {
			var cmd escapeCommand
			out, cmd, rest = esc.filter(out[:0], rest)
			typed.add(out)
			switch cmd {
			case escapeQuit:
				c.end(errEscape)
				return
			case escapeHelp:
				go c.help()
			}
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				// The terminal is gone, and with it whoever could end the guest.
				c.end(fmt.Errorf("terminal: %w", err))
			}
			return
		}
	}
}

// help shows the escapes. It has to wait for whoever reads standard error, which keys must not.
func (c *console) help() {
	if c.helping.Swap(true) {
		return
	}
	defer c.helping.Store(false)
	fmt.Fprint(stderr, "\r\n", strings.ReplaceAll(escapeHelpText, "\n", "\r\n"))
}

// typeahead holds what was typed or pasted until the guest takes it. It grows with
// what its own user pastes; the guest has no say in it.
type typeahead struct {
	mu     sync.Mutex
	more   sync.Cond
	held   []byte
	closed bool
}

func newTypeahead() *typeahead {
	t := new(typeahead)
	t.more.L = &t.mu
	return t
}

func (t *typeahead) add(p []byte) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.held = append(t.held, p...)
	t.more.Signal()
}

func (t *typeahead) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
	t.more.Signal()
}

// take waits for input and empties the buffer; nil after close.
func (t *typeahead) take() []byte {
	t.mu.Lock()
	defer t.mu.Unlock()
	for len(t.held) == 0 && !t.closed {
		t.more.Wait()
	}
	if t.closed {
		return nil
	}
	p := t.held
	t.held = nil
	return p
}

func (t *typeahead) drain(ctx context.Context, send func(context.Context, []byte) (int, error)) {
	for p := t.take(); p != nil; p = t.take() {
		if _, err := send(ctx, p); err != nil {
			return
		}
	}
}
