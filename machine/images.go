package machine

import (
	"errors"
	"fmt"
	"os"
	"runtime/debug"

	"govmm/bootimage"
	"govmm/bootimage/kernelcache"
	"govmm/bootimage/payload"
)

// Direct says who unpacks the kernel that a bzImage carries.
type Direct int

const (
	DirectAuto   Direct = iota // the host, or where it cannot the guest, with a line in the log
	DirectAlways               // the host, or New fails
	DirectNever                // the guest
)

// images is what the guest is started from, beside what the configuration has.
type images struct {
	kernel   *kernelcache.Entry // the unpacked kernel; nil where there is none, or the guest unpacks it
	indirect error              // why it could not be unpacked
}

// release gives back what the images took beside guest RAM.
func (i images) release() error {
	if i.kernel == nil {
		return nil
	}
	err := i.kernel.Release()
	if !i.kernel.Hit {
		// The unpacked kernel, and what the decoder took: memory that this process will not use
		// again, and that the runtime would keep for minutes.
		debug.FreeOSMemory()
	}
	return err
}

// getImages unpacks the kernel, or finds it unpacked.
func (m *Machine) getImages() (i images) {
	i.kernel, i.indirect = m.unpackKernel()
	return i
}

// guardFaults runs f, which touches foreign mappings. A file that has shrunk since it was mapped raises SIGBUS,
// which SetPanicOnFault turns into a panic of this goroutine and recover into an error.
func guardFaults(f func() error) (err error) {
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	defer func() {
		if r := recover(); r != nil {
			if _, fault := r.(interface{ Addr() uintptr }); !fault {
				panic(r)
			}
			err = errors.New("the kernel or initrd changed on disk while it was read")
		}
	}()
	return f()
}

// unpackKernel gives what a bzImage unpacks to, or nil for what is not to be unpacked.
func (m *Machine) unpackKernel() (*kernelcache.Entry, error) {
	if m.cfg.Image != nil || m.cfg.Direct == DirectNever {
		return nil, nil
	}
	if kind, err := bootimage.Identify(m.cfg.Kernel); err != nil || kind != bootimage.BzImage {
		return nil, nil // Load says what is wrong
	}
	unpack := func(image []byte) ([]byte, error) {
		p, err := payload.Find(image)
		if err != nil {
			return nil, err
		}
		data, err := p.Unpack()
		bootimage.Trim(data)
		return data, err
	}
	if m.cfg.Cache == nil {
		data, err := unpack(m.cfg.Kernel)
		if err != nil {
			return nil, err
		}
		m.cfg.Timeline.Mark(StageUnpacked)
		return &kernelcache.Entry{Data: data}, nil
	}
	e, err := m.cfg.Cache.Open(m.cfg.KernelFile, m.cfg.Kernel, unpack)
	if err != nil {
		return nil, err
	}
	if e.Hit {
		m.cfg.Timeline.Mark(StageCacheHit)
		return e, nil
	}
	m.cfg.Timeline.Mark(StageUnpacked)
	if e.Err != nil {
		m.log.Warn("the kernel will have to be unpacked again next time", "err", e.Err)
	}
	return e, nil
}

// linuxPlan plans the boot of the kernel: directly where it was unpacked, else by its own decompressor.
func (m *Machine) linuxPlan(p bootimage.Params, i images) (*bootimage.Plan, error) {
	if i.kernel != nil {
		p.Unpacked = i.kernel.Data
		plan, err := bootimage.Load(m.cfg.Kernel, p)
		if err == nil || !errors.Is(err, bootimage.ErrIndirect) {
			return plan, err
		}
		i.indirect, p.Unpacked = err, nil
	}
	plan, err := bootimage.Load(m.cfg.Kernel, p)
	if err != nil || i.indirect == nil {
		return plan, err // what is wrong with the header is said first
	}
	legal := errors.Is(i.indirect, payload.ErrUnsupported) || errors.Is(i.indirect, bootimage.ErrIndirect)
	if m.cfg.Direct == DirectAlways || !legal {
		return nil, i.indirect
	}
	m.log.Warn("the guest unpacks its kernel itself, which takes longer", "why", i.indirect)
	return plan, nil
}

// fileOf is the file that a segment's bytes are part of, nil if it is not known.
func (m *Machine) fileOf(s bootimage.Segment, i images) *os.File {
	switch {
	case s.Source == bootimage.FromKernel:
		return m.cfg.KernelFile
	case s.Source == bootimage.FromInitrd:
		return m.cfg.InitrdFile
	case s.Source == bootimage.FromUnpacked && i.kernel != nil:
		return i.kernel.File
	}
	return nil
}

// mapFrom is the size from which on a segment is mapped rather than copied: a mapping costs a
// system call and a fault for each page that is used.
const mapFrom = 64 << 10

// place puts a segment into RAM: as a private mapping of its file, so that it is not read now and shares
// its pages with other guests, or as a copy.
func (m *Machine) place(s bootimage.Segment, i images) error {
	how := "copied"
	f := m.fileOf(s, i)
	if f != nil && len(s.Data) >= mapFrom && !s.Changed && m.ram.MapFile(f, s.Offset, s.Addr, s.Data) == nil {
		how = "mapped"
	} else if err := m.copy(s, f); err != nil {
		return fmt.Errorf("%s: %w", s.Name, err)
	}
	m.log.Debug("loaded", "what", s.Name, "addr", fmt.Sprintf("%#x", s.Addr), "bytes", len(s.Data), "how", how)
	return nil
}

// copy copies a segment's bytes, from their file if there is one: that takes no faults where Data is
// a mapping that was not touched.
func (m *Machine) copy(s bootimage.Segment, f *os.File) error {
	if f != nil && len(s.Data) >= mapFrom {
		ram, err := m.ram.WriteSlice(s.Addr, uint64(len(s.Data)))
		if err != nil {
			return err
		}
		if n, _ := f.ReadAt(ram, int64(s.Offset)); n == len(ram) {
			return nil
		}
	}
	_, err := m.ram.WriteAt(s.Data, int64(s.Addr))
	return err
}
