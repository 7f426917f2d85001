package i8042

import (
	"bytes"
	"testing"

	"govmm/devices"
)

var _ devices.Handler = (*Controller)(nil)

// A guest accesses a Controller and counts the resets.
type guest struct {
	*Controller
	resets *int
}

func newGuest() guest {
	n := new(int)
	return guest{New(func() { *n++ }), n}
}

func (g guest) in(off uint64) byte {
	var p [1]byte
	g.Read(off, p[:])
	return p[0]
}

func (g guest) out(off uint64, v byte) { g.Write(off, []byte{v}) }

// ask sends a command with its data, and returns the answer and its status. It
// fails if there is none.
func (g guest) ask(t *testing.T, cmd byte, data ...byte) (answer, status byte) {
	t.Helper()
	g.out(offCommand, cmd)
	for _, b := range data {
		g.out(offData, b)
	}
	status = g.in(offCommand)
	if status&statusOutputFull == 0 {
		t.Fatalf("no answer to command %#x", cmd)
	}
	answer = g.in(offData)
	if g.in(offCommand)&statusOutputFull != 0 {
		t.Fatalf("a second answer to command %#x", cmd)
	}
	return answer, status
}

func TestReset(t *testing.T) {
	for cmd := range 256 {
		g := newGuest()
		g.out(offCommand, byte(cmd))
		want := 0
		if cmd >= 0xf0 && cmd%2 == 0 {
			want = 1 // 0xfe, and the others that pulse bit 0
		}
		if *g.resets != want {
			t.Errorf("command %#x: %d resets, want %d", cmd, *g.resets, want)
		}
	}
}

func TestResetByOutputPort(t *testing.T) {
	g := newGuest()
	g.out(offCommand, cmdWriteOutput)
	g.out(offData, 0xdf) // what a kernel writes to enable A20
	if *g.resets != 0 {
		t.Error("to enable A20 resets")
	}
	g.out(offCommand, cmdWriteOutput)
	g.out(offData, 0xfe)
	if *g.resets != 1 {
		t.Errorf("%d resets, want 1", *g.resets)
	}
	g.out(offData, 0xfe) // not the command's any more
	if *g.resets != 1 {
		t.Errorf("%d resets, want 1", *g.resets)
	}
}

func TestResetWithoutFunction(t *testing.T) {
	New(nil).Write(offCommand, []byte{0xfe})
}

// TestLinuxProbe asks what drivers/input/serio/i8042.c asks, and the keyboard
// and mouse drivers behind it.
func TestLinuxProbe(t *testing.T) {
	g := newGuest()
	// i8042_flush: there must be an end to what is buffered.
	if g.in(offCommand)&statusOutputFull != 0 {
		t.Fatal("the output buffer is not empty")
	}
	if got, _ := g.ask(t, cmdSelfTest); got != 0x55 {
		t.Errorf("self-test gave %#x", got)
	}
	// i8042_controller_init reads the configuration twice and writes it back.
	config, _ := g.ask(t, cmdReadRAM)
	if again, _ := g.ask(t, cmdReadRAM); again != config {
		t.Errorf("configuration is %#x and then %#x", config, again)
	}
	g.out(offCommand, cmdWriteRAM)
	g.out(offData, config&^configDisableKbd|1)
	if got, _ := g.ask(t, cmdReadRAM); got != config&^configDisableKbd|1 {
		t.Errorf("configuration is %#x after it was written", got)
	}
	// i8042_check_aux: neither test may find a port for a mouse.
	if _, status := g.ask(t, cmdWriteAuxData, 0x5a); status&statusAuxData != 0 {
		t.Error("the loop test found a mouse port")
	}
	if got, _ := g.ask(t, cmdTestAux); got == 0 || got == 0xfa || got == 0xff {
		t.Errorf("the port test found a mouse port: %#x", got)
	}
	// atkbd: no acknowledgement for "identify" and "set LEDs".
	for _, b := range []byte{0xf2, 0xed} {
		g.out(offData, b)
		status := g.in(offCommand)
		if status&statusTimeout == 0 || status&statusAuxData != 0 {
			t.Errorf("status is %#x after a byte for the keyboard", status)
		}
		if got := g.in(offData); got == 0xfa {
			t.Error("a keyboard acknowledged")
		}
	}
	if *g.resets != 0 {
		t.Errorf("%d resets", *g.resets)
	}
}

