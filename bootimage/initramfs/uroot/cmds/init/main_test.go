package main

import (
	"os"
	"slices"
	"testing"
)

func TestChooseCommand(t *testing.T) {
	for cmdline, want := range map[string][]string{
		"":                                   {"/bin/sh"},
		"console=ttyS0 quiet\n":              {"/bin/sh"},
		"console=ttyS0 --\n":                 {"/bin/sh"},
		"a --b c--d\n":                       {"/bin/sh"},
		"quiet -- demo 'two  words'; ls\n":   {"/bin/sh", "-c", "demo 'two  words'; ls"},
		"quiet -- rm -- x\n":                 {"/bin/sh", "-c", "rm -- x"},
		"-- guestinfo":                       {"/bin/sh", "-c", "guestinfo"},
		" console=hvc0   --   guestinfo  \n": {"/bin/sh", "-c", "guestinfo"},
	} {
		if got := chooseCommand(cmdline); !slices.Equal(got, want) {
			t.Errorf("command line %q runs %q, want %q", cmdline, got, want)
		}
	}
}

func TestIsScreen(t *testing.T) {
	for name, want := range map[string]bool{"/dev/tty0": true, "/dev/tty12": true, "/dev/ttyS0": false, "/dev/hvc0": false, "/dev/tty": false} {
		// Only the name counts; the descriptor is never used.
		f := os.NewFile(^uintptr(0)>>1, name)
		if got := isScreen(f); got != want {
			t.Errorf("%s: %t, want %t", name, got, want)
		}
	}
	if isScreen(nil) {
		t.Error("no terminal is taken for the screen")
	}
}
