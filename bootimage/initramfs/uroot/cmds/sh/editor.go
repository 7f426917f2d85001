package main

import (
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"golang.org/x/term"
	"mvdan.cc/sh/v3/interp"
)

// An editor reads lines from a terminal that understands escape sequences.
type editor struct {
	file     *os.File
	terminal *term.Terminal
	runner   *interp.Runner
}

func newEditor(in, out *os.File, runner *interp.Runner) *editor {
	e := &editor{file: in, runner: runner}
	e.terminal = term.NewTerminal(struct {
		io.Reader
		io.Writer
	}{interruptReader{in}, out}, "")
	e.terminal.AutoCompleteCallback = e.complete
	return e
}

// ReadLine keeps the terminal in raw mode for as long as it reads, so that interrupts work while programs run.
func (e *editor) ReadLine(prompt string) (string, error) {
	fd := int(e.file.Fd())
	old, err := term.MakeRaw(fd)
	if err != nil {
		return "", err
	}
	defer term.Restore(fd, old)
	if width, height, err := term.GetSize(fd); err == nil && width > 0 && height > 0 {
		if err := e.terminal.SetSize(width, height); err != nil {
			return "", err
		}
	}
	e.terminal.SetPrompt(prompt)
	line, err := e.terminal.ReadLine()
	if err == term.ErrPasteIndicator {
		err = nil
	}
	return line, err
}

// An interruptReader turns control-C, which term.Terminal takes for the end of the input, into the keys that empty the
// line and enter it.
type interruptReader struct{ r io.Reader }

const (
	interruptKey = "\x03"
	emptyLine    = "\x05\x15\r" // to the end, delete to the beginning, enter
)

func (r interruptReader) Read(p []byte) (int, error) {
	if len(p) < len(emptyLine) {
		return r.r.Read(p)
	}
	n, err := r.r.Read(p[:len(p)/len(emptyLine)])
	return copy(p, strings.ReplaceAll(string(p[:n]), interruptKey, emptyLine)), err
}

// complete is called for each key. At a tab it completes the word before pos as far as it is unambiguous.
func (e *editor) complete(line string, pos int, key rune) (string, int, bool) {
	if key != '\t' {
		return "", 0, false
	}
	start := strings.LastIndexAny(line[:pos], " \t;|&<>()=") + 1
	word := line[start:pos]
	var found []string
	if strings.TrimSpace(line[:start]) == "" && !strings.Contains(word, "/") {
		found = e.commands(word)
	} else {
		found = e.files(word)
	}
	if len(found) == 0 {
		return line, pos, true
	}
	word = commonPrefix(found)
	if len(found) == 1 && !strings.HasSuffix(word, "/") {
		word += " "
	}
	return line[:start] + word + line[pos:], start + len(word), true
}

func (e *editor) commands(prefix string) []string {
	var found []string
	for _, dir := range filepath.SplitList(os.Getenv("PATH")) {
		entries, _ := os.ReadDir(dir)
		for _, entry := range entries {
			if strings.HasPrefix(entry.Name(), prefix) {
				found = append(found, entry.Name())
			}
		}
	}
	slices.Sort(found)
	return slices.Compact(found)
}

func (e *editor) files(prefix string) []string {
	dir, base := filepath.Split(prefix)
	at := dir
	if !filepath.IsAbs(dir) {
		at = filepath.Join(e.runner.Dir, dir)
	}
	entries, _ := os.ReadDir(at)
	var found []string
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), base) {
			continue
		}
		name := dir + entry.Name()
		if entry.IsDir() {
			name += "/"
		}
		found = append(found, name)
	}
	return found
}

func commonPrefix(names []string) string {
	prefix := names[0]
	for _, name := range names[1:] {
		for !strings.HasPrefix(name, prefix) {
			prefix = prefix[:len(prefix)-1]
		}
	}
	return prefix
}
