package memory

// ReadSlice returns the n bytes of RAM from guest-physical address addr on, for
// reading. The whole of [addr, addr+n) must lie in one region, otherwise the
// error is an *AccessError; addr and n may have any value. n may be 0, with addr
// in a region or at its end.
//
// The slice is the guest's RAM and no copy: its contents change under the
// caller, and it is valid until Close. A successful call does not allocate.
func (m *Memory) ReadSlice(addr, n uint64) ([]byte, error) {
	return m.slice(addr, n)
}

// WriteSlice is ReadSlice for a caller that will write to the slice. Whoever
// writes must get the slice from here, so that the memory can know which pages
// the VMM changed.
func (m *Memory) WriteSlice(addr, n uint64) ([]byte, error) {
	return m.slice(addr, n)
}

func (m *Memory) slice(addr, n uint64) ([]byte, error) {
	// Guests have one or two regions: nothing beats a linear search.
	for i := range m.regions {
		if p, ok := m.regions[i].slice(addr, n); ok {
			return p, nil
		}
	}
	return nil, &AccessError{Addr: addr, Size: n}
}

// ReadAt copies RAM from guest-physical address off on into p, as an
// io.ReaderAt. It may cross from a region into one that follows without a gap.
// Where RAM ends, it stops with the number of bytes copied and an *AccessError
// for the rest. There is no io.EOF: RAM may go on behind a hole.
func (m *Memory) ReadAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		addr := uint64(off) + uint64(done)
		ram, err := m.ReadSlice(addr, m.upTo(addr, len(p)-done))
		if err != nil {
			return done, err
		}
		done += copy(p[done:], ram)
	}
	return done, nil
}

// WriteAt copies p to RAM from guest-physical address off on, as an
// io.WriterAt. It may cross from a region into one that follows without a gap.
// Where RAM ends, it stops with the number of bytes copied and an *AccessError
// for the rest.
func (m *Memory) WriteAt(p []byte, off int64) (int, error) {
	done := 0
	for done < len(p) {
		addr := uint64(off) + uint64(done)
		ram, err := m.WriteSlice(addr, m.upTo(addr, len(p)-done))
		if err != nil {
			return done, err
		}
		done += copy(ram, p[done:])
	}
	return done, nil
}

// upTo returns how many of the n bytes from addr on lie in the region that
// holds addr. When addr is not RAM it returns n, so that asking for as many
// bytes reports all of them as missing.
func (m *Memory) upTo(addr uint64, n int) uint64 {
	for i := range m.regions {
		r := &m.regions[i]
		if off := addr - r.Base; addr >= r.Base && off < uint64(len(r.Data)) {
			return min(uint64(n), uint64(len(r.Data))-off)
		}
	}
	return uint64(n)
}
