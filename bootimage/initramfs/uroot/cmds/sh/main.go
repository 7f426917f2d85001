// Command sh is the guest's shell: the interpreter mvdan.cc/sh/v3, which knows POSIX shell and much of bash.
//
//	sh                commands from standard input
//	sh -c COMMAND     COMMAND
//	sh FILE [ARG...]  the script FILE
//
// On a terminal it prompts. With TERM unset or dumb it writes nothing but the prompt and what the commands
// print, and leaves editing and echo to the terminal driver; that is the mode for programs at the other end of the
// console. With any other TERM it has a line editor with history and completion, which writes escape sequences.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"golang.org/x/term"
	"mvdan.cc/sh/v3/interp"
	"mvdan.cc/sh/v3/syntax"
)

func main() {
	command := flag.String("c", "", "run `command`")
	flag.Parse()
	if err := run(*command, flag.Args()); err != nil {
		if status, ok := interp.IsExitStatus(err); ok {
			os.Exit(int(status))
		}
		fmt.Fprintln(os.Stderr, "sh:", err)
		os.Exit(2)
	}
}

func run(command string, args []string) error {
	runner, err := interp.New(interp.StdIO(os.Stdin, os.Stdout, os.Stderr))
	if err != nil {
		return err
	}
	switch {
	case command != "":
		return runScript(runner, strings.NewReader(command), "", args)
	case len(args) > 0:
		f, err := os.Open(args[0])
		if err != nil {
			return err
		}
		defer f.Close()
		return runScript(runner, f, args[0], args[1:])
	case !term.IsTerminal(int(os.Stdin.Fd())):
		return runScript(runner, os.Stdin, "", nil)
	}
	return interact(runner, terminal(runner), os.Stdout, os.Stderr)
}

func terminal(runner *interp.Runner) lineReader {
	switch os.Getenv("TERM") {
	case "", "dumb":
		return &plainReader{in: os.Stdin, out: os.Stdout}
	}
	return newEditor(os.Stdin, os.Stdout, runner)
}

// runScript runs one statement after the other, so that a program may read what follows it in the same file.
func runScript(runner *interp.Runner, r io.Reader, name string, args []string) error {
	// The two dashes keep arguments from being taken for the interpreter's options.
	if err := interp.Params(append([]string{"--"}, args...)...)(runner); err != nil {
		return err
	}
	prog, err := syntax.NewParser().Parse(r, name)
	if err != nil {
		return err
	}
	runner.Reset()
	return runner.Run(context.Background(), prog)
}

// A lineReader reads a line, without its end, from someone who was shown prompt.
type lineReader interface {
	ReadLine(prompt string) (string, error)
}

const (
	promptFirst = "# "
	promptMore  = "> "
)

// interact runs what is typed until the end of input or exit, and returns the status of the last command.
func interact(runner *interp.Runner, in lineReader, stdout, stderr io.Writer) error {
	interrupts := make(chan os.Signal, 1)
	// Not signal.Ignore, which the programs that are started would inherit.
	signal.Notify(interrupts, os.Interrupt)
	defer signal.Stop(interrupts)

	runner.Reset()
	var last error
	for !runner.Exited() {
		prog, err := readCommand(in)
		switch {
		case errors.Is(err, io.EOF):
			fmt.Fprintln(stdout)
			return last
		case err != nil:
			fmt.Fprintln(stderr, "sh:", err)
			if _, ok := errors.AsType[syntax.ParseError](err); !ok {
				return err
			}
			continue
		}
		last = runInterruptible(runner, prog, interrupts)
		if _, ok := interp.IsExitStatus(last); last != nil && !ok {
			fmt.Fprintln(stderr, "sh:", last)
			last = interp.NewExitStatus(1)
		}
	}
	return last
}

// runInterruptible ends prog at an interrupt. A program that it waits for has had the terminal's signal itself.
func runInterruptible(runner *interp.Runner, prog *syntax.File, interrupts <-chan os.Signal) error {
	select {
	case <-interrupts: // at the prompt, long ago
	default:
	}
	// Only an interrupt cancels: what the line has put into the background lives on.
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	defer close(done)
	go func() {
		select {
		case <-interrupts:
			cancel()
		case <-done:
		}
	}()
	// One at a time, because an error other than an exit status would end the others as well.
	var err error
	for _, stmt := range prog.Stmts {
		if err = runner.Run(ctx, stmt); runner.Exited() || ctx.Err() != nil {
			break
		}
	}
	return err
}

// readCommand reads lines until they make complete statements.
func readCommand(in lineReader) (*syntax.File, error) {
	var text strings.Builder
	prompt := promptFirst
	for {
		line, err := in.ReadLine(prompt)
		if err != nil {
			return nil, err
		}
		text.WriteString(line)
		text.WriteByte('\n')
		prog, err := syntax.NewParser().Parse(strings.NewReader(text.String()), "")
		if err == nil || !syntax.IsIncomplete(err) {
			return prog, err
		}
		prompt = promptMore
	}
}

// A plainReader leaves all to the terminal driver.
type plainReader struct {
	in  io.Reader
	out io.Writer
}

// ReadLine reads no byte beyond the line's end: the next one may be for a program that the line starts.
func (r *plainReader) ReadLine(prompt string) (string, error) {
	if _, err := io.WriteString(r.out, prompt); err != nil {
		return "", err
	}
	var line []byte
	var b [1]byte
	for {
		n, err := r.in.Read(b[:])
		switch {
		case n == 1 && b[0] == '\n':
			return string(line), nil
		case n == 1:
			line = append(line, b[0])
		case err == nil:
		case errors.Is(err, io.EOF) && len(line) > 0:
			return string(line), nil
		default:
			return "", err
		}
	}
}
