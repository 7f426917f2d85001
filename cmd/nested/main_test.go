package main

import (
	"bytes"
	"errors"
	"flag"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"govmm/cmd/nested/guest"
	"govmm/cmd/nested/testhost"
)

// asNested in the environment makes the test binary the program itself, so that
// tests can run that without the go tool.
const asNested = "NESTED_TEST_MAIN"

func TestMain(m *testing.M) {
	if guest.IsInit() {
		guest.Main()
	}
	if os.Getenv(asNested) != "" {
		os.Unsetenv(asNested)
		os.Exit(run(os.Args[1:]))
	}
	os.Exit(m.Run())
}

func TestParseOptions(t *testing.T) {
	dir := t.TempDir()
	o, err := parseOptions([]string{
		"--virtual-time", "--cpus=4", "--memory", "1024", "--timeout", "90s", "--env", "A=1", "--env", "B=", "--dir", dir,
		"--share", dir, "-v", "--", "cmd", "-v", "--", "x",
	}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	if !o.virtualTime || !o.always || !o.verbose || o.cpus != 4 || o.memory != 1024 || o.timeout != 90*time.Second || o.dir != dir {
		t.Errorf("%+v", o)
	}
	if !slices.Equal(o.env, []string{"A=1", "B="}) || !slices.Equal(o.shares, []string{dir}) {
		t.Errorf("env %q, shares %q", o.env, o.shares)
	}
	if want := []string{"cmd", "-v", "--", "x"}; !slices.Equal(o.command, want) {
		t.Errorf("command %q, want %q", o.command, want)
	}
}

func TestVirtualTimeOption(t *testing.T) {
	for arg, want := range map[string]options{
		"--virtual-time":       {virtualTime: true, always: true},
		"--virtual-time=auto":  {virtualTime: true},
		"--virtual-time=false": {},
	} {
		o, err := parseOptions([]string{arg, "true"}, io.Discard)
		if err != nil || o.virtualTime != want.virtualTime || o.always != want.always {
			t.Errorf("%s: %+v, %v", arg, o, err)
		}
	}
}

func TestParseOptionsDefaults(t *testing.T) {
	o, err := parseOptions([]string{"true"}, io.Discard)
	if err != nil {
		t.Fatal(err)
	}
	wd, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	if o.cpus != 2 || o.memory != 4096 || o.timeout != 0 || o.dir != wd {
		t.Errorf("%+v", o)
	}
}

func TestParseOptionsErrors(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o644); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		args string
		want string
	}{
		{"", "no command"},
		{"--cpus 2 --", "no command"},
		{"--direct --always true", "excludes"},
		{"--direct --virtual-time true", "excludes"},
		{"--cpus 0 true", "--cpus 0"},
		{"--cpus 65 true", "--cpus 65"},
		{"--memory 64 true", "--memory 64"},
		{"--timeout -1s true", "--timeout -1s"},
		{"--env A true", "KEY=VALUE"},
		{"--env =A true", "KEY=VALUE"},
		{"--share /nonexistent true", "/nonexistent"},
		{"--share " + file + " true", "not a directory"},
		{"--virtual-time=perhaps true", "true, false or auto"},
		{"--colour true", "colour"},
	} {
		_, err := parseOptions(strings.Fields(test.args), io.Discard)
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%q: %v, want %q", test.args, err, test.want)
		}
	}
}

func TestHelp(t *testing.T) {
	var out bytes.Buffer
	_, err := parseOptions([]string{"-h"}, &out)
	if !errors.Is(err, flag.ErrHelp) || !strings.Contains(out.String(), "usage: nested") || !strings.Contains(out.String(), "-virtual-time") {
		t.Errorf("%v, %q", err, &out)
	}
}

func TestHasVirtualization(t *testing.T) {
	for cpuinfo, want := range map[string]bool{
		"processor\t: 0\nflags\t\t: fpu vme svm lm\n": true,
		"flags\t\t: fpu vmx\n":                        true,
		"flags\t\t: fpu svm_lock vmxy\n":              false,
		"vmx flags\t: vnmi ept\nflags\t: fpu\n":       false,
		"model name\t: svm vmx\nflags\t\t: fpu\n":     false,
		"": false,
	} {
		if got := hasVirtualization(cpuinfo); got != want {
			t.Errorf("%q: %v", cpuinfo, got)
		}
	}
}

func TestEnvironment(t *testing.T) {
	env := environment([]string{"PATH=/x", "A=1", "B=2"}, []string{"B=3"}, false)
	for _, want := range []string{"HOME=/root", "PATH=/x", "A=1", "B=3", "GOVMM_NESTED=1"} {
		if !slices.Contains(env, want) {
			t.Errorf("no %s in %q", want, env)
		}
	}
	if len(env) != 5 {
		t.Errorf("%q has a variable twice", env)
	}
	if env := environment(nil, nil, true); !slices.Contains(env, "GOVMM_VIRTUAL_TIME=1") {
		t.Errorf("no sign of virtual time in %q", env)
	}
}

func TestReport(t *testing.T) {
	for _, test := range []struct {
		err    error
		status int
		want   int
	}{
		{nil, 200, 200},
		{errors.New("no QEMU"), 0, statusFailure},
		{&testhost.Error{Err: &timeoutError{"cmd", time.Second}}, 0, statusTimeout},
		{&testhost.Error{Err: &signalError{syscall.SIGTERM}}, 0, 143},
	} {
		if got, err := report(test.status, test.err, true); got != test.want || err != test.err {
			t.Errorf("%v: status %d, %v; want %d", test.err, got, err, test.want)
		}
	}
}

// A command with a time limit is a child of this process; without one it takes
// its place, which the tests of the whole program cover.
func TestRunDirect(t *testing.T) {
	for _, test := range []struct {
		args string
		want int
	}{
		{"--direct --timeout 1m -- true", 0},
		{"--direct --timeout 1m --env X=7 -- sh -c exit${IFS}$X", 7},
		{"--direct --timeout 1m -- sh -c kill${IFS}-9${IFS}$$", 137},
		{"--direct --timeout 1m -- /nonexistent", statusNotFound},
		{"--direct --timeout 1m -- /etc/passwd", statusNotExecutable},
		{"--direct --timeout 1ms -- sleep 60", statusTimeout},
		{"--direct", statusFailure},
	} {
		if got, err := runCommand(strings.Fields(test.args)); got != test.want {
			t.Errorf("%q: status %d (%v), want %d", test.args, got, err, test.want)
		}
	}
}

func TestPrintKernelErrors(t *testing.T) {
	for _, args := range [][]string{{"kernel"}, {"kernel", "5.10"}, {"modules", "--vmlinux", "6.1-full"}, {"kernel", "--fragments", "debug", "6.1-full"}, {"setup", "now"}} {
		if got := run(args); got != statusFailure {
			t.Errorf("%q: status %d, want %d", args, got, statusFailure)
		}
	}
}
