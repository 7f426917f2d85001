package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"govmm/agent"
	"govmm/agent/guest"
	"govmm/bootimage/initramfs"
	"govmm/bootimage/rootfs"
	"govmm/devices/virtio/netif/usernet"
	"govmm/sandbox"
)

// kernelVariable names a kernel for those who do not want to say it each time.
const kernelVariable = "GOVMM_KERNEL"

// defaultKernel finds the kernel of a user who has not named one.
func defaultKernel() (string, error) {
	if path := os.Getenv(kernelVariable); path != "" {
		return path, nil
	}
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("no kernel: %w; give --kernel FILE", err)
	}
	// As cmd/nested keeps it, which make kernel runs.
	found, _ := filepath.Glob(filepath.Join(cache, "govmm/kernels/tiny/boot/vmlinuz-*"))
	if len(found) == 0 {
		return "", fmt.Errorf("no kernel in %s; give --kernel FILE or set %s, or build the small one with: make kernel", filepath.Join(cache, "govmm/kernels"), kernelVariable)
	}
	return found[len(found)-1], nil
}

// guestAddresses gives the addresses that the guest of a network is to have; nil where only others know them.
func guestAddresses(b backend) *agent.Network {
	switch b := b.(type) {
	case *usernet.Backend:
		guest, gateway, dns := b.Addresses()
		return &agent.Network{Address: guest.String(), Gateway: gateway.String(), DNS: dns.String()}
	case *guardedTap:
		if guest, gateway := b.Guest(); guest.IsValid() {
			return &agent.Network{Address: guest.String(), Gateway: gateway.String()}
		}
	}
	return nil
}

// kernelNeeds is what a small kernel takes of memory, and a command at least.
const kernelNeeds = 48 << 20

// fits holds that there is memory for what is unpacked from an archive of n bytes: it goes to a tmpfs, which takes half of all memory at most. Without, the
// kernel would panic.
func (f *runFlags) fits(n uint64) error {
	if need := size(2*n + kernelNeeds); need > f.memory {
		rounded := (need + 1<<20 - 1) &^ (1<<20 - 1)
		return fmt.Errorf("--rootfs: %s needs more memory than %s; give --memory %s", f.rootfs, &f.memory, &rounded)
	}
	return nil
}

// initrd makes the guest's root file system in memory: a copy of the user's, an init, and what that is to do. The caller closes it.
func (f *runFlags) initrd() (*arena, error) {
	a, err := newArena()
	if err != nil {
		return nil, err
	}
	if err := f.writeInitrd(a); err != nil {
		a.close()
		return nil, err
	}
	return a, nil
}

func (f *runFlags) writeInitrd(archive io.Writer) error {
	w := initramfs.NewWriter(archive)
	report, err := rootfs.Write(w, f.rootfs, rootfs.Options{Owner: sandbox.Owners()})
	sandbox.ForgetOwners()
	if err != nil {
		return fmt.Errorf("--rootfs: %w", err)
	}
	if text := report.Warning(); text != "" {
		fmt.Fprintf(stderr, "govmm: %s: %s\n", f.rootfs, text)
	}
	if err := addAgent(w, &f.spec); err != nil {
		return err
	}
	return w.Close()
}

// addAgent adds the init and the specification.
func addAgent(w *initramfs.Writer, spec *agent.Spec) error {
	program, err := initProgram()
	if err != nil {
		return err
	}
	text, err := spec.Encode()
	if err != nil {
		return err
	}
	if err := w.WriteFile(agent.InitPath, 0o755, program); err != nil {
		return err
	}
	return w.WriteFile(agent.SpecPath, 0o600, text)
}

// maxKernelLog is how much of the kernel's messages is kept for an error.
const maxKernelLog = 16 << 10

// A kernelLog takes what the kernel says: it is shown with --verbose, and its end is what an error has to say.
type kernelLog struct {
	show bool

	mu   sync.Mutex
	tail []byte
}

func newKernelLog(show bool) *kernelLog { return &kernelLog{show: show} }

// Write implements io.Writer.
func (k *kernelLog) Write(p []byte) (int, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.tail = append(k.tail, p...)
	if over := len(k.tail) - maxKernelLog; over > 0 {
		k.tail = append(k.tail[:0], k.tail[over:]...)
	}
	if k.show {
		_, _ = stderr.Write(p)
	}
	return len(p), nil
}

// last gives the last line, or that of a panic, for an error of one line.
func (k *kernelLog) last() string {
	k.mu.Lock()
	defer k.mu.Unlock()
	var last string
	for line := range bytes.Lines(k.tail) {
		text := strings.TrimSpace(string(line))
		switch {
		case strings.Contains(text, "Kernel panic"):
			return "its kernel says: " + text
		case strings.Contains(text, guest.Complaint):
			_, complaint, _ := strings.Cut(text, guest.Complaint)
			return "its init says: " + complaint
		case text != "":
			last = text
		}
	}
	if last == "" {
		return "its kernel has said nothing; --verbose shows all of it"
	}
	return "its kernel said last: " + last + "; --verbose shows all of it"
}
