// Command govmm runs virtual machines on Linux's KVM.
//
// This package parses flags and wires packages together. What a machine is stands in
// package machine, what a host must offer in machine/hostcheck.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"

	"govmm/agent/guest"
)

// entry is where the program begins if it is linked with -ldflags "-E main.entry", as make build links it.
func entry()

func main() {
	if guest.IsInit() {
		guest.Main()
	}
	os.Exit(report(stderr, newRootCommand().Execute()))
}

// report writes the error that ended the program, if one did, and gives the exit status.
func report(w io.Writer, err error) int {
	code := statusOK
	var status *statusError
	switch {
	case errors.As(err, &status):
		code, err = status.code, status.err
	case err != nil:
		code = statusUsage
	}
	if err != nil {
		fmt.Fprintln(w, "govmm:", err)
	}
	return code
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "govmm",
		Short: "run virtual machines on Linux's KVM",
		Long: `govmm boots Linux in a virtual machine with its own kernel: it opens /dev/kvm, makes
processors and memory, emulates a serial console and virtio disks, and starts the kernel.`,
		SilenceErrors: true,
		SilenceUsage:  true,
		// They would make the error several lines.
		DisableSuggestions: true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help", err, c.CommandPath())
	})
	root.AddCommand(newBootCommand(), newRunCommand(), newCompareCommand(), newCheckCommand(), newImageCommand(), newTraceCommand(), newVersionCommand(), newGuardCommand(), newGuardTapCommand(), newGuardSocketCommand())
	return root
}

// noArgs is what cobra.NoArgs is, with a message that does not take an argument for a command.
func noArgs(c *cobra.Command, args []string) error {
	if len(args) > 0 {
		return fmt.Errorf("%s takes no argument, not %q; see %[1]s --help", c.CommandPath(), args[0])
	}
	return nil
}
