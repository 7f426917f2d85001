// Package kernel has the configuration of govmm's own kernel for guests: small, all built in, and quick to boot.
//
// The configuration is kept in fragments, the files named *.config: what is in none of them is off. README.md tells
// how it is built.
package kernel

import (
	"embed"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

//go:embed *.config
var fragments embed.FS

// extension ends the names of fragments' files.
const extension = ".config"

// base are the fragments that every kernel has.
var base = []string{"base", "virtio", "filesystems"}

// A Config is a set of options for the kernel's build.
type Config struct {
	names  []string          // in the order of their first appearance
	values map[string]string // "n" is an option that is off
}

// New returns the configuration of the fragments that every kernel has and of the given ones, in this order. A
// fragment that ends in .config is a file of the user's; any other is one of this package's, "debug" for instance.
// What two fragments set is as the later one says.
func New(extra ...string) (Config, error) {
	c := Config{values: make(map[string]string)}
	for _, name := range base {
		if err := c.readOwn(name); err != nil {
			return Config{}, err
		}
	}
	for _, name := range extra {
		read := c.readOwn
		if strings.HasSuffix(name, extension) {
			read = c.readFile
		}
		if err := read(name); err != nil {
			return Config{}, err
		}
	}
	return c, nil
}

func (c *Config) readOwn(name string) error {
	text, err := fragments.ReadFile(name + extension)
	if err != nil {
		return fmt.Errorf("no fragment %q: give debug, or a file whose name ends in %s", name, extension)
	}
	return c.add(name+extension, string(text))
}

func (c *Config) readFile(path string) error {
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	return c.add(path, string(text))
}

// add takes the options of a text in the kernel's format.
func (c *Config) add(file, text string) error {
	line := 0
	for s := range strings.Lines(text) {
		line++
		name, value, ok := option(s)
		switch {
		case ok:
			if _, known := c.values[name]; !known {
				c.names = append(c.names, name)
			}
			c.values[name] = value
		case strings.TrimSpace(s) != "" && !strings.HasPrefix(s, "#"):
			return fmt.Errorf("%s:%d: %q is neither CONFIG_NAME=VALUE nor a comment", file, line, strings.TrimSpace(s))
		}
	}
	return nil
}

// option takes a line of a configuration apart: CONFIG_NAME=VALUE, or "# CONFIG_NAME is not set".
func option(line string) (name, value string, ok bool) {
	line = strings.TrimSpace(line)
	if off, found := strings.CutPrefix(line, "# CONFIG_"); found {
		if name, found = strings.CutSuffix(off, " is not set"); found {
			return "CONFIG_" + name, "n", true
		}
		return "", "", false
	}
	name, value, ok = strings.Cut(line, "=")
	return name, value, ok && strings.HasPrefix(name, "CONFIG_") && value != ""
}

// String returns the options in the kernel's format, as KCONFIG_ALLCONFIG takes them.
func (c Config) String() string {
	var b strings.Builder
	for _, name := range c.names {
		if value := c.values[name]; value == "n" {
			fmt.Fprintf(&b, "# %s is not set\n", name)
		} else {
			fmt.Fprintf(&b, "%s=%s\n", name, value)
		}
	}
	return b.String()
}

// Check compares the configuration with the one that the kernel's build made of it, the text of its .config. The build
// says nothing of an option that does not exist, or needs another that is off; the error names each of them.
func (c Config) Check(dotConfig string) error {
	got := make(map[string]string)
	for line := range strings.Lines(dotConfig) {
		if name, value, ok := option(line); ok {
			got[name] = value
		}
	}
	var errs []error
	for _, name := range c.names {
		have, known := got[name]
		if !known {
			have = "n"
		}
		if want := c.values[name]; have != want {
			errs = append(errs, fmt.Errorf("%s=%s has become %s", name, want, have))
		}
	}
	return errors.Join(errs...)
}

// Label names a kernel with the given extra fragments: "tiny", "tiny-debug".
func Label(extra ...string) string {
	label := "tiny"
	for _, name := range extra {
		label += "-" + strings.TrimSuffix(filepath.Base(name), extension)
	}
	return label
}