func TestAnswers(t *testing.T) {
	for _, tt := range []struct {
		name           string
		cmd            byte
		data           []byte
		answer, status byte
	}{
		{"keyboard line", cmdTestKeyboard, nil, 0, 0},
		{"input port", cmdReadInput, nil, 0x80, 0},
		{"output port", cmdReadOutput, nil, 0x03, 0},
		{"keyboard loop", cmdWriteKbdData, []byte{0xa5}, 0xa5, 0},
		{"mouse", cmdWriteAux, []byte{0xf2}, 0xfe, statusTimeout | statusAuxData},
		{"RAM", 0x3f, nil, 0, 0},
	} {
		g := newGuest()
		answer, status := g.ask(t, tt.cmd, tt.data...)
		if answer != tt.answer || status&(statusTimeout|statusAuxData) != tt.status {
			t.Errorf("%s: %#x, status %#x", tt.name, answer, status)
		}
		if len(tt.data) == 0 && status&statusCommand == 0 {
			t.Errorf("%s: status %#x does not say command", tt.name, status)
		}
	}
}

func TestConfiguration(t *testing.T) {
	g := newGuest()
	for _, step := range []struct {
		cmd, set, clear byte
	}{
		{cmdEnableKbd, 0, configDisableKbd},
		{cmdEnableAux, 0, configDisableAux},
		{cmdDisableKbd, configDisableKbd, 0},
		{cmdDisableAux, configDisableAux, 0},
		{cmdEnableKbd, configDisableAux, configDisableKbd},
	} {
		g.out(offCommand, step.cmd)
		got, _ := g.ask(t, cmdReadRAM)
		if got&step.set != step.set || got&step.clear != 0 {
			t.Errorf("after %#x the configuration is %#x", step.cmd, got)
		}
	}
	if g.in(offCommand)&statusSystem != 0 {
		t.Error("the system flag is set before the self-test")
	}
	g.ask(t, cmdSelfTest)
	if g.in(offCommand)&statusSystem == 0 {
		t.Error("the system flag is not set after the self-test")
	}
}

func TestRAM(t *testing.T) {
	g := newGuest()
	for i := range byte(ramSize) {
		g.out(offCommand, cmdWriteRAM+i)
		g.out(offData, i^0x5a)
	}
	for i := range byte(ramSize) {
		if got, _ := g.ask(t, cmdReadRAM+i); got != i^0x5a {
			t.Errorf("byte %d is %#x", i, got)
		}
	}
}

// TestNeighbours: the ports between the two are nobody's.
func TestNeighbours(t *testing.T) {
	g := newGuest()
	before := g.state
	for off := uint64(1); off < 4; off++ {
		if got := g.in(off); got != 0xff {
			t.Errorf("offset %d reads %#x", off, got)
		}
		g.out(off, 0xfe)
	}
	g.out(Ports, 0xfe)
	p := make([]byte, 4)
	g.Read(offData, p)
	if !bytes.Equal(p, []byte{0, 0xff, 0xff, 0xff}) {
		t.Errorf("a wide read gave % x", p)
	}
	g.Read(offData, nil)
	g.Write(offData, nil)
	if g.state != before || *g.resets != 0 {
		t.Error("the state changed")
	}
}

func TestDoesNotAllocate(t *testing.T) {
	g, p := newGuest(), []byte{cmdSelfTest}
	if n := testing.AllocsPerRun(100, func() {
		g.Write(offCommand, p)
		g.Read(offCommand, p)
		g.Read(offData, p)
	}); n != 0 {
		t.Errorf("%v allocations per run", n)
	}
}

// FuzzController makes any accesses: two bytes are an offset, with the top bit
// for a write, and a value.
func FuzzController(f *testing.F) {
	f.Add([]byte{0x84, 0xd1, 0x80, 0xfe, 0x04, 0, 0x00, 0})
	f.Fuzz(func(t *testing.T, program []byte) {
		g := newGuest()
		for ; len(program) >= 2; program = program[2:] {
			off, v := uint64(program[0]&7), program[1]
			resets := *g.resets
			if program[0]&0x80 != 0 {
				g.out(off, v)
				if *g.resets > resets+1 {
					t.Fatalf("%d resets for one write", *g.resets-resets)
				}
			} else {
				g.in(off)
				if off == offData && g.in(offCommand)&statusOutputFull != 0 {
					t.Fatal("the output buffer is full after it was read")
				}
			}
			if *g.resets != resets && program[0]&0x80 == 0 {
				t.Fatal("a read resets")
			}
			if got := g.in(offCommand); got&(1<<1|1<<7) != 0 {
				t.Fatalf("status is %#x: the input buffer is never full, parity never wrong", got)
			}
		}
	})
}
