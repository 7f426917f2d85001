// Lesson 12: one program in three places. It looks around as a process of the host, in a container that is made by hand, and as the first process of a
// virtual machine.
package main

import (
	"bytes"
	"context"
	"fmt"
	"log"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"govmm/examples/internal/self"
	"govmm/machine"
)

func main() {
	log.SetFlags(0)
	switch {
	case self.InGuest() && len(os.Args) == 1: // in a container it is process 1 too, but has arguments
		probe("virtual machine", "")
		log.Fatal(self.Reset())
	case len(os.Args) == 4 && os.Args[1] == "probe":
		probe(os.Args[2], os.Args[3])
	case len(os.Args) == 2:
		if err := run(os.Args[1]); err != nil {
			log.Fatal(err)
		}
	default:
		log.Fatal("usage: 12-container KERNEL")
	}
}

// A place is where the program looks around: what it says, and how long its first line took to come.
type place struct {
	name  string
	start func(out *output) error
	out   output
}

func run(kernelPath string) error {
	kernel, err := os.ReadFile(kernelPath)
	if err != nil {
		return err
	}
	server, err := listen()
	if err != nil {
		return err
	}
	places := []*place{
		{name: "host", start: func(out *output) error { return startProcess(out, server) }},
		{name: "container", start: func(out *output) error { return startContainer(out, server) }},
		{name: "virtual machine", start: func(out *output) error { return startMachine(out, kernel) }},
	}
	for _, p := range places {
		p.out.started = time.Now()
		if err := p.start(&p.out); err != nil {
			return fmt.Errorf("%s: %w\n%s", p.name, err, p.out.text.String())
		}
	}
	show(places)
	return nil
}

// startProcess starts this program again.
func startProcess(out *output, server netip.AddrPort) error {
	c := exec.Command("/proc/self/exe", "probe", "host", server.String())
	c.Stdout, c.Stderr = out, out
	return c.Run()
}

// startContainer starts it in namespaces of its own, with a directory for all of its file system in which nothing is but the program.
func startContainer(out *output, server netip.AddrPort) error {
	root, err := os.MkdirTemp("", "container-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(root)
	program, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(root, "program"), program, 0o755); err != nil {
		return err
	}
	c := exec.Command("/program", "probe", "container", server.String())
	c.Stdout, c.Stderr, c.Dir = out, out, "/"
	c.SysProcAttr = &syscall.SysProcAttr{
		Cloneflags: namespaces,
		Chroot:     root,
		// Who is root in the container is the caller outside.
		UidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: 0, HostID: os.Getgid(), Size: 1}},
	}
	return c.Run()
}

// startMachine boots a kernel with the program as its first process.
func startMachine(out *output, kernel []byte) error {
	initrd, err := self.Archive()
	if err != nil {
		return err
	}
	m, err := machine.New(machine.Config{
		Kernel: kernel, Initrd: initrd, Memory: 128 << 20, Console: out, Cmdline: "console=ttyS0 quiet panic=-1",
	})
	if err != nil {
		return err
	}
	defer m.Close()
	_, err = m.Run(context.Background())
	return err
}

// output is what a place writes. It notes when the first line begins.
type output struct {
	text           bytes.Buffer
	started, first time.Time
}

func (o *output) Write(p []byte) (int, error) {
	if o.first.IsZero() {
		o.first = time.Now()
	}
	return o.text.Write(p)
}

// show puts what the places have said beside each other.
func show(places []*place) {
	line := func(name string, cell func(*place) string) {
		fmt.Printf("%-26s%-26s%-26s%s\n", name, cell(places[0]), cell(places[1]), cell(places[2]))
	}
	line("", func(p *place) string { return p.name })
	for _, q := range questions {
		line(q.name, func(p *place) string {
			_, answer, _ := strings.Cut(p.out.text.String(), q.name+": ")
			answer, _, _ = strings.Cut(answer, "\n")
			return strings.TrimSpace(answer)
		})
	}
	line("start to first line", func(p *place) string { return fmt.Sprintf("%d ms", p.out.first.Sub(p.out.started).Milliseconds()) })
}
