package machine

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"

	"govmm/bootimage"
	"govmm/bootimage/kernelcache"
	"govmm/devices/pci"
	"govmm/devices/virtio"
	"govmm/kvm"
	"govmm/trace"
)

// Defaults of a Config's zero fields.
const (
	DefaultMemory = 512 << 20
	DefaultCPUs   = 1

	// DefaultCmdline gives the guest its console and has a panicking kernel reset
	// at once, so that the run ends. Devices are found through ACPI and need no words.
	DefaultCmdline = "console=ttyS0 panic=-1"
)

// Config describes a machine. The zero value of every field is useful, but for
// Kernel: a machine needs that or Image.
type Config struct {
	// Memory is the size of guest RAM in bytes, a multiple of 4096, from MinMemory
	// to MaxMemory. Zero means DefaultMemory. Only what the guest touches is used.
	Memory uint64

	// CPUs is the number of vCPUs, 1 to MaxCPUs. Zero means DefaultCPUs.
	CPUs int

	// Kernel is a bzImage or an ELF vmlinux, told apart by content; Initrd may be empty.
	// Both may be file mappings: they are read in New and not kept. A fault while
	// they are read (the file shrank) is an error of New.
	Kernel, Initrd []byte

	// KernelFile and InitrdFile are the files whose content Kernel and Initrd are, if they are. With
	// them nothing is read that need not be: what the guest gets unchanged is mapped privately from the
	// file, so that guests share it in the host's page cache, and Cache knows the kernel's file again. Neither
	// file may be changed in place while the machine is in use; to replace them by rename(2) is
	// harmless. New does not keep them.
	KernelFile, InitrdFile *os.File

	// Direct says who unpacks a bzImage's kernel. The host does it faster, once, and randomizes
	// the kernel's addresses (KASLR), unless the command line has the word nokaslr.
	Direct Direct

	// Cache keeps kernels that the host unpacked. Nil unpacks them each time.
	Cache *kernelcache.Dir

	// Cmdline is the kernel's command line. Empty means DefaultCmdline; a
	// single space gives the kernel an empty one.
	Cmdline string

	// Image, when set, is what to load in place of Kernel, Initrd and Cmdline:
	// for guests that are not Linux, such as hand-written ones.
	Image *bootimage.Plan

	// Console receives what the guest writes to its serial port COM1, from vCPU
	// threads, one call at a time. Nil discards it. A Write that blocks blocks the guest.
	Console io.Writer

	// Devices are the machine's virtio devices in the order in which the guest
	// is to find them. The machine runs them but does not close what is behind them.
	Devices []virtio.Device

	// Transport says how the guest reaches them.
	Transport Transport

	// DebugExit adds the isa-debug-exit port 0xf4.
	DebugExit bool

	// PIT adds an 8254 timer, for guests that are not Linux. Linux finds better ones.
	PIT bool

	// Timeline, if set, records when the stages of the machine's life are reached. The guest
	// gets a port (MarkPort) to which it writes a byte of 1 when its init runs.
	Timeline *Timeline

	// Trace, if set, records exits, doorbells, interrupts and requests; it must have rings for all vCPUs, and be no other
	// machine's. WriteTrace writes them. Nil costs nothing.
	Trace *trace.Recorder

	// Debug is called on a vCPU's thread when the guest has come to a breakpoint or watchpoint, or has made a step, that kvm.VCPU.SetGuestDebug
	// asked for: the vCPU stands between two instructions, and runs on when Debug returns unless that has called Machine.Hold. Without it, such an exit
	// ends the run.
	Debug func(cpu int, v *kvm.VCPU, d kvm.Debug)

	// KVM is the path of the KVM device. Empty means /dev/kvm.
	KVM string

	// Log takes what the machine has to say beside errors. Nil is silent.
	Log *slog.Logger
}

// A ConfigError lists every fault that Validate found.
type ConfigError struct{ Faults []FieldError }

