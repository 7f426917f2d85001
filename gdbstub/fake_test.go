package gdbstub

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"strings"
	"testing"
	"time"
)

// fake is a machine with two processors and a little memory.
type fake struct {
	regs     [2]Registers
	memory   [64]byte // from base on
	breaks   map[Breakpoint]bool
	resumed  [][]Action
	stops    chan Stop // what it comes to
	end      chan struct{}
	endErr   *EndError
	paused   int
	detached int
	killed   bool
}

const base = 0x1000

func newFake() *fake {
	f := &fake{breaks: make(map[Breakpoint]bool), stops: make(chan Stop, 10), end: make(chan struct{})}
	for cpu := range f.regs {
		f.regs[cpu].General[RAX] = uint64(0x11223344556677 + cpu)
		f.regs[cpu].RIP = base
	}
	for i := range f.memory {
		f.memory[i] = byte(i)
	}
	return f
}

func (f *fake) CPUs() int                   { return 2 }
func (f *fake) Pause(context.Context) error { f.paused++; return nil }
func (f *fake) Detach() error               { f.detached++; clear(f.breaks); return nil }
func (f *fake) Kill()                       { f.killed = true }
func (f *fake) End() <-chan struct{}        { return f.end }
func (f *fake) Describe(cpu int) string     { return fmt.Sprint("idle ", cpu) }

func (f *fake) Resume(a []Action) error {
	f.resumed = append(f.resumed, append([]Action(nil), a...))
	return nil
}

func (f *fake) Wait(ctx context.Context) (Stop, error) {
	select {
	case s := <-f.stops:
		return s, nil
	case <-f.end:
		return Stop{}, f.endErr
	case <-ctx.Done():
		return Stop{}, context.Cause(ctx)
	}
}

func (f *fake) Registers(cpu int) (*Registers, error) { r := f.regs[cpu]; return &r, nil }

func (f *fake) SetRegisters(cpu int, r *Registers) error { f.regs[cpu] = *r; return nil }

func (f *fake) at(addr uint64, n int) []byte {
	off := addr - base
	if off >= uint64(len(f.memory)) {
		return nil
	}
	return f.memory[off:min(len(f.memory), int(off)+n)]
}

func (f *fake) ReadMemory(_ int, addr uint64, p []byte) (int, error) {
	n := copy(p, f.at(addr, len(p)))
	if n < len(p) {
		return n, EFAULT
	}
	return n, nil
}

func (f *fake) WriteMemory(_ int, addr uint64, p []byte) error {
	if copy(f.at(addr, len(p)), p) < len(p) {
		return EFAULT
	}
	return nil
}

func (f *fake) Insert(_ int, b Breakpoint) error {
	if f.at(b.Addr, 1) == nil {
		return EFAULT
	}
	f.breaks[b] = true
	return nil
}

func (f *fake) Remove(_ int, b Breakpoint) error { delete(f.breaks, b); return nil }

func (f *fake) Monitor(cpu int, command string) string {
	return strings.Repeat(fmt.Sprintf("%d: %s\n", cpu, command), len(command))
}

// peer is a debugger, at the other end of a pipe.
type peer struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
	err  chan error // of Serve
}

func connect(t *testing.T, f Target) *peer {
	t.Helper()
	ours, theirs := net.Pipe()
	_ = ours.SetDeadline(time.Now().Add(time.Minute)) // for a test that fails
	p := &peer{t, ours, bufio.NewReader(ours), make(chan error, 1)}
	ctx, cancel := context.WithCancel(context.Background())
	go func() {
		p.err <- Serve(ctx, theirs, f)
		theirs.Close()
	}()
	t.Cleanup(func() { cancel(); ours.Close() })
	return p
}

// write sends bytes as they are.
func (p *peer) write(s string) {
	p.t.Helper()
	if _, err := p.conn.Write([]byte(s)); err != nil {
		p.t.Fatalf("%q: %v", s, err)
	}
}

// read expects bytes as they are.
func (p *peer) read(want string) {
	p.t.Helper()
	got := make([]byte, len(want))
	for i := range got {
		b, err := p.r.ReadByte()
		if err != nil {
			p.t.Fatalf("%q and then %v, want %q", got[:i], err, want)
		}
		got[i] = b
	}
	if string(got) != want {
		p.t.Fatalf("%q, want %q", got, want)
	}
}

// answer reads a packet, with its sum, and acknowledges nothing.
func (p *peer) answer() string {
	p.t.Helper()
	in, err := readInput(p.r)
	if err != nil || in.kind != packetIn {
		p.t.Fatalf("%+v, %v", in, err)
	}
	return string(in.packet)
}

// ask sends a packet and gives the answer.
func (p *peer) ask(packet string) string {
	p.t.Helper()
	p.write(string(appendPacket(nil, []byte(packet))))
	return p.answer()
}

// want holds an answer.
func (p *peer) want(packet, want string) {
	p.t.Helper()
	if got := p.ask(packet); got != want {
		p.t.Errorf("%s is answered by %q, want %q", packet, got, want)
	}
}

// end expects the end of the connection and gives what Serve returned.
func (p *peer) end() error {
	p.t.Helper()
	if b, err := p.r.ReadByte(); err == nil {
		p.t.Errorf("%q, want the end", b)
	}
	return <-p.err
}
