package main

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/pflag"
)

// TestEntryArguments holds that the entry finds the first argument of run that is no option where package pflag does, and takes no word of the guest's command for an option. It
// runs what make build has made. The runs end before there is a machine.
func TestEntryArguments(t *testing.T) {
	const wrong = "an argument is --sandbox=off"
	entered := func(want bool, args ...string) {
		t.Helper()
		args = append([]string{"run", "--sandbox=strict", "--kernel=/none", "--rootfs=/none"}, args...)
		out, err := exec.Command("../../bin/govmm", args...).CombinedOutput()
		if _, ran := err.(*exec.ExitError); !ran {
			t.Fatalf("%v; make build", err)
		}
		if is := !strings.Contains(string(out), wrong); is != want {
			t.Errorf("%q: %s", args, out)
		}
	}
	newRunCommand().Flags().VisitAll(func(f *pflag.Flag) {
		if f.NoOptDefVal == "" || f.Name == "help" {
			return
		}
		entered(true, "--"+f.Name, "command", "--sandbox=off")
		if f.Shorthand != "" {
			entered(true, "-"+f.Shorthand, "command", "--sandbox=off")
		}
	})
	for _, args := range []string{
		"command --sandbox=off", "-- --sandbox=off", "-m 1G command --sandbox=off", "-m1G command --sandbox=off", "--memory=1G command --sandbox off", "-vm 1G command --sandbox=off",
		"-vm1G command --sandbox=off", "-vvm=1G command --sandbox=off", "-v=false command --sandbox=off", "- --sandbox=off", "--verbose=true command --sandbox=off", "-m 1G -- --sandbox=off",
	} {
		entered(true, strings.Fields(args)...)
	}
	// The last one counts, but the entry does not wait for it.
	for _, args := range []string{"--sandbox=off --sandbox=strict command", "--sandbox off -m 1G --sandbox=strict command", "-vm 1G --sandbox=off --sandbox strict command", "--gdb-wait --sandbox off --sandbox=strict command"} {
		entered(false, strings.Fields(args)...)
	}
}
