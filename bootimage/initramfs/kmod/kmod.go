// Package kmod finds the files of kernel modules and the order in which they can be loaded.
//
// It reads a /lib/modules/VERSION directory of the host, as installed or as unpacked from a package. Dependencies come from
// the modules' own .modinfo sections and not from modules.dep, which depmod makes only when a package is installed. Left out
// are aliases and soft dependencies: name the modules that are meant.
//
// The directory is the host's own and trusted. Compressed modules are decompressed here, since not every kernel can do
// it; for .xz and .zst files the programs xz and zstd must be installed.
package kmod

import (
	"bytes"
	"compress/gzip"
	"debug/elf"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// A Module is a kernel module as the kernel takes it.
type Module struct {
	Name    string // with underscores, such as virtio_blk
	Release string // of the kernel that it was built for, as in uname -r
	Data    []byte // the ELF file, with its signature if it has one
}

// A Tree is a directory of modules. It may be used by several goroutines at once.
type Tree struct {
	dir     string
	files   map[string]string // by the name of the module
	builtin map[string]bool
}

// Open lists the modules below dir. It reads none of them.
func Open(dir string) (*Tree, error) {
	t := &Tree{dir: dir, files: make(map[string]string), builtin: make(map[string]bool)}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, fmt.Errorf("%s is no directory of kernel modules: %w", dir, err)
	}
	for line := range strings.Lines(string(builtin)) {
		t.builtin[moduleName(strings.TrimSpace(line))] = true
	}
	err = filepath.WalkDir(dir, func(file string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		// The links build and source lead to the kernel's headers.
		if entry.Type().IsRegular() && isModule(entry.Name()) {
			t.files[moduleName(file)] = file
		}
		return nil
	})
	return t, err
}

// Has reports whether there is a module of the given name, in a file or built into the kernel. Dashes and
// underscores are the same in names.
func (t *Tree) Has(name string) bool {
	name = canonical(name)
	return t.builtin[name] || t.files[name] != ""
}

// Resolve returns the named modules and all that these depend on, each after those it depends on. What
// is built into the kernel is left out. An unknown name is an error that matches fs.ErrNotExist.
func (t *Tree) Resolve(names ...string) ([]Module, error) {
	r := resolver{tree: t, seen: make(map[string]bool)}
	for _, name := range names {
		if err := r.add(name); err != nil {
			return nil, err
		}
	}
	return r.list, nil
}

type resolver struct {
	tree *Tree
	seen map[string]bool
	list []Module
}

func (r *resolver) add(name string) error {
	name = canonical(name)
	if r.seen[name] || r.tree.builtin[name] {
		return nil
	}
	r.seen[name] = true
	file, ok := r.tree.files[name]
	if !ok {
		return fmt.Errorf("kernel module %s in %s: %w", name, r.tree.dir, fs.ErrNotExist)
	}
	data, err := readFile(file)
	if err != nil {
		return err
	}
	info, err := moduleInfo(data)
	if err != nil {
		return fmt.Errorf("%s: %w", file, err)
	}
	for dependency := range strings.SplitSeq(info["depends"], ",") {
		if dependency == "" {
			continue
		}
		if err := r.add(dependency); err != nil {
			return fmt.Errorf("%s needs %w", name, err)
		}
	}
	release, _, _ := strings.Cut(info["vermagic"], " ")
	if release == "" {
		return fmt.Errorf("%s does not tell which kernel it is for", file)
	}
	r.list = append(r.list, Module{Name: name, Release: release, Data: data})
	return nil
}

// moduleInfo gives the contents of the .modinfo section: KEY=VALUE strings, each ended by a zero byte.
func moduleInfo(data []byte) (map[string]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("no kernel module: section .modinfo is missing")
	}
	raw, err := section.Data()
	if err != nil {
		return nil, err
	}
	info := make(map[string]string)
	for field := range strings.SplitSeq(string(raw), "\x00") {
		if key, value, ok := strings.Cut(field, "="); ok {
			info[key] = value
		}
	}
	return info, nil
}

const suffix = ".ko"

// decompressors are the programs for compressed modules, by the suffix after .ko.
var decompressors = map[string][]string{
	".xz":  {"xz", "-dc"},
	".zst": {"zstd", "-dcq"},
}

func isModule(file string) bool {
	ext := filepath.Ext(file)
	if ext == suffix {
		return true
	}
	_, known := decompressors[ext]
	return (known || ext == ".gz") && strings.HasSuffix(strings.TrimSuffix(file, ext), suffix)
}

func readFile(file string) ([]byte, error) {
	f, err := os.Open(file)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	ext := filepath.Ext(file)
	if ext == ".gz" {
		z, err := gzip.NewReader(f)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", file, err)
		}
		return io.ReadAll(z)
	}
	args, ok := decompressors[ext]
	if !ok {
		return io.ReadAll(f)
	}
	var stderr bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin, cmd.Stderr = f, &stderr
	data, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", file, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return data, nil
}

func moduleName(file string) string {
	name, _, _ := strings.Cut(filepath.Base(file), ".")
	return canonical(name)
}

func canonical(name string) string { return strings.ReplaceAll(name, "-", "_") }
