//go:build kvmtest

package main

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"govmm/bootimage"
	"govmm/machine"
)

// A debugged is a monitor that debuggers can come to, and its guest's console.
type debugged struct {
	t       *testing.T
	cmd     *exec.Cmd
	console io.Reader
	stderr  *bufio.Reader
	network string
	address string
}

// startDebugged starts a guest of hand-written code and waits until debuggers can come.
func startDebugged(t *testing.T, where string, code []byte, args ...string) *debugged {
	t.Helper()
	d := &debugged{t: t, cmd: command(t, append(append([]string{"boot", "--gdb", where}, args...), writeGuest(t, code))...)}
	var err error
	if d.console, err = d.cmd.StdoutPipe(); err != nil {
		t.Fatal(err)
	}
	stderr, err := d.cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := d.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = d.cmd.Process.Kill(); _ = d.cmd.Wait() })
	d.stderr = bufio.NewReader(stderr)
	line, err := d.stderr.ReadString('\n')
	_, remote, ok := strings.Cut(line, "'target remote ")
	if err != nil || !ok {
		t.Fatalf("%q, %v", line, err)
	}
	d.network, d.address = "tcp", strings.TrimSuffix(remote, "'\n")
	if strings.HasPrefix(d.address, "/") {
		d.network = "unix"
	}
	return d
}

// A packetPeer is a debugger of few words.
type packetPeer struct {
	t    *testing.T
	conn net.Conn
	r    *bufio.Reader
}

func (d *debugged) attach() *packetPeer {
	d.t.Helper()
	conn, err := net.Dial(d.network, d.address)
	if err != nil {
		d.t.Fatal(err)
	}
	d.t.Cleanup(func() { conn.Close() })
	return &packetPeer{d.t, conn, bufio.NewReader(conn)}
}

func (p *packetPeer) send(packet string) {
	p.t.Helper()
	var sum byte
	for _, c := range []byte(packet) {
		sum += c
	}
	if _, err := fmt.Fprintf(p.conn, "$%s#%02x", packet, sum); err != nil {
		p.t.Fatal(err)
	}
}

func (p *packetPeer) answer() string {
	p.t.Helper()
	text, err := p.r.ReadString('#')
	if err == nil {
		_, err = p.r.Discard(2)
	}
	if err != nil {
		p.t.Fatalf("%q, %v", text, err)
	}
	return strings.TrimSuffix(text[strings.Index(text, "$")+1:], "#")
}

// want sends a packet and holds the beginning of the answer.
func (p *packetPeer) want(packet, want string) {
	p.t.Helper()
	p.send(packet)
	if got := p.answer(); !strings.HasPrefix(got, want) {
		p.t.Errorf("%s is answered by %q, want %q", packet, got, want)
	}
}

// says waits for a byte on the guest's console.
func (d *debugged) says(want byte) {
	d.t.Helper()
	b := make([]byte, 1)
	if _, err := io.ReadFull(d.console, b); err != nil || b[0] != want {
		d.t.Errorf("the console says %q, %v", b, err)
	}
}

// ends holds how the monitor ends, and that the socket's file is gone then.
func (d *debugged) ends(want int) {
	d.t.Helper()
	rest, _ := io.ReadAll(d.stderr)
	if got := exitStatus(d.t, d.cmd.Wait()); got != want {
		d.t.Errorf("exit status %d, want %d; standard error %q", got, want, rest)
	}
	d.socketGoes()
}

