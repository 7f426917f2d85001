package main

import (
	"bufio"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"govmm/bootimage/initramfs"
	"govmm/bootimage/initramfs/kmod"
)

const (
	startFile = "etc/govmm/start"
	// The list that the guest's init reads, see loadModules in uroot/cmds/init.
	moduleList = "modules.load"
)

// demo is the command that "make demo" has the guest run.
//
//go:embed guest/demo
var demo []byte

// compose writes the whole archive: the compiled commands, which u-root left in userland, and all that surrounds them.
func compose(out io.Writer, userland io.Reader, cfg config) error {
	buffered := bufio.NewWriterSize(out, 1<<20)
	w := initramfs.NewWriter(buffered)
	for _, step := range []func() error{
		func() error { return addSkeleton(w) },
		func() error { return addCommands(w, userland) },
		func() error { return addStart(w, cfg.start) },
		func() error { return addKernels(w, cfg) },
		func() error { return addFiles(w, cfg.files) },
		w.Close,
		buffered.Flush,
	} {
		if err := step(); err != nil {
			return err
		}
	}
	return nil
}

// addSkeleton adds what must be there before init has mounted anything, and the files that programs expect.
func addSkeleton(w *initramfs.Writer) error {
	const character = fs.ModeDevice | fs.ModeCharDevice
	return errors.Join(
		// The kernel opens this one for its first process.
		w.Mknod("dev/console", character|0o600, 5, 1),
		// Go programs open this one when they start without standard files.
		w.Mknod("dev/null", character|0o666, 1, 3),
		w.Mkdir("proc", 0o555),
		w.Mkdir("sys", 0o555),
		w.Mkdir("tmp", 0o777|fs.ModeSticky),
		w.Mkdir("run", 0o755),
		w.Mkdir("mnt", 0o755),
		w.WriteFile("etc/passwd", 0o644, []byte("root:x:0:0:root:/:/bin/sh\n")),
		w.WriteFile("etc/group", 0o644, []byte("root:x:0:\n")),
		w.WriteFile("etc/hosts", 0o644, []byte("127.0.0.1 localhost\n::1 localhost\n")),
		w.Mkdir("root", 0o700),
		w.Symlink("init", "bin/init"),
		w.WriteFile("bin/demo", 0o755, demo),
	)
}

// addCommands copies u-root's archive, moving its directory of commands to where scripts look for a shell.
func addCommands(w *initramfs.Writer, userland io.Reader) error {
	r := initramfs.NewReader(bufio.NewReaderSize(userland, 1<<20))
	for {
		h, err := r.Next()
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
		name, ok := strings.CutPrefix(h.Name+"/", "bbin/")
		if !ok {
			return fmt.Errorf("unexpected %s among the compiled commands", h.Name)
		}
		if err := copyEntry(w, r, h, path.Join("bin", name)); err != nil {
			return err
		}
	}
}

func copyEntry(w *initramfs.Writer, r io.Reader, h *initramfs.Header, name string) error {
	switch {
	case h.Mode.IsDir():
		return w.Mkdir(name, h.Mode)
	case h.Mode.Type() == fs.ModeSymlink:
		return w.Symlink(name, h.Linkname)
	case h.Mode.IsRegular() && h.Links <= 1: // u-root leaves it at zero
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		return w.WriteFile(name, h.Mode, data)
	}
	return fmt.Errorf("unexpected %v with %d links, %s, among the compiled commands", h.Mode, h.Links, h.Name)
}

func addStart(w *initramfs.Writer, commands string) error {
	if commands == "" {
		return nil
	}
	return w.WriteFile(startFile, 0o755, []byte("#!/bin/sh\n"+commands+"\n"))
}

func addKernels(w *initramfs.Writer, cfg config) error {
	for _, dir := range cfg.kernels {
		if err := addKernel(w, dir, cfg); err != nil {
			return err
		}
	}
	return nil
}

// addKernel adds the modules in dir, all in one directory, and the list of them in the order of loading.
func addKernel(w *initramfs.Writer, dir string, cfg config) error {
	tree, err := kmod.Open(dir)
	if err != nil {
		return err
	}
	names := cfg.modules
	if names == nil {
		for _, name := range defaultModules {
			if tree.Has(name) {
				names = append(names, name)
			}
		}
	}
	modules, err := tree.Resolve(names...)
	if err != nil || len(modules) == 0 {
		return err
	}
	guestDir := path.Join("lib/modules", modules[0].Release)
	var list strings.Builder
	for _, m := range modules {
		file := m.Name + ".ko"
		if err := w.WriteFile(path.Join(guestDir, file), 0o644, m.Data); err != nil {
			return err
		}
		fmt.Fprintln(&list, file)
	}
	return w.WriteFile(path.Join(guestDir, moduleList), 0o644, []byte(list.String()))
}

func addFiles(w *initramfs.Writer, files []hostFile) error {
	for _, f := range files {
		err := filepath.WalkDir(f.source, func(file string, entry fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			relative, err := filepath.Rel(f.source, file)
			if err != nil {
				return err
			}
			return addFile(w, file, path.Join(f.name, filepath.ToSlash(relative)), file == f.source)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// addFile adds a file of the host. Of its mode only whether it is executable counts, because the rest is the
// host's umask. A link is followed if it was named on the command line.
func addFile(w *initramfs.Writer, file, name string, follow bool) error {
	stat := os.Lstat
	if follow {
		stat = os.Stat
	}
	info, err := stat(file)
	if err != nil {
		return err
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return w.Mkdir(name, 0o755)
	case mode.Type() == fs.ModeSymlink:
		target, err := os.Readlink(file)
		if err != nil {
			return err
		}
		return w.Symlink(name, target)
	case mode.IsRegular():
		data, err := os.ReadFile(file)
		if err != nil {
			return err
		}
		guestMode := fs.FileMode(0o644)
		if mode.Perm()&0o111 != 0 {
			guestMode = 0o755
		}
		return w.WriteFile(name, guestMode, data)
	}
	return fmt.Errorf("%s is neither file, directory nor link", file)
}
