package compare

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"govmm/compare/child"
	"govmm/compare/probe"
	"govmm/compare/probe/image"
	"govmm/compare/report"
)

// bootLimit is how long a kernel of any kind may take from start to power-off.
const bootLimit = 5 * time.Minute

// legacy is claim 11.
func (c *comparison) legacy(ctx context.Context, k *report.Claim) error {
	booted, err := c.otherKernels(ctx, k, "legacy")
	if err != nil {
		return err
	}
	k.Rows = append(k.Rows, c.row("legacy/service", "a server in it, asked by the host", report.Text, func(p place) report.Cell {
		said, err := c.service(ctx, p)
		check(k, err == nil, "a server in the %s is reached from the host", p.subject().Title)
		if err != nil {
			return missing(err)
		}
		return report.Cell{Text: said}
	}))
	k.Finding = "A kernel of one's own was booted"
	if booted > 0 {
		k.Finding = "Kernels of other versions and of one's own were booted"
	}
	k.Finding += "; services are reached in each place."
	if booted == 0 && judge(k.Checks) == report.Holds {
		k.Verdict = report.Partly
		k.Finding += " No other kernel was."
	}
	return contradicted(k, ctx.Err())
}

// otherKernels boots the other kernels, adds a row for each, and counts those that said what they are.
func (c *comparison) otherKernels(ctx context.Context, k *report.Claim, prefix string) (booted int, err error) {
	own, err := c.factsOf(ctx, c.vm)
	if err != nil {
		return 0, fmt.Errorf("virtual machine: %w", err)
	}
	hosts, err := c.factsOf(ctx, c.host())
	if err != nil {
		return 0, err
	}
	releases := []string{own.Kernel.Release}
	for i, path := range c.Others {
		row := report.Row{ID: fmt.Sprintf("%s/other-%d", prefix, i), Title: "another kernel: " + filepath.Base(path)}
		f, err := c.bootOther(ctx, path)
		cell := report.Cell{Subject: c.vm.subject().ID}
		if err != nil {
			cell.Missing = oneLine(err)
		} else {
			cell.Text = f.Kernel.Release
			releases = append(releases, f.Kernel.Release)
			booted++
		}
		row.Cells = []report.Cell{cell}
		for _, p := range c.containers() {
			row.Cells = append(row.Cells, report.Cell{Subject: p.subject().ID, Text: "has the host's"})
		}
		k.Rows = append(k.Rows, row)
	}
	releases = slices.DeleteFunc(releases, func(r string) bool { return r == hosts.Kernel.Release }) // one of them may be the host's too
	check(k, len(releases) > 0, "kernels were booted that a container cannot have here: %s", list(releases))
	return booted, ctx.Err()
}

// bootOther boots a kernel with the probe as all of its userland, whatever the kernel has built in beside a serial port. Each is booted once.
func (c *comparison) bootOther(ctx context.Context, kernel string) (*probe.Facts, error) {
	id := "kernel " + kernel
	if f, ok := c.facts[id]; ok {
		return f, c.factsErr[id]
	}
	c.tell("booting %s", filepath.Base(kernel))
	f, err := c.bootWithProbe(ctx, kernel)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	c.facts[id], c.factsErr[id] = f, err
	return f, err
}

func (c *comparison) bootWithProbe(ctx context.Context, kernel string) (*probe.Facts, error) {
	if c.vm.missing != nil {
		return nil, c.vm.missing
	}
	archive := filepath.Join(c.dir, "probe.cpio")
	if err := c.writeInitramfs(archive); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeoutCause(ctx, bootLimit, fmt.Errorf("no end after %v", bootLimit))
	defer cancel()
	cmd := exec.CommandContext(ctx, c.Govmm, "boot", "--memory", "512M", "--append", "quiet", kernel, archive)
	child.Bind(cmd)
	out, errs := newCapture(maxOutput), newErrors()
	cmd.Stdout, cmd.Stderr = out, errs
	err := cmd.Run()
	switch {
	case ctx.Err() != nil:
		return nil, context.Cause(ctx)
	case err != nil:
		return nil, (&outcome{err: err, stderr: errs.kept()}).failure()
	}
	f, err := probe.FromConsole(out.kept())
	return &f, err
}

func (c *comparison) writeInitramfs(path string) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(image.Initramfs(f, c.Probe), f.Close())
}

// serve starts the probe's server in a place, and gives the address at which it says that it listens.
func (c *comparison) serve(ctx context.Context, p place, address string) (*started, string, error) {
	j := c.probeJob("serve", "-address", address)
	j.network = true
	return c.startServer(ctx, p, j)
}

func (c *comparison) startServer(ctx context.Context, p place, j job) (*started, string, error) {
	s, err := start(ctx, p, j)
	if err != nil {
		return nil, "", err
	}
	said, err := s.await(ctx)
	if err == nil {
		var l probe.Listening
		if l, err = probe.Decode[probe.Listening](said); err == nil {
			return s, l.Address, nil
		}
	}
	return nil, "", errors.Join(err, s.stop())
}

// service starts a server in a place and asks it from the host.
func (c *comparison) service(ctx context.Context, p place) (string, error) {
	port, err := freePort()
	if err != nil {
		return "", err
	}
	j := c.probeJob("serve", "-address", "127.0.0.1:"+port)
	if p.subject().Kind == report.KindVM {
		j = c.probeJob("serve", "-address", ":80")
		j.forward = port + "-:80"
	}
	j.network = true
	s, _, err := c.startServer(ctx, p, j)
	if err != nil {
		return "", err
	}
	said, err := askServer("127.0.0.1:" + port)
	return said, errors.Join(err, s.stop())
}

// freePort gives a port of the loopback that nobody uses. Somebody may take it before it is used.
func freePort() (string, error) {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	return port, err
}

// askServer gives the line by which a server greets.
func askServer(address string) (string, error) {
	const limit = 10 * time.Second
	conn, err := net.DialTimeout("tcp4", address, limit)
	if err != nil {
		return "", err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(limit)); err != nil {
		return "", err
	}
	line, err := bufio.NewReaderSize(conn, 256).ReadSlice('\n')
	if err != nil {
		return "", err
	}
	return strings.TrimSpace(string(bytes.ToValidUTF8(line, nil))), nil
}
