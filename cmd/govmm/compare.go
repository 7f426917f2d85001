package main

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"

	"github.com/spf13/cobra"
)

// comparer is the program that govmm compare is: what it needs is no part of a monitor.
const comparer = "govmm-compare"

func newCompareCommand() *cobra.Command {
	c := &cobra.Command{
		Use:                "compare [flags] [-- COMMAND [ARG...]]",
		Short:              "put a virtual machine beside containers, claim by claim, measured",
		DisableFlagParsing: true, // they are the other program's
		RunE: func(_ *cobra.Command, args []string) error {
			path, err := findComparer()
			if err != nil {
				return err
			}
			return fmt.Errorf("%s: %w", path, syscall.Exec(path, append([]string{comparer}, args...), os.Environ()))
		},
		ValidArgsFunction: completeCompare,
	}
	c.SetHelpFunc(func(*cobra.Command, []string) {
		if err := c.RunE(c, []string{"--help"}); err != nil {
			fmt.Fprintln(stderr, "govmm:", err)
		}
	})
	return c
}

// findComparer finds the program beside this one, or on PATH.
func findComparer() (string, error) {
	if self, err := os.Executable(); err == nil {
		beside := filepath.Join(filepath.Dir(self), comparer)
		if _, err := os.Stat(beside); err == nil {
			return beside, nil
		}
	}
	path, err := exec.LookPath(comparer)
	if err != nil {
		return "", errors.New("the program " + comparer + " is neither beside govmm nor on PATH; make build builds both")
	}
	return path, nil
}

// completeCompare asks the program.
func completeCompare(_ *cobra.Command, args []string, toComplete string) ([]string, cobra.ShellCompDirective) {
	path, err := findComparer()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	out, err := exec.Command(path, append(append([]string{cobra.ShellCompRequestCmd}, args...), toComplete)...).Output()
	if err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	lines := strings.Split(strings.TrimSpace(string(out)), "\n")
	var directive cobra.ShellCompDirective
	if _, err := fmt.Sscanf(lines[len(lines)-1], ":%d", &directive); err != nil {
		return nil, cobra.ShellCompDirectiveError
	}
	return lines[:len(lines)-1], directive
}
