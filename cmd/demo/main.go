// Command demo boots a stock Linux kernel in govmm and shows, side by side, what the guest
// and the host see of themselves; the guest then writes a file to its disk, and the host reads
// it back. With -shell it gives the guest's shell instead.
//
// It runs govmm through the nested test host's command, which steps aside on a
// machine with hardware virtualization. make demo and make shell build what it needs.
package main

import (
	"context"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"text/tabwriter"
)

// The guest, as the flags of govmm describe it.
const (
	guestMemory = "1G"
	guestCPUs   = "2"
	diskSize    = "64M"
)

// What the initramfs's own command demo does with its arguments: it tells what the guest sees
// and writes them to this file on /dev/vda.
const (
	fileName = "govmm-demo.txt"
	fileText = "written by the guest"
)

type demo struct {
	govmm, nested, kernel, initramfs string

	dir string // of the disk
}

func main() {
	var (
		d     demo
		shell bool
	)
	flag.StringVar(&d.govmm, "govmm", "bin/govmm", "the govmm `program`")
	flag.StringVar(&d.nested, "nested", "bin/nested", "the nested test host's `program`")
	flag.StringVar(&d.kernel, "kernel", "", "the kernel `file` to boot")
	flag.StringVar(&d.initramfs, "initramfs", "", "the initramfs `file`")
	flag.BoolVar(&shell, "shell", false, "give the guest's shell")
	flag.Parse()
	run := d.show
	if shell {
		run = d.shell
	}
	if err := d.withDisk(run); err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
		os.Exit(1)
	}
}

// withDisk makes an ext4 image, calls f and removes the image.
func (d *demo) withDisk(f func() error) (err error) {
	if d.dir, err = os.MkdirTemp("", "govmm-demo-"); err != nil {
		return err
	}
	defer os.RemoveAll(d.dir)
	out, err := exec.Command("/sbin/mke2fs", "-q", "-t", "ext4", d.disk(), diskSize).CombinedOutput()
	if err != nil {
		return fmt.Errorf("mke2fs: %v: %s(it is in Debian's package e2fsprogs)", err, out)
	}
	return f()
}

func (d *demo) disk() string { return filepath.Join(d.dir, "disk.img") }

// command is govmm boot in the nested host. words go to the kernel's command line.
func (d *demo) command(ctx context.Context, words string) (*exec.Cmd, error) {
	paths := []string{d.govmm, d.kernel, d.initramfs}
	for i, p := range paths {
		abs, err := filepath.Abs(p)
		if err != nil {
			return nil, err
		}
		paths[i] = abs
	}
	c := exec.CommandContext(ctx, d.nested, "--share", d.dir, "--",
		paths[0], "boot", "-m", guestMemory, "-c", guestCPUs, "-d", d.disk(), "-a", words, paths[1], paths[2])
	c.Cancel = func() error { return c.Process.Signal(syscall.SIGTERM) }
	return c, nil
}

func (d *demo) shell() error {
	fmt.Printf("The guest has %s CPUs, %s of memory and an empty ext4 disk, /dev/vda. Ctrl-A X or poweroff ends it.\n", guestCPUs, guestMemory)
	c, err := d.command(context.Background(), "quiet TERM="+terminal())
	if err != nil {
		return err
	}
	c.Stdin, c.Stdout, c.Stderr = os.Stdin, os.Stdout, os.Stderr
	return c.Run()
}

// terminal is TERM for the guest, whose shell has a line editor for all but dumb ones.
func terminal() string {
	if t := os.Getenv("TERM"); t != "" {
		return t
	}
	return "dumb"
}

func (d *demo) show() error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	c, err := d.command(ctx, "quiet -- demo "+fileText)
	if err != nil {
		return err
	}
	fmt.Print("booting ", filepath.Base(d.kernel), "\n  | ")
	var console strings.Builder
	c.Stdout = io.MultiWriter(&console, indent{os.Stdout})
	c.Stderr = os.Stderr
	if err := c.Run(); err != nil {
		return fmt.Errorf("govmm boot: %w", err)
	}
	guest := parseInfo(console.String())
	if guest["kernel"] == "" {
		return fmt.Errorf("the guest did not say what it sees")
	}
	fmt.Println()
	if err := compare(os.Stdout, guest, hostInfo()); err != nil {
		return err
	}
	return d.checkFile()
}

// indent shows the guest's console set off from the demo's own lines.
type indent struct{ w io.Writer }

func (i indent) Write(p []byte) (int, error) {
	s := strings.ReplaceAll(string(p), "\r", "")
	_, err := io.WriteString(i.w, strings.ReplaceAll(s, "\n", "\n  | "))
	return len(p), err
}

// parseInfo reads the name=value lines of the guest's command guestinfo.
func parseInfo(console string) map[string]string {
	info := make(map[string]string)
	for line := range strings.Lines(console) {
		name, value, ok := strings.Cut(strings.TrimSpace(line), "=")
		if ok && !strings.ContainsAny(name, " \t[") {
			info[name] = value
		}
	}
	return info
}

func compare(w io.Writer, guest, host map[string]string) error {
	t := tabwriter.NewWriter(w, 0, 0, 3, ' ', 0)
	fmt.Fprintln(t, "\tguest\thost")
	for _, name := range []string{"kernel", "cpus", "memory", "clocksource", "block.vda"} {
		fmt.Fprintf(t, "%s\t%s\t%s\n", name, orDash(guest[name]), orDash(host[name]))
	}
	return t.Flush()
}

func orDash(s string) string {
	if s == "" {
		return "-"
	}
	return s
}

// checkFile reads the guest's file out of the disk image, without mounting it.
func (d *demo) checkFile() error {
	out, err := exec.Command("/sbin/debugfs", "-R", "cat /"+fileName, d.disk()).Output()
	if err != nil {
		return fmt.Errorf("debugfs: %w (it is in Debian's package e2fsprogs)", err)
	}
	if got := strings.TrimSpace(string(out)); got != fileText {
		return fmt.Errorf("the disk holds %q in %s, the guest wrote %q", got, fileName, fileText)
	}
	fmt.Printf("\n%s on the guest's disk, read by the host: %q\n", fileName, fileText)
	return nil
}
