package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"regexp"
	"strconv"
	"strings"
)

// loops are what one round of costs, and the benchmarks of package kvm that have them.
var loops = []struct {
	name      string // of exits.c
	title     string
	benchmark string
	rounds    int // about a second of the world's in the nested test host
}{
	{"pio", "an exit for port I/O and back", "BenchmarkPIOExit", 20000},
	{"mmio", "an exit for memory-mapped I/O and back", "BenchmarkMMIOExit", 10000},
	{"doorbell", "a doorbell, by which a waiter wakes and answers", "BenchmarkDoorbell", 4000},
}

// exits measures loops of package kvm beside the same in C.
func (b *bench) exits() error {
	test, err := b.files.copy(b.o.kvmtest, "kvmtest")
	if err != nil {
		return err
	}
	program, err := b.files.copy(b.o.exits, "exits")
	if err != nil {
		return err
	}
	for _, l := range loops {
		inGo := b.figure(figure{ID: "exits/" + l.name + "/go", Title: l.title, Command: []string{
			test, "-test.run", "^$", "-test.bench", "^" + l.benchmark + "$", "-test.benchtime", fmt.Sprintf("%dx", l.rounds),
		}})
		inC := b.figure(figure{ID: "exits/" + l.name + "/c", Title: l.title, Command: []string{
			program, l.name, strconv.Itoa(l.rounds),
		}})
		for round := range b.report.Runs + 1 {
			for _, side := range []struct {
				*figure
				parse func(out []byte) (float64, error)
			}{
				{inGo, func(out []byte) (float64, error) { return benchmarkResult(out, l.benchmark) }},
				{inC, func(out []byte) (float64, error) { return strconv.ParseFloat(strings.TrimSpace(string(out)), 64) }},
			} {
				if side.Missing != "" {
					continue
				}
				ns, err := loopOnce(side.Command, side.parse)
				side.add(round, ns, err)
				b.say(round, side.ID, fmt.Sprintf("%.0f ns", ns), err)
			}
		}
		inGo.close()
		inC.close()
	}
	return nil
}

func loopOnce(command []string, parse func(out []byte) (float64, error)) (float64, error) {
	ctx, cancel := context.WithTimeout(context.Background(), bootLimit)
	defer cancel()
	out, err := exec.CommandContext(ctx, command[0], command[1:]...).Output()
	var failed *exec.ExitError
	if errors.As(err, &failed) {
		return 0, fmt.Errorf("%w\n%s%s", err, out, failed.Stderr)
	}
	if err != nil {
		return 0, err
	}
	return parse(out)
}

var benchmarkLine = regexp.MustCompile(`(?m)^(Benchmark\w+?)(?:-\d+)?\s+\d+\s+([0-9.]+) ns/op`)

// benchmarkResult is the ns/op of a benchmark in the output of a test binary.
func benchmarkResult(out []byte, name string) (float64, error) {
	for _, m := range benchmarkLine.FindAllSubmatch(out, -1) {
		if string(m[1]) == name {
			return strconv.ParseFloat(string(m[2]), 64)
		}
	}
	return 0, fmt.Errorf("no result of %s in:\n%s", name, bytes.TrimSpace(out))
}
