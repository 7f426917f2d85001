// Command mkinitramfs makes the archive with the guest's userland: u-root's commands and those of the module in
// bootimage/initramfs/uroot, one program under many names, with the kernel modules that stock kernels need to reach their
// disks and networks.
//
//	mkinitramfs -o initramfs.cpio -modules /lib/modules/6.1.0-56-cloud-amd64
//
// The commands are the tool lines of uroot/go.mod and the directories in uroot/cmds. They are compiled from the Go module
// proxy's sources, whose hashes uroot/go.sum has; this takes half a minute, so the result is kept in the user's cache
// directory, in govmm/initramfs, under a hash of all that goes into it. The rest takes no time and is done always.
// The same inputs give the same bytes.
//
// The archive is not compressed. The guest reads it from memory that the host maps, so its size costs no transfer, while
// decompression delays the first process: Debian's 6.12 kernel takes 170 million instructions to unpack the plain
// archive, and 360 million from gzip or zstd, for which its size goes from 11.9 to 4.3 or 3.5 MB.
//
// What the guest does when it starts is told in the documentation of uroot/cmds/init; -start and -files set it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
)

// defaultModules are what guests of this project need of a kernel that has everything in modules. Kernels differ
// in which of these exist.
var defaultModules = []string{
	"virtio_pci", "virtio_mmio", "virtio_blk", "virtio_net", "virtio_rng", "virtio_balloon", "virtio_console",
	"af_packet", // for DHCP
	// ext4 asks for crc32c by an alias.
	"crc32c_generic", "ext4",
}

type config struct {
	output    string
	uroot     string
	cache     string
	kernels   []string // directories of modules
	modules   []string // nil means defaultModules, as far as they exist
	files     []hostFile
	start     string
	log       io.Writer
	goCommand string
}

// A hostFile is a file or a directory of the host and its name in the archive.
type hostFile struct{ source, name string }

func main() {
	cfg, err := parseFlags(os.Args[1:], os.Stderr)
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, cfg); err != nil {
		fmt.Fprintln(os.Stderr, "mkinitramfs:", err)
		os.Exit(1)
	}
}

func parseFlags(args []string, stderr io.Writer) (config, error) {
	cfg := config{log: stderr, goCommand: "go"}
	if dir, err := os.UserCacheDir(); err == nil {
		cfg.cache = filepath.Join(dir, "govmm", "initramfs")
	}
	f := flag.NewFlagSet("mkinitramfs", flag.ContinueOnError)
	f.SetOutput(stderr)
	f.StringVar(&cfg.output, "o", "initramfs.cpio", "write the archive to `file`")
	f.StringVar(&cfg.uroot, "uroot", "bootimage/initramfs/uroot", "`directory` of the Go module with the guest's commands")
	f.StringVar(&cfg.cache, "cache", cfg.cache, "keep compiled commands in `directory`")
	f.StringVar(&cfg.start, "start", "", "have the guest run these shell `commands` instead of an interactive shell")
	f.Func("modules", "add modules of the kernel with `/lib/modules/VERSION`; may be repeated", func(s string) error {
		cfg.kernels = append(cfg.kernels, s)
		return nil
	})
	f.Func("module", "add and load the module `name` instead of the usual ones; may be repeated", func(s string) error {
		cfg.modules = append(cfg.modules, s)
		return nil
	})
	f.Func("files", "add the file or directory `SRC:DST`; may be repeated", func(s string) error {
		source, name, ok := strings.Cut(s, ":")
		if !ok || source == "" || name == "" {
			return errors.New("not of the form SRC:DST")
		}
		cfg.files = append(cfg.files, hostFile{source, name})
		return nil
	})
	if err := f.Parse(args); err != nil {
		return cfg, err
	}
	if f.NArg() > 0 {
		err := fmt.Errorf("unexpected argument %q", f.Arg(0))
		fmt.Fprintln(stderr, err)
		f.Usage()
		return cfg, err
	}
	return cfg, nil
}

func run(ctx context.Context, cfg config) error {
	userland, err := cachedUserland(ctx, cfg)
	if err != nil {
		return err
	}
	defer userland.Close()
	return writeFile(cfg.output, func(w io.Writer) error { return compose(w, userland, cfg) })
}

// writeFile has write make a file, which appears complete or not at all.
func writeFile(name string, write func(io.Writer) error) error {
	dir := filepath.Dir(name)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return err
	}
	tmp, err := os.CreateTemp(dir, "."+filepath.Base(name)+"-")
	if err != nil {
		return err
	}
	defer os.Remove(tmp.Name())
	defer tmp.Close()
	if err := write(tmp); err != nil {
		return err
	}
	if err := tmp.Chmod(0o644); err != nil {
		return err
	}
	if err := tmp.Close(); err != nil {
		return err
	}
	return os.Rename(tmp.Name(), name)
}
