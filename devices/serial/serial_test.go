package serial

import (
	"bytes"
	"errors"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"govmm/devices"
)

var _ devices.Handler = (*UART)(nil)

// A pin counts edges.
type pin struct{ edges atomic.Int64 }

func (p *pin) Trigger() error {
	p.edges.Add(1)
	return nil
}

// A port is a UART as a guest sees it.
type port struct {
	*UART
	pin *pin
	out *bytes.Buffer
}

func newPort() port {
	p := port{pin: new(pin), out: new(bytes.Buffer)}
	p.UART = New(Config{Out: p.out, IRQ: p.pin})
	return p
}

func (p port) in(off uint64) byte {
	var b [1]byte
	p.Read(off, b[:])
	return b[0]
}

func (p port) set(off uint64, v byte) { p.Write(off, []byte{v}) }

// feed gives the UART input that it has room for.
func (p port) feed(t *testing.T, s string) {
	t.Helper()
	n, err := p.Receive(t.Context(), []byte(s))
	if n != len(s) || err != nil {
		t.Fatalf("Receive(%q) = %d, %v", s, n, err)
	}
}

// drain reads what there is to read, as a driver's interrupt handler does.
func (p port) drain() string {
	var s []byte
	for p.in(offLSR)&lsrDataReady != 0 {
		s = append(s, p.in(offData))
	}
	return string(s)
}

// edges returns the number of edges since it was called last.
func (p port) edges() int64 { return p.pin.edges.Swap(0) }

// everyByte are the 256 values of a byte.
func everyByte() []byte {
	b := make([]byte, 256)
	for i := range b {
		b[i] = byte(i)
	}
	return b
}

func TestOutputPassesEveryByte(t *testing.T) {
	for _, lcr := range []byte{0x03, 0x00, 0x7f} { // 8N1, 5N1, and everything else
		p := newPort()
		p.set(offLCR, lcr)
		for _, b := range everyByte() {
			p.set(offData, b)
		}
		if !bytes.Equal(p.out.Bytes(), everyByte()) {
			t.Errorf("LCR %#x: sent % x", lcr, p.out.Bytes())
		}
	}
}

func TestInputPassesEveryByte(t *testing.T) {
	p := newPort()
	p.set(offIER, ierReceived)
	p.set(offFCR, fcrEnable)
	go p.Receive(t.Context(), everyByte())
	var got []byte
	for len(got) < 256 {
		got = append(got, p.drain()...)
	}
	if !bytes.Equal(got, everyByte()) {
		t.Errorf("received % x", got)
	}
}

func TestWideAccess(t *testing.T) {
	p := newPort()
	p.Write(offMCR, []byte{0x0b, 0xee, 0xee, 0x5a}) // LSR and MSR ignore it
	if got := p.in(offMCR); got != 0x0b {
		t.Errorf("MCR is %#x", got)
	}
	if got := p.in(offSCR); got != 0x5a {
		t.Errorf("SCR is %#x", got)
	}
	b := make([]byte, 8)
	p.Read(0, b)
	want := []byte{0, 0, 0x01, 0, 0x0b, lsrTHRE | lsrTEMT, msrDCD | msrDSR | msrCTS, 0x5a}
	if !bytes.Equal(b, want) {
		t.Errorf("eight registers read % x, want % x", b, want)
	}
}

func TestAccessBeyondRegisters(t *testing.T) {
	p := newPort()
	before := p.registers
	for _, off := range []uint64{8, 1 << 32, ^uint64(0) - 1} {
		p.set(off, 0x5a)
		if got := p.in(off); got != 0xff {
			t.Errorf("offset %#x read %#x", off, got)
		}
	}
	if p.registers != before {
		t.Error("the state changed")
	}
}

// TestZeroConfig: a UART that is connected to nothing works for the guest.
func TestZeroConfig(t *testing.T) {
	u := New(Config{})
	u.Write(offIER, []byte{ierMask})
	u.Write(offData, []byte{'x'})
	p := port{UART: u}
	if got := p.in(offIIR); got != byte(iirTHRE) {
		t.Errorf("IIR is %#x", got)
	}
}

// failing is a Writer and an IRQ of a host that is out of order.
type failing struct{}

func (failing) Write(p []byte) (int, error) { return 0, errors.New("no paper") }
func (failing) Trigger() error              { return errors.New("no wire") }

func TestHostFailuresAreLoggedOnce(t *testing.T) {
	var log bytes.Buffer
	p := port{UART: New(Config{Out: failing{}, IRQ: failing{}, Log: slog.New(slog.NewTextHandler(&log, nil))})}
	p.set(offIER, ierTHRE)
	for range 10 {
		p.set(offData, 'x')
	}
	if got := p.in(offLSR); got != lsrTHRE|lsrTEMT {
		t.Errorf("LSR is %#x: the guest must not see it", got)
	}
	for _, want := range []string{"no paper", "no wire"} {
		if n := strings.Count(log.String(), want); n != 1 {
			t.Errorf("%q was logged %d times:\n%s", want, n, log.String())
		}
	}
}

// A gate is a Writer that announces each Write and lets it go on when told.
type gate struct {
	entered chan byte
	leave   chan struct{}
}

func (g gate) Write(p []byte) (int, error) {
	g.entered <- p[0]
	<-g.leave
	return len(p), nil
}

