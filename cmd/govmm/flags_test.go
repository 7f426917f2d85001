package main

import (
	"strings"
	"testing"

	"govmm/machine"
)

func TestSize(t *testing.T) {
	for _, tt := range []struct {
		text string
		want uint64
	}{
		{"512M", 512 << 20}, {"1G", 1 << 30}, {"1g", 1 << 30}, {"64k", 64 << 10}, {"3T", 3 << 40}, {"4096", 4096}, {"0", 0},
	} {
		var s size
		if err := s.Set(tt.text); err != nil || uint64(s) != tt.want {
			t.Errorf("%q: %d, %v; want %d", tt.text, s, err, tt.want)
		}
	}
	for _, bad := range []string{"", "M", "abc", "-1M", "1.5G", "1MM", "512MB", "20000000T", "99999999999999999999"} {
		s := size(7)
		if err := s.Set(bad); err == nil {
			t.Errorf("%q was taken as %d", bad, s)
		} else if s != 7 {
			t.Errorf("%q: an error changed the value to %d", bad, s)
		}
	}
}

func TestSizeString(t *testing.T) {
	for text, want := range map[string]string{"512M": "512M", "1024M": "1G", "1000": "1000", "0": "0", "2048K": "2M"} {
		var s size
		if err := s.Set(text); err != nil {
			t.Fatal(err)
		}
		if got := s.String(); got != want {
			t.Errorf("%s shows as %s, want %s", text, got, want)
		}
	}
}

func TestKernelCmdline(t *testing.T) {
	for _, tt := range []struct {
		flags    bootFlags
		replaced bool
		want     string
	}{
		{bootFlags{}, false, machine.DefaultCmdline},
		{bootFlags{appended: "quiet"}, false, machine.DefaultCmdline + " quiet"},
		{bootFlags{cmdline: "ro"}, true, "ro"},
		{bootFlags{cmdline: "ro", appended: "quiet"}, true, "ro quiet"},
		{bootFlags{}, true, " "},
		{bootFlags{gdb: gdbFlags{where: gdbAddress{"unix", "x"}}}, false, "nokaslr " + machine.DefaultCmdline},
		{bootFlags{gdb: gdbFlags{where: gdbAddress{"unix", "x"}}, cmdline: "ro -- single"}, true, "nokaslr ro -- single"}, // behind the dashes it would be init's
		{bootFlags{gdb: gdbFlags{where: gdbAddress{"unix", "x"}}}, true, "nokaslr"},
		{bootFlags{gdb: gdbFlags{where: gdbAddress{"unix", "x"}, kaslr: true}}, false, machine.DefaultCmdline},
	} {
		if got := tt.flags.kernelCmdline(tt.replaced); got != tt.want {
			t.Errorf("%+v: %q, want %q", tt.flags, got, tt.want)
		}
	}
}

func TestGDBAddress(t *testing.T) {
	for text, want := range map[string]gdbAddress{
		"unix:/run/x": {"unix", "/run/x"}, "unix:a:b": {"unix", "a:b"},
		"tcp::1234": {"tcp", "127.0.0.1:1234"}, "tcp:localhost:0": {"tcp", "127.0.0.1:0"},
		"tcp:127.0.0.2:65535": {"tcp", "127.0.0.2:65535"}, "tcp:[::1]:1": {"tcp", "[::1]:1"},
	} {
		var got gdbAddress
		if err := got.Set(text); err != nil || got != want {
			t.Errorf("%s: %+v, %v; want %+v", text, got, err, want)
		}
	}
}

// TestUsageErrors holds that wrong usage is one line that names the way out.
func TestUsageErrors(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{[]string{"boot"}, "govmm boot --help"},
		{[]string{"boot", "a", "b", "c"}, "govmm boot --help"},
		{[]string{"boot", "--no-such-flag", "k"}, "govmm boot --help"},
		{[]string{"boot", "-m", "abc", "k"}, "is not a size"},
		{[]string{"boot", "-m", "0", "k"}, "needs memory"},
		{[]string{"boot", "-c", "0", "k"}, "needs memory and a CPU"},
		{[]string{"boot", "/nonexistent/kernel"}, "no such file"},
		{[]string{"boot", "/"}, "is a directory"},
		{[]string{"boot", "/dev/null"}, "not a regular file"},
		{[]string{"boot", "-d", "/nonexistent/disk", "k"}, "no such file"},
		{[]string{"boot", "--direct", "maybe", "k"}, "give auto, always or never"},
		{[]string{"boot", "--gdb", "1234", "k"}, "write unix:PATH, or tcp:HOST:PORT"},
		{[]string{"boot", "--gdb", "unix:", "k"}, "write unix:PATH, or tcp:HOST:PORT"},
		{[]string{"boot", "--gdb", "tcp:1234", "k"}, "write unix:PATH, or tcp:HOST:PORT"},
		{[]string{"boot", "--gdb", "tcp::x", "k"}, "is no port"},
		{[]string{"boot", "--gdb", "tcp:example.org:1234", "k"}, "is no address"},
		{[]string{"boot", "--gdb", "tcp:0.0.0.0:1234", "k"}, "use ssh -L"},
		{[]string{"boot", "--gdb", "tcp:[::]:1234", "k"}, "use ssh -L"},
		{[]string{"boot", "--gdb", "unix:/" + strings.Repeat("x", 200), "k"}, "choose a shorter one"},
		{[]string{"boot", "--gdb", "unix:/nonexistent/socket", "k"}, "no such file or directory"},
		{[]string{"boot", "--gdb", "unix:/", "k"}, "is there already"},
		{[]string{"boot", "--gdb-wait", "k"}, "add --gdb unix:PATH"},
		{[]string{"image", "prune", "--keep", "much"}, "is not a size"},
		{[]string{"image", "list", "all"}, "takes no argument"},
		{[]string{"frobnicate"}, "unknown command"},
	} {
		c := newRootCommand()
		c.SetArgs(tt.args)
		err := c.Execute()
		if err == nil {
			t.Errorf("%v: no error", tt.args)
			continue
		}
		if s := err.Error(); !strings.Contains(s, tt.want) || strings.Contains(s, "\n") {
			t.Errorf("%v: %q, want one line with %q", tt.args, s, tt.want)
		}
	}
}