// A FieldError is a fault in one field of a Config.
type FieldError struct {
	Field string // the name in Config
	Fault string
}

func configFault(field, format string, args ...any) error {
	return &ConfigError{[]FieldError{{field, fmt.Sprintf(format, args...)}}}
}

// Error is one line, with every fault.
func (e *ConfigError) Error() string {
	s := make([]string, len(e.Faults))
	for i, f := range e.Faults {
		s[i] = f.Field + ": " + f.Fault
	}
	return strings.Join(s, "; ")
}

// Validate checks everything that can be checked without KVM and without reading
// the images. The error is a *ConfigError.
func (c *Config) Validate() error {
	e := new(ConfigError)
	fault := func(field, format string, args ...any) {
		e.Faults = append(e.Faults, FieldError{field, fmt.Sprintf(format, args...)})
	}
	switch m := c.memory(); {
	case m < MinMemory:
		fault("Memory", "%d bytes are too few for a kernel, give at least %dM", m, MinMemory>>20)
	case m > MaxMemory:
		fault("Memory", "%dG are more than the %dG that a machine can have", m>>30, uint64(MaxMemory)>>30)
	case m%pageSize != 0:
		fault("Memory", "%d bytes are not a multiple of the page size, %d", m, pageSize)
	}
	if n := c.cpus(); n < 1 || n > MaxCPUs {
		fault("CPUs", "%d is out of range, a machine has 1 to %d", n, MaxCPUs)
	}
	if c.Trace != nil && c.Trace.CPUs() < c.cpus() {
		fault("Trace", "it records %d CPUs of %d", c.Trace.CPUs(), c.cpus())
	}
	if len(c.Kernel) == 0 && c.Image == nil {
		fault("Kernel", "there is none")
	}
	switch n := len(c.Devices); {
	case c.Transport == PCI && n > maxPCIDevices:
		fault("Devices", "%d are too many, there are PCI slots for %d", n, maxPCIDevices)
	case c.Transport == MMIO && n > len(virtioGSIs):
		fault("Devices", "%d are too many, there are interrupt lines for %d with the transport mmio", n, len(virtioGSIs))
	case c.Transport != PCI && c.Transport != MMIO:
		fault("Transport", "%d is none", c.Transport)
	}
	for i, d := range c.Devices {
		if d == nil {
			fault("Devices", "number %d is nil", i)
		}
	}
	if len(e.Faults) == 0 {
		return nil
	}
	return e
}

// A Transport is a way in which a guest reaches its virtio devices.
type Transport int

const (
	// PCI is what every kernel of a distribution has, with interrupts of their own for each queue (virtio 1.2, 4.1).
	PCI Transport = iota
	// MMIO is for small kernels without PCI: one page of registers and one interrupt line for each device (4.2).
	MMIO
)

// maxPCIDevices is the number of slots without the host bridge's.
const maxPCIDevices = pci.Slots - 1

const pageSize = 4096

func (c *Config) memory() uint64 {
	if c.Memory == 0 {
		return DefaultMemory
	}
	return c.Memory
}

func (c *Config) cpus() int {
	if c.CPUs == 0 {
		return DefaultCPUs
	}
	return c.CPUs
}

func (c *Config) cmdline() string {
	if c.Cmdline == "" {
		return DefaultCmdline
	}
	return c.Cmdline
}

func (c *Config) kvmPath() string {
	if c.KVM == "" {
		return "/dev/kvm"
	}
	return c.KVM
}

func (c *Config) log() *slog.Logger {
	if c.Log == nil {
		return slog.New(slog.DiscardHandler)
	}
	return c.Log
}

func (c *Config) console() io.Writer {
	w := c.Console
	if w == nil {
		w = io.Discard
	}
	if c.Timeline != nil {
		w = &firstByte{Writer: w, timeline: c.Timeline}
	}
	return w
}
