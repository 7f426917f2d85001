// Command govmm-compare is govmm compare: a virtual machine beside containers and the host, claim by claim (package compare). It is a program of its own so
// that what it needs, a plotting library above all, is not in the monitor.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"govmm/compare/probe"
)

// Exit statuses.
const (
	statusUsage  = 1
	statusSignal = 128 // and the signal's number
)

func main() {
	if probe.IsProbe() {
		probe.Main()
	}
	if err := newCommand().Execute(); err != nil {
		fmt.Fprintln(os.Stderr, "govmm:", err)
		os.Exit(status(err))
	}
}

func status(err error) int {
	if s, ok := errors.AsType[*signalError](err); ok {
		return statusSignal + int(s.signal)
	}
	return statusUsage
}

// A signalError is a signal that ended the run.
type signalError struct{ signal syscall.Signal }

func (e *signalError) Error() string { return fmt.Sprintf("ended by a signal (%v)", e.signal) }

// untilSignal gives a context that ends with the first signal that asks the program to end. Further ones end nothing until stop is called: a terminal that is closed sends
// two, and what was made for the comparison is being removed. A closed standard output is an error like others.
func untilSignal() (_ context.Context, stop func()) {
	ctx, cancel := context.WithCancelCause(context.Background())
	got, pipe := make(chan os.Signal, 1), make(chan os.Signal, 1)
	for _, s := range []os.Signal{syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT} {
		if !signal.Ignored(s) { // as nohup does
			signal.Notify(got, s)
		}
	}
	signal.Notify(pipe, syscall.SIGPIPE)
	stopped := make(chan struct{})
	go func() {
		for {
			select {
			case s := <-got:
				if ctx.Err() != nil {
					fmt.Fprintln(os.Stderr, "govmm: removing what was made for the comparison; only kill -9 is quicker, and leaves it")
				}
				cancel(&signalError{s.(syscall.Signal)})
			case <-stopped:
				return
			}
		}
	}()
	return ctx, func() {
		signal.Stop(got)
		signal.Stop(pipe)
		close(stopped)
		cancel(nil)
	}
}

const help = `compare runs the same command with the same root file system in a virtual machine, in containers and on the host, and shows eleven claims that are
made of virtual machines and containers by what was measured. Containers are run by any OCI runtime: those that are found, or --runtime.

Without --rootfs it is a small one made of busybox. Without COMMAND it is "echo hello". What is missing on this machine is named, and the rest is measured nevertheless.
Nothing that could harm the host is run in a container. Ctrl-C ends it and removes everything.`

func newCommand() *cobra.Command {
	var f flags
	c := &cobra.Command{
		Use:   "compare [flags] [-- COMMAND [ARG...]]",
		Short: "put a virtual machine beside containers, claim by claim, measured",
		Long:  help,
		Example: `  govmm compare
  govmm compare --only startup,memory --runs 100 --html comparison.html
  govmm compare --rootfs app.tar --runtime runc,crun -- /bin/app --version`,
		SilenceErrors: true,
		SilenceUsage:  true,
		RunE: func(_ *cobra.Command, args []string) error {
			f.command = args
			return f.run()
		},
	}
	c.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w; see govmm compare --help", err) })
	c.CompletionOptions.HiddenDefaultCmd = true
	f.add(c)
	return c
}