// TestStuckOutput: while one vCPU waits for the host, the transmitter is busy
// and the rest of the UART works.
func TestStuckOutput(t *testing.T) {
	g := gate{make(chan byte), make(chan struct{})}
	p := port{UART: New(Config{Out: g}), pin: new(pin)}
	p.irq = p.pin
	p.set(offIER, ierTHRE|ierReceived)
	p.in(offIIR) // resets THRE
	p.edges()

	done := make(chan struct{})
	go func() {
		p.set(offData, 'x')
		close(done)
	}()
	<-g.entered
	if got := p.in(offLSR); got != 0 {
		t.Errorf("LSR is %#x with a byte on its way", got)
	}
	if got := p.in(offIIR); got != byte(iirNone) {
		t.Errorf("IIR is %#x with a byte on its way", got)
	}
	p.feed(t, "in")
	if got := p.drain(); got != "in" {
		t.Errorf("received %q", got)
	}
	// To enable the interrupt does not make the transmitter empty.
	p.set(offIER, 0)
	p.set(offIER, ierTHRE)
	if got := p.in(offIIR); got != byte(iirNone) {
		t.Errorf("IIR is %#x with a byte on its way", got)
	}
	p.edges()

	g.leave <- struct{}{}
	<-done
	if got := p.in(offLSR); got != lsrTHRE|lsrTEMT {
		t.Errorf("LSR is %#x afterwards", got)
	}
	if got := p.edges(); got != 1 {
		t.Errorf("%d edges for the empty transmitter", got)
	}
	if got := p.in(offIIR); got != byte(iirTHRE) {
		t.Errorf("IIR is %#x afterwards", got)
	}
}

// A recorder is a Writer that fails the test when two threads are in it.
type recorder struct {
	t      *testing.T
	inside atomic.Int32
	got    []byte
}

func (r *recorder) Write(p []byte) (int, error) {
	if r.inside.Add(1) != 1 {
		r.t.Error("two writes at once")
	}
	r.got = append(r.got, p...)
	r.inside.Add(-1)
	return len(p), nil
}

// TestOutputOrder has four vCPUs write: each one's bytes stay in order, and
// none gets lost.
func TestOutputOrder(t *testing.T) {
	const cpus, each = 4, 64
	r := &recorder{t: t}
	p := port{UART: New(Config{Out: r})}
	var wg sync.WaitGroup
	for cpu := range byte(cpus) {
		wg.Go(func() {
			for i := range byte(each) {
				p.set(offData, cpu<<6|i)
			}
		})
	}
	wg.Wait()
	if len(r.got) != cpus*each {
		t.Fatalf("%d bytes came out of %d", len(r.got), cpus*each)
	}
	slices.SortStableFunc(r.got, func(a, b byte) int { return int(a>>6) - int(b>>6) })
	if !bytes.Equal(r.got, everyByte()) {
		t.Error("the bytes of one vCPU changed places")
	}
	if got := p.in(offLSR); got != lsrTHRE|lsrTEMT {
		t.Errorf("LSR is %#x when all is sent", got)
	}
}

// TestOutputOrderAcrossCPUs passes a lock between two vCPUs.
func TestOutputOrderAcrossCPUs(t *testing.T) {
	r := &recorder{t: t}
	p := port{UART: New(Config{Out: r})}
	var lock sync.Mutex
	var wg sync.WaitGroup
	next := 0
	for range 2 {
		wg.Go(func() {
			for {
				lock.Lock()
				if next == 256 {
					lock.Unlock()
					return
				}
				p.set(offData, byte(next))
				next++
				lock.Unlock()
			}
		})
	}
	wg.Wait()
	if !bytes.Equal(r.got, everyByte()) {
		t.Errorf("sent % x", r.got)
	}
}

func TestConcurrentAccess(t *testing.T) {
	u := New(Config{IRQ: new(pin)})
	p := port{UART: u}
	var wg sync.WaitGroup
	for i := range byte(3) {
		wg.Go(func() {
			for n := range byte(200) {
				p.set(uint64(n*5+i)%Ports, n)
				p.in(uint64(n*3+i) % Ports)
			}
		})
	}
	wg.Go(func() {
		for range 200 {
			u.receive([]byte("input"))
		}
	})
	wg.Wait()
	if u.sending != 0 {
		t.Errorf("%d bytes are still on their way", u.sending)
	}
}

// discard is a Writer that keeps nothing, behind a pointer as an os.File is.
type discard struct{ n int }

func (d *discard) Write(p []byte) (int, error) {
	d.n += len(p)
	return len(p), nil
}

func TestDoesNotAllocate(t *testing.T) {
	u := New(Config{Out: new(discard), IRQ: new(pin)})
	b, input := []byte{0}, []byte("0123456789abcdef")
	ctx := t.Context()
	write := func(off uint64, v byte) {
		b[0] = v
		u.Write(off, b)
	}
	for name, f := range map[string]func(){
		"send": func() {
			u.Read(offLSR, b)
			write(offData, 'x')
			u.Read(offIIR, b)
		},
		"receive": func() {
			if n, err := u.Receive(ctx, input); n != len(input) || err != nil {
				t.Errorf("Receive = %d, %v", n, err)
			}
			for range input {
				u.Read(offIIR, b)
				u.Read(offLSR, b)
				u.Read(offData, b)
			}
		},
		"loopback": func() {
			write(offMCR, mcrLoop)
			write(offData, 'x')
			u.Read(offData, b)
			write(offMCR, 0)
			u.Read(offMSR, b)
		},
	} {
		write(offIER, ierMask)
		write(offFCR, fcrEnable)
		if n := testing.AllocsPerRun(100, f); n != 0 {
			t.Errorf("%s: %v allocations per run", name, n)
		}
	}
}

func BenchmarkSend(b *testing.B) {
	u := New(Config{Out: new(discard)})
	p := []byte{'x'}
	for b.Loop() {
		u.Read(offLSR, p)
		u.Write(offData, p)
	}
}