func (d *debugged) socketGoes() {
	d.t.Helper()
	if d.network != "unix" {
		return
	}
	for range 1000 { // a keeper of a monitor that was killed needs a moment
		if _, err := os.Lstat(d.address); os.IsNotExist(err) {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	d.t.Errorf("%s is still there", d.address)
}

// TestGDBSocket has debuggers come one after the other, leave in each way, and end the guest.
func TestGDBSocket(t *testing.T) {
	for _, mode := range []string{"--sandbox=on", "--sandbox=off"} {
		for _, where := range []string{"unix:" + filepath.Join(t.TempDir(), "s"), "tcp:127.0.0.1:0"} {
			t.Run(mode+" "+where[:4], func(t *testing.T) {
				d := startDebugged(t, where, guestSpin, mode, "--gdb-wait", "-c", "2")
				if info, err := os.Lstat(d.address); d.network == "unix" && (err != nil || info.Mode() != os.ModeSocket|0o600) {
					t.Errorf("%v, %v", info, err)
				}
				d.attach().conn.Close() // as a probe does: the guest stays before its first instruction
				p := d.attach()
				p.want("?", "T02thread:1;")
				p.want("p10", "0000100000000000")
				p.want("qfThreadInfo", "m1,2")
				p.want("m100000,3", "66baf8")
				p.want("m100000000000,1", "E0e")
				p.want("vCont;s:1", "T05thread:1;")
				p.want("p10", "0400100000000000")
				p.want("P0=2a00000000000000", "OK") // what the guest says
				p.want("P10=0600100000000000", "OK")
				p.want("qXfer:threads:read::0,1000", "l<?xml")
				p.want("Z1,100007,1", "OK")
				p.want("D", "OK")
				d.says('*')
				p = d.attach() // while it runs
				p.want("vCont;s", "T05thread:1;")
				p.send("vCont;c")
				if _, err := p.conn.Write([]byte{3}); err != nil {
					t.Fatal(err)
				}
				if got := p.answer(); got != "T02thread:1;" {
					t.Errorf("interrupted: %q", got)
				}
				p.send("vCont;c")
				p.conn.Close() // gone without a word
				p = d.attach()
				p.want("p10", "0700100000000000")
				p.conn.Close()
				p = d.attach()
				p.send("k")
				d.ends(0)
			})
		}
	}
}

// TestGDBEnd holds that a debugger is told of the guest's end, and of the monitor's.
func TestGDBEnd(t *testing.T) {
	for name, tt := range map[string]struct {
		code []byte
		says string
		want int
	}{"power-off": {guestPowerOff, "W00", 0}, "crash": {guestTripleFault, "X0b", 2}, "signal": {guestSpin, "X0f", 128 + int(syscall.SIGTERM)}} {
		d := startDebugged(t, "unix:"+filepath.Join(t.TempDir(), "s"), tt.code, "--gdb-wait")
		p := d.attach()
		p.send("vCont;c")
		if name == "signal" {
			d.says('!')
			_ = d.cmd.Process.Signal(syscall.SIGTERM)
		}
		if got := p.answer(); got != tt.says {
			t.Errorf("%s: %q, want %q", name, got, tt.says)
		}
		d.ends(tt.want)
	}
}

// TestGDBKilledMonitor holds that the socket's file goes also then.
func TestGDBKilledMonitor(t *testing.T) {
	d := startDebugged(t, "unix:"+filepath.Join(t.TempDir(), "s"), guestSpin)
	d.says('!')
	if err := d.cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = d.cmd.Wait()
	d.socketGoes()
}

// TestGDBDeaf holds that nobody is served any more when finish returns, because the machine is closed then: not even a debugger that sends and
// reads nothing.
func TestGDBDeaf(t *testing.T) {
	ctx, end := context.WithCancelCause(t.Context())
	cfg := machine.Config{Log: slog.New(slog.DiscardHandler), Image: &bootimage.Plan{
		Segments: []bootimage.Segment{{Name: "guest", Addr: 0x10_0000, Data: []byte{0xeb, 0xfe}, Size: 2}}, // jmp to itself
		Entry:    bootimage.Entry{Mode: bootimage.Linux64, PC: 0x10_0000},
	}}
	flags := gdbFlags{where: gdbAddress{"tcp", "127.0.0.1:0"}}
	g, err := flags.open(&cfg, end)
	if err != nil {
		t.Fatal(err)
	}
	defer g.close()
	m, err := machine.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	defer m.Close()
	if err := g.connect(m); err != nil {
		t.Fatal(err)
	}
	conn, err := net.Dial("tcp", g.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	go func() {
		for { // until nobody takes them
			_ = conn.SetWriteDeadline(time.Now().Add(time.Second))
			if _, err := conn.Write([]byte("$g#67")); err != nil {
				break
			}
		}
		end(errGDBKill)
	}()
	_, err = m.Run(ctx)
	g.finish(err)
	select {
	case <-g.served:
	default:
		t.Error("the debugger is still served")
	}
}

// TestGDBInUse holds that a port and a path that others use are errors of one line.
func TestGDBInUse(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	path := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for where, want := range map[string]string{"tcp:" + l.Addr().String(): "is in use; choose another", "unix:" + path: "is there already"} {
		r := finish(t, command(t, "boot", "--gdb", where, writeGuest(t, guestSpin)))
		if r.status != 1 {
			t.Errorf("%s: %v", where, r)
		}
		checkOneLine(t, r.stderr, want)
	}
	if b, err := os.ReadFile(path); err != nil || !bytes.Equal(b, nil) {
		t.Errorf("the file is %q, %v", b, err)
	}
}
