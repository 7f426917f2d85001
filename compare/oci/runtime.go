package oci

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"govmm/compare/child"
)

// known are the runtimes that Installed looks for. Their command lines have the same form.
var known = []string{"runc", "crun"}

// A Runtime is a program that runs bundles. It can be used by several goroutines at once.
type Runtime struct {
	name     string
	path     string   // empty with a template
	template []string // words with {bundle} and {id}
}

// Find finds a runtime by its name on PATH or by its path. It is taken to have runc's command line.
func Find(name string) (*Runtime, error) {
	path, err := exec.LookPath(name)
	if err != nil {
		remedy := "give a path, or a program on PATH"
		if slices.Contains(known, name) {
			remedy = "apt-get install " + name
		}
		return nil, fmt.Errorf("runtime %s: %w; %s", name, bare(err), remedy)
	}
	if path, err = filepath.Abs(path); err != nil {
		return nil, err
	}
	return &Runtime{name: filepath.Base(name), path: path}, nil
}

func bare(err error) error {
	if e, ok := errors.AsType[*exec.Error](err); ok {
		return e.Err
	}
	return err
}

// FromTemplate makes a runtime of a command line, in which {bundle} stands for the directory of the bundle and {id} for the container's name. Words are divided by
// spaces; ' and " hold them together. It runs in the directory of the bundle.
func FromTemplate(template string) (*Runtime, error) {
	words, err := split(template)
	if err != nil {
		return nil, fmt.Errorf("%q: %w", template, err)
	}
	if len(words) == 0 || !strings.Contains(template, "{bundle}") || !strings.Contains(template, "{id}") {
		return nil, fmt.Errorf("%q: needs a program, {bundle} and {id}", template)
	}
	path, err := exec.LookPath(words[0])
	if err != nil {
		return nil, fmt.Errorf("%q: %w", template, bare(err))
	}
	if words[0], err = filepath.Abs(path); err != nil {
		return nil, err
	}
	return &Runtime{name: filepath.Base(path), template: words}, nil
}

// split divides a command line into words.
func split(line string) (words []string, err error) {
	var word strings.Builder
	var quote rune
	within := false
	for _, r := range line {
		switch {
		case quote != 0 && r == quote:
			quote = 0
		case quote != 0:
			word.WriteRune(r)
		case r == '\'' || r == '"':
			quote, within = r, true
		case r == ' ' || r == '\t':
			if within {
				words = append(words, word.String())
				word.Reset()
			}
			within = false
		default:
			word.WriteRune(r)
			within = true
		}
	}
	if quote != 0 {
		return nil, errors.New("a quotation mark is missing")
	}
	if within {
		words = append(words, word.String())
	}
	return words, nil
}

// Installed gives those of the common runtimes that are on PATH.
func Installed() []*Runtime {
	var list []*Runtime
	for _, name := range known {
		if r, err := Find(name); err == nil {
			list = append(list, r)
		}
	}
	return list
}

// Name is the runtime's name, without directories.
func (r *Runtime) Name() string { return r.name }

// versionLimit is how long a runtime may take to say its version.
const versionLimit = 10 * time.Second

// Version gives the first line that the runtime says of its version.
func (r *Runtime) Version(ctx context.Context) (string, error) {
	path := r.path
	if path == "" {
		path = r.template[0]
	}
	out, err := child.Output(ctx, versionLimit, path, "--version")
	if err != nil {
		return "", fmt.Errorf("%s --version: %w", r.name, err)
	}
	line, _, _ := bytes.Cut(out, []byte("\n"))
	return child.Printable(line), nil
}
