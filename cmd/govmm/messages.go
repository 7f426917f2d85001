package main

import (
	"bytes"
	"io"
	"os"
	"time"

	"golang.org/x/term"
)

// stderr is standard error for all that this program says. Whoever reads it may stop doing so: that holds up a guest whose kernel's messages it is to
// show, for a while, but neither the end of a run nor that of the program.
var stderr = func() *output {
	o := openOutput(os.Stderr, time.Second)
	o.unread, o.name = mostUnread, "standard error"
	return o
}()

// logOutput is where the log goes: standard error, with the line ends that a raw terminal needs.
func logOutput() io.Writer {
	if terminalIsRaw() {
		return rawLines{stderr}
	}
	return stderr
}

// terminalIsRaw tells whether standard error is a terminal that is, or will be, raw.
func terminalIsRaw() bool {
	return term.IsTerminal(int(os.Stdin.Fd())) && term.IsTerminal(int(os.Stderr.Fd()))
}

type rawLines struct{ w io.Writer }

func (r rawLines) Write(p []byte) (int, error) {
	_, err := r.w.Write(bytes.ReplaceAll(p, []byte("\n"), []byte("\r\n")))
	return len(p), err
}
