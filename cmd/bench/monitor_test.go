package main

import (
	"errors"
	"io"
	"os"
	"strings"
	"testing"
)

// Shells stand in for monitors.

func TestBoot(t *testing.T) {
	looked := 0
	took, err := boot([]string{"sh", "-c", `echo "some line"; echo "[ 1.0] $LINE"; exec sleep 1000`}, []string{"LINE=hello from init"}, func(pid int) error {
		looked = pid
		return nil
	})
	if err != nil || took <= 0 {
		t.Fatalf("%v, %v", took, err)
	}
	if looked == 0 || looked == os.Getpid() {
		t.Errorf("looked at process %d", looked)
	}
}

func TestBootOfNoGuest(t *testing.T) {
	_, err := boot([]string{"sh", "-c", "echo on the console; echo because >&2; exit 1"}, nil, nil)
	if !errors.Is(err, errNoInit) || !strings.Contains(err.Error(), "on the console") || !strings.Contains(err.Error(), "because") {
		t.Error(err)
	}
}

func TestBenchmarkResult(t *testing.T) {
	const out = `goos: linux
cpu: AMD EPYC Processor
BenchmarkPIOExitNot-2 	   20000	      1234 ns/op
BenchmarkPIOExit  	   59240	      6065 ns/op	       0 B/op	       0 allocs/op
BenchmarkDoorbell-2 	    9463	     86505.5 ns/op	       0 B/op	       0 allocs/op
PASS
`
	for name, want := range map[string]float64{"BenchmarkPIOExit": 6065, "BenchmarkDoorbell": 86505.5} {
		if got, err := benchmarkResult([]byte(out), name); err != nil || got != want {
			t.Errorf("%s: %v, %v, want %v", name, got, err, want)
		}
	}
	if _, err := benchmarkResult([]byte(out), "BenchmarkMMIOExit"); err == nil {
		t.Error("a result without its line")
	}
}

func TestParseOptionsErrors(t *testing.T) {
	for args, want := range map[string]string{
		"":                           "-kernels is missing",
		"-kernels x -runs 0":         "-runs 0",
		"-kernels x -only boot,tea":  `no part "tea"`,
		"-kernels x surplus":         "surplus",
		"-kernels x -unknown-flag 1": "unknown-flag",
	} {
		if _, err := parseOptions(strings.Fields(args), io.Discard); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: %v, want %q", args, err, want)
		}
	}
}
