package main

import (
	"fmt"
	"os"
	"strings"

	"golang.org/x/term"
)

// progress tells what is being done: on a terminal in one line that changes, elsewhere in a line for each thing.
type progress struct {
	file     *os.File
	terminal bool
	last     string
}

func newProgress(f *os.File) *progress {
	return &progress{file: f, terminal: term.IsTerminal(int(f.Fd()))}
}

func (p *progress) tell(text string) {
	if p.terminal {
		fmt.Fprintf(p.file, "\r\x1b[K%s", text)
		return
	}
	// Of what is done many times only the first.
	if what, _, _ := strings.Cut(text, ", run "); what != p.last {
		p.last = what
		fmt.Fprintln(p.file, "govmm:", what)
	}
}

// done removes the line.
func (p *progress) done() {
	if p.terminal {
		fmt.Fprint(p.file, "\r\x1b[K")
	}
}
