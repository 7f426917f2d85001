// Command govmm runs virtual machines on Linux's KVM.
//
// This package parses flags and wires packages together. What a machine is stands in
// package machine, what a host must offer in machine/hostcheck.
package main

import (
	"errors"
	"fmt"
	"os"

	"github.com/spf13/cobra"
)

func main() {
	err := newRootCommand().Execute()
	var status *statusError
	if !errors.As(err, &status) {
		if err != nil {
			status = &statusError{code: statusUsage, err: err}
		} else {
			status = &statusError{code: statusOK}
		}
	}
	if status.err != nil {
		fmt.Fprintln(os.Stderr, "govmm:", status.err)
	}
	os.Exit(status.code)
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "govmm",
		Short: "run virtual machines on Linux's KVM",
		Long: `govmm boots Linux in a virtual machine with its own kernel: it opens /dev/kvm, makes
processors and memory, emulates a serial console and virtio disks, and starts the kernel.`,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetFlagErrorFunc(func(c *cobra.Command, err error) error {
		return fmt.Errorf("%w; see %s --help", err, c.CommandPath())
	})
	root.AddCommand(newBootCommand(), newCheckCommand(), newVersionCommand(), newGuardCommand())
	return root
}
