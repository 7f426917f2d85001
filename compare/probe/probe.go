// Package probe is the small program that govmm compare runs in a virtual machine, in containers and on the host, to see what each of them is. It looks (facts, obstacles), works
// (cpu, syscalls, disk, net, latency), and tries what a tenant should not be able to do to others (alloc, panic, bomb, exhaust, fill).
//
// What it finds it writes as one line of JSON to standard output. The types of these lines are exported for the reader, who is to take them by Decode: what a guest prints is not to be
// believed, not even its form.
package probe

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A command does one thing. Its arguments are those behind its name; what it finds goes to out, as lines of JSON.
type command func(args []string, out io.Writer) error

var commands = map[string]command{
	"facts":    factsCommand,
	"hello":    hello,
	"sleep":    sleep,
	"cpu":      cpu,
	"syscalls": syscalls,
	"disk":     disk,
	"net":      fetchCommand,
	"serve":    serveCommand,
	"latency":  latency,
	"alloc":    alloc,

	"trace":     traceCommand,
	"obstacles": obstaclesCommand,
	"panic":     crash,
	"bomb":      bomb,
	"exhaust":   exhaust,
	"fill":      fill,
}

// Name is what the program is called in a root file system.
const Name = "compareprobe"

// IsProbe says whether this process was started as the probe: by its name, or as the init of package image's initramfs.
func IsProbe() bool { return len(os.Args) > 0 && filepath.Base(os.Args[0]) == Name || isInit() }

// Main runs the command that the program's arguments name. It ends the process, with status 1 for an error.
func Main() {
	if isInit() {
		initMain()
	}
	if err := run(os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "compareprobe:", err)
		os.Exit(1)
	}
	os.Exit(0)
}

func run(args []string, out io.Writer) error {
	if len(args) == 0 {
		return errors.New("no command; there are " + names())
	}
	do, ok := commands[args[0]]
	if !ok {
		return fmt.Errorf("no command %q; there are %s", args[0], names())
	}
	if err := do(args[1:], out); err != nil {
		return fmt.Errorf("%s: %w", args[0], err)
	}
	return nil
}

func names() string {
	var all []string
	for name := range commands {
		all = append(all, name)
	}
	slices.Sort(all)
	return strings.Join(all, ", ")
}

// parse reads a command's flags, which define declares, and refuses arguments behind them.
func parse(args []string, define func(*flag.FlagSet)) error {
	f := flag.NewFlagSet("", flag.ContinueOnError)
	f.SetOutput(io.Discard)
	define(f)
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("what is %q?", f.Arg(0))
	}
	return nil
}

// say writes a line of JSON.
func say(out io.Writer, v any) error { return json.NewEncoder(out).Encode(v) }
