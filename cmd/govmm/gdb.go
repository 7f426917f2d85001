package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"govmm/gdbstub"
	"govmm/machine"
	"govmm/machine/debug"
)

// gdbFlags are the flags for a debugger.
type gdbFlags struct {
	where gdbAddress
	wait  bool
	kaslr bool
}

func addGDBFlags(c *cobra.Command, f *gdbFlags) {
	flags := c.Flags()
	flags.Var(&f.where, "gdb", "let gdb debug the guest at `ADDRESS`: unix:PATH, or tcp:HOST:PORT with a loopback address (tcp::1234 is 127.0.0.1); who can connect owns the guest. Adds nokaslr to the kernel's command line")
	flags.BoolVar(&f.wait, "gdb-wait", false, "with --gdb, do not run the guest's first instruction before gdb has come")
	flags.BoolVar(&f.kaslr, "gdb-kaslr", false, "with --gdb, leave the kernel's addresses random")
	_ = c.RegisterFlagCompletionFunc("gdb", cobra.FixedCompletions([]string{"unix:", "tcp::1234"}, cobra.ShellCompDirectiveNoSpace|cobra.ShellCompDirectiveNoFileComp))
}

// cmdline gives the kernel's command line as it is to be for a debugger: with random addresses the kernel's symbols would be those of other places.
func (f *gdbFlags) cmdline(line string) string {
	if f.where == (gdbAddress{}) || f.kaslr {
		return line
	}
	return strings.TrimSpace("nokaslr " + line) // in front: what is behind "--" is init's
}

// A gdbServer listens for debuggers. A nil one is there if nobody is to debug, and does nothing.
type gdbServer struct {
	debugger *debug.Debugger
	wait     bool
	kaslr    bool
	log      *slog.Logger
	listener net.Listener
	keeper   *keeper // of the socket's file; nil for TCP
	cancel   context.CancelFunc
	served   chan struct{} // closed when nobody is served any more; nil before connect
}

// errGDBKill is the cause with which gdb's kill ends the run.
var errGDBKill = errors.New("ended by gdb")

// open listens, and has the machine of cfg be one that can be debugged. end is to end the run.
func (f *gdbFlags) open(cfg *machine.Config, end context.CancelCauseFunc) (*gdbServer, error) {
	if f.where == (gdbAddress{}) {
		if f.wait || f.kaslr {
			return nil, errors.New("--gdb-wait and --gdb-kaslr are for a machine with --gdb; add --gdb unix:PATH")
		}
		return nil, nil
	}
	g := &gdbServer{wait: f.wait, kaslr: f.kaslr, log: cfg.Log}
	var err error
	if g.listener, g.keeper, err = f.where.listen(); err != nil {
		return nil, fmt.Errorf("--gdb %v: %w", f.where, err)
	}
	g.debugger = debug.New("govmm "+version, func() { end(errGDBKill) })
	cfg.Debug = g.debugger.Exit
	return g, nil
}

// connect gives the machine, which is about to run, to the debuggers that come.
func (g *gdbServer) connect(m *machine.Machine) error {
	if g == nil {
		return nil
	}
	if err := g.debugger.Connect(m); err != nil {
		return err
	}
	state := "the guest runs"
	if g.wait {
		m.Hold()
		state = "the guest waits for it"
	}
	if !g.kaslr {
		state += ", with nokaslr"
	}
	fmt.Fprintf(logOutput(), "govmm: listening for gdb (%s): gdb VMLINUX -ex 'target remote %s'\n", state, g.listener.Addr())
	ctx, cancel := context.WithCancel(context.Background())
	g.cancel, g.served = cancel, make(chan struct{})
	go g.serve(ctx)
	return nil
}

// retry is how long the server waits when it cannot accept a connection.
const retry = 100 * time.Millisecond

// serve serves one debugger after the other.
func (g *gdbServer) serve(ctx context.Context) {
	defer close(g.served)
	for ctx.Err() == nil {
		conn, err := g.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			g.log.Warn("gdb cannot come", "err", err)
			time.Sleep(retry)
			continue
		}
		g.session(ctx, conn)
	}
}

// session serves one debugger.
func (g *gdbServer) session(ctx context.Context, conn net.Conn) {
	g.log.Debug("gdb has come")
	stop := context.AfterFunc(ctx, func() { conn.Close() }) // also while it is sent what it does not read
	defer stop()
	err := gdbstub.Serve(ctx, conn, g.debugger)
	conn.Close()
	var end *gdbstub.EndError
	switch {
	case err == nil, errors.As(err, &end), ctx.Err() != nil:
		g.log.Debug("gdb has left", "err", err)
	case errors.Is(err, io.EOF):
		g.log.Debug("gdb has gone without a word")
	default:
		g.log.Warn("gdb was cut off", "err", err)
	}
}

// farewell is how long the end of the run waits for a debugger to be told.
const farewell = 2 * time.Second

// finish tells the debugger how the run has ended, and ends serving: when it returns nobody looks into the machine any more.
func (g *gdbServer) finish(err error) {
	if g == nil {
		return
	}
	g.debugger.Ended(endOf(err))
	g.listener.Close()
	select {
	case <-g.served:
	case <-time.After(farewell):
		g.cancel()
		<-g.served
	}
}

// Signals in gdb's numbers, for guests that did not end by themselves.
const (
	gdbSegv = 11
	gdbTerm = 15
)

func endOf(err error) gdbstub.EndError {
	var crash *machine.CrashError
	switch {
	case err == nil:
		return gdbstub.EndError{}
	case errors.As(err, &crash):
		return gdbstub.EndError{Signal: gdbSegv}
	}
	return gdbstub.EndError{Signal: gdbTerm}
}

// close ends listening, also of a machine that has not run, and removes the socket's file.
func (g *gdbServer) close() {
	if g == nil {
		return
	}
	g.listener.Close()
	if g.cancel != nil {
		g.cancel()
	}
	if g.keeper != nil {
		warn(g.keeper.release())
	}
}
