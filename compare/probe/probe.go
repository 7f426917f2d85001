// Package probe is the program that govmm compare runs in each place, in a virtual machine, in a container and on the host: it says what it sees there, or does a
// piece of work. Each subcommand writes one line of JSON, of a type of this package; latecomers and errors go to standard error, with exit status 1.
//
// What comes out of a place is not to be believed, so Decode bounds what it takes.
package probe

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
)

// Name is the program's, by which it knows that it is the probe.
const Name = "compareprobe"

// maxLine is how much of output Decode takes, in bytes.
const maxLine = 1 << 20

// IsProbe says whether this process was started as the probe, or is the init of an initramfs of package image.
func IsProbe() bool {
	return len(os.Args) > 0 && (filepath.Base(os.Args[0]) == Name || isInit())
}

// Main does what the command line says and ends the process.
func Main() {
	if isInit() {
		initMain()
	}
	if err := run(os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, Name+":", err)
		os.Exit(1)
	}
	os.Exit(0)
}

// subcommands are what the program can do, with the arguments behind the name.
var subcommands = map[string]func([]string) error{
	"facts":     func([]string) error { return say(Look()) },
	"sleep":     sleep,
	"cpu":       hash,
	"syscalls":  call,
	"disk":      disk,
	"net":       fetch,
	"serve":     serve,
	"alloc":     allocate,
	"latency":   latency,
	"obstacles": func([]string) error { return say(LookForObstacles()) },
	"trace":     trace,
	"panic":     harm(panicKernel),
	"bomb":      harm(bomb),
	"exhaust":   harm(exhaust),
	"fill":      harm(fill),
	"child":     child,
}

func run(args []string) error {
	if len(args) == 0 {
		return errors.New("what is to be done?")
	}
	do, ok := subcommands[args[0]]
	if !ok {
		return fmt.Errorf("%q: no such thing to do", args[0])
	}
	return do(args[1:])
}

// flags makes a set of flags that leaves errors to the caller.
func flags(name string) *flag.FlagSet {
	f := flag.NewFlagSet(name, flag.ContinueOnError)
	f.SetOutput(os.Stderr)
	return f
}

// say writes a line.
func say(v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return err
	}
	_, err = os.Stdout.Write(append(line, '\n'))
	return err
}

// Decode reads the line that a subcommand has written, of a type of this package. Anything behind it is an error.
func Decode[T any](line []byte) (T, error) {
	var v T
	if len(line) > maxLine {
		return v, fmt.Errorf("the probe has said %d bytes", len(line))
	}
	d := json.NewDecoder(bytes.NewReader(line))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return v, fmt.Errorf("the probe has said no %T: %w", v, err)
	}
	if d.More() {
		return v, errors.New("the probe has said more than one thing")
	}
	return v, nil
}
