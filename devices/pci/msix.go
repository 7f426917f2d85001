package pci

import (
	"encoding/binary"
	"errors"
	"fmt"
	"sync"

	"govmm/devices"
)

const (
	capMSIX = 0x11 // capability ID (Appendix H)

	msixEnable = 1 << 15 // in message control (6.8.2.3)
	msixMask   = 1 << 14

	entrySize    = 16 // of the table (6.8.2): address, upper address, data, vector control
	vectorMasked = 1  // in vector control

	// MaxVectors is the largest MSI-X table that AddMSIX takes: one that fits into a page, as does its
	// pending bit array.
	MaxVectors = 4096 / entrySize
)

// A Message is what a vector writes, and where (6.8.2).
type Message struct {
	Addr uint64
	Data uint32
}

// A Vector carries the messages of one entry of an MSI-X table.
type Vector interface {
	// Trigger sends the message that was set last.
	devices.IRQ
	// SetMessage chooses the message. It is called before the first Trigger.
	SetMessage(m Message) error
}

// An MSIX is the MSI-X capability of a function with its table and pending bits. All methods are
// safe for concurrent use.
type MSIX struct {
	vectors []Vector
	fail    func(error)

	// mu is held for reading while a message is sent, so that none is sent once the write that masks it is done.
	mu      sync.RWMutex
	control uint16 // enable and mask bits of message control
	entries []entry
}

// An entry is one of the table's. Software owns all of it but pending and set.
type entry struct {
	message Message
	control uint32
	pending bool
	set     Message // what the vector was told last
	known   bool    // set is that
}

// NewMSIX returns an MSIX with a table of as many entries as there are vectors. It tells fail when the host cannot take a
// message; the interrupt is then lost.
func NewMSIX(vectors []Vector, fail func(error)) (*MSIX, error) {
	if n := len(vectors); n == 0 || n > MaxVectors {
		return nil, fmt.Errorf("pci: %d MSI-X vectors, not 1 to %d", n, MaxVectors)
	}
	if fail == nil {
		return nil, errors.New("pci: fail is required")
	}
	m := &MSIX{vectors: vectors, fail: fail, entries: make([]entry, len(vectors))}
	for i := range m.entries {
		m.entries[i].control = vectorMasked // 6.8.2.9
	}
	return m, nil
}

// AddMSIX gives the function the capability. Table and pending bit array are in the memory BAR bar at these
// offsets, a page each; its Handler passes accesses on to them.
func (f *Function) AddMSIX(m *MSIX, bar int, table, pending uint32) error {
	body := make([]byte, 10)
	le := binary.LittleEndian
	le.PutUint16(body, uint16(len(m.entries)-1))
	le.PutUint32(body[2:], table|uint32(bar))
	le.PutUint32(body[6:], pending|uint32(bar))
	writable := make([]byte, 2)
	le.PutUint16(writable, msixEnable|msixMask)
	at, err := f.AddCapability(capMSIX, body, writable)
	f.msix, f.msixAt = m, at+2
	return err
}

// Enabled reports whether software uses MSI-X.
func (m *MSIX) Enabled() bool {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.control&msixEnable != 0
}

// Len returns the number of entries.
func (m *MSIX) Len() int { return len(m.entries) }

// Trigger sends the message of entry i, or notes that it is pending while it is masked. It does nothing while
// MSI-X is not enabled, and for entries that there are not.
func (m *MSIX) Trigger(i uint16) {
	if int(i) >= len(m.entries) {
		return
	}
	m.mu.RLock()
	live := m.live(int(i))
	if live {
		m.send(int(i))
	}
	m.mu.RUnlock()
	if live {
		return
	}
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.live(int(i)) {
		m.send(int(i)) // unmasked meanwhile
	} else {
		m.entries[i].pending = m.control&msixEnable != 0
	}
}

// live reports whether entry i sends. It is called with mu held.
func (m *MSIX) live(i int) bool {
	return m.control&(msixEnable|msixMask) == msixEnable && m.entries[i].control&vectorMasked == 0
}

func (m *MSIX) send(i int) {
	if err := m.vectors[i].Trigger(); err != nil {
		m.fail(err)
	}
}

// setControl takes what software wrote to message control.
func (m *MSIX) setControl(v uint16) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.control = v & (msixEnable | msixMask)
	for i := range m.entries {
		if m.control&msixEnable == 0 {
			m.entries[i].pending = false
		}
		m.settle(i)
	}
}

// settle tells the vector of a live entry its message, and sends what is pending. It is called with mu held.
func (m *MSIX) settle(i int) {
	e := &m.entries[i]
	if !m.live(i) {
		return
	}
	if !e.known || e.set != e.message {
		if err := m.vectors[i].SetMessage(e.message); err != nil {
			m.fail(err)
			return
		}
		e.set, e.known = e.message, true
	}
	if e.pending {
		e.pending = false
		m.send(i)
	}
}

// Table returns the handler of the table, a page. Accesses of other than 4 or 8 aligned bytes are undefined (6.8.2) and
// do nothing.
func (m *MSIX) Table() devices.Handler { return (*table)(m) }

type table MSIX

func (t *table) Read(off uint64, p []byte) {
	clear(p)
	if len(p) < 4 || off%uint64(len(p)) != 0 {
		return
	}
	t.mu.RLock()
	defer t.mu.RUnlock()
	for i := uint64(0); i < uint64(len(p)); i += 4 {
		binary.LittleEndian.PutUint32(p[i:], t.word(off+i))
	}
}

// word returns 32 bits of the table.
func (t *table) word(off uint64) uint32 {
	if off/entrySize >= uint64(len(t.entries)) {
		return 0
	}
	e := &t.entries[off/entrySize]
	switch off % entrySize {
	case 0:
		return uint32(e.message.Addr)
	case 4:
		return uint32(e.message.Addr >> 32)
	case 8:
		return e.message.Data
	}
	return e.control
}

func (t *table) Write(off uint64, p []byte) {
	if len(p) < 4 || off%uint64(len(p)) != 0 || off/entrySize >= uint64(len(t.entries)) {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	e := &t.entries[off/entrySize]
	for i := uint64(0); i < uint64(len(p)); i += 4 {
		e.setWord((off+i)%entrySize, binary.LittleEndian.Uint32(p[i:]))
	}
	// Software masks an entry before it changes it (6.8.2.9). If it does not, a message of
	// two halves is not told to the vector more than once each.
	(*MSIX)(t).settle(int(off / entrySize))
}

func (e *entry) setWord(off uint64, v uint32) {
	switch off {
	case 0:
		e.message.Addr = e.message.Addr&^0xffffffff | uint64(v&^3)
	case 4:
		e.message.Addr = e.message.Addr&0xffffffff | uint64(v)<<32
	case 8:
		e.message.Data = v
	case 12:
		e.control = v & vectorMasked
	}
}

// Pending returns the handler of the pending bit array, a page, which software only reads.
func (m *MSIX) Pending() devices.Handler { return (*pending)(m) }

type pending MSIX

func (b *pending) Read(off uint64, p []byte) {
	clear(p)
	b.mu.RLock()
	defer b.mu.RUnlock()
	for i := range b.entries {
		if at := uint64(i / 8); b.entries[i].pending && at >= off && at-off < uint64(len(p)) {
			p[at-off] |= 1 << (i % 8)
		}
	}
}

func (b *pending) Write(uint64, []byte) {}
