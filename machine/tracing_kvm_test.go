//go:build kvmtest

package machine

import (
	"bytes"
	"encoding/json"
	"slices"
	"testing"
)

// A tracedEvent is what is compared of an event.
type tracedEvent struct {
	Name, Category, Reason, Device, Dir, Addr, Data string
	Size                                            int
}

// events gives the events of a machine that ran, without their times.
func events(t *testing.T, m *Machine) []tracedEvent {
	t.Helper()
	var b bytes.Buffer
	if err := m.WriteTrace(&b); err != nil {
		t.Fatal(err)
	}
	var file struct {
		TraceEvents []struct {
			Name, Cat string
			Dur       float64
			Args      struct {
				Reason, Device, Dir, Addr, Data string
				Size                            int
			}
		}
	}
	if err := json.Unmarshal(b.Bytes(), &file); err != nil {
		t.Fatalf("%v\n%s", err, &b)
	}
	var list []tracedEvent
	for _, e := range file.TraceEvents {
		if e.Cat == "exit" && e.Dur <= 0 {
			t.Errorf("%+v took no time", e)
		}
		if e.Cat != "" && e.Cat != "phase" && e.Args.Reason != "KVM_EXIT_INTR" {
			list = append(list, tracedEvent{e.Name, e.Cat, e.Args.Reason, e.Args.Device, e.Args.Dir, e.Args.Addr, e.Args.Data, e.Args.Size})
		}
	}
	return list
}

// accesses has an access of each kind, and the events that they are.
var accesses = debugExitFrom(slices.Concat(
	// mov dx, 0x3f8; mov al, 'A'; out dx, al
	[]byte{0x66, 0xba, 0xf8, 0x03, 0xb0, 'A', 0xee},
	// mov dl, 0xfd; in al, dx
	[]byte{0xb2, 0xfd, 0xec},
	// mov dx, 0xcf8; mov eax, 0x80000000; out dx, eax; mov dl, 0xfc; in eax, dx
	[]byte{0x66, 0xba, 0xf8, 0x0c, 0xb8, 0, 0, 0, 0x80, 0xef, 0xb2, 0xfc, 0xed},
	// mov ebx, 0xe0000000; mov ax, [rbx]
	[]byte{0xbb, 0, 0, 0, 0xe0, 0x66, 0x8b, 0x03},
	// mov ebx, 0xd0000000; mov eax, 0x12345678; mov [rbx], eax; mov rax, [rbx]
	[]byte{0xbb, 0, 0, 0, 0xd0, 0xb8, 0x78, 0x56, 0x34, 0x12, 0x89, 0x03, 0x48, 0x8b, 0x03},
	// in al, 0x80
	[]byte{0xe4, 0x80},
	// mov eax, 7
	[]byte{0xb8, 7, 0, 0, 0},
)...)

var accessEvents = []tracedEvent{
	{"serial", "exit", "KVM_EXIT_IO", "serial", "write", "0x3f8", "0x41", 1},
	{"serial", "exit", "KVM_EXIT_IO", "serial", "read", "0x3fd", "0x60", 1},
	{"PCI configuration", "exit", "KVM_EXIT_IO", "PCI configuration", "write", "0xcf8", "0x80000000", 4},
	{"PCI configuration", "exit", "KVM_EXIT_IO", "PCI configuration", "read", "0xcfc", "0x81b36", 4},
	{"ECAM", "exit", "KVM_EXIT_MMIO", "ECAM", "read", "0xe0000000", "0x1b36", 2},
	{"no device", "exit", "KVM_EXIT_MMIO", "no device", "write", "0xd0000000", "0x12345678", 4},
	{"no device", "exit", "KVM_EXIT_MMIO", "no device", "read", "0xd0000000", "0xffffffffffffffff", 8},
	{"no device", "exit", "KVM_EXIT_IO", "no device", "read", "0x80", "0xff", 1},
	{"debug exit", "exit", "KVM_EXIT_IO", "debug exit", "write", "0xf4", "0x7", 4},
}

// TestTrace holds that each exit of a guest is in its trace, with what the guest did and what it was answered.
func TestTrace(t *testing.T) {
	m := newMachine(t, Config{Image: image(accesses), DebugExit: true, Trace: newRecorder(t, 1, 64)})
	if o, err := m.Run(t.Context()); err != nil || o != (Outcome{DebugExit, 7}) {
		t.Fatalf("%+v, %v", o, err)
	}
	if got := events(t, m); !slices.Equal(got, accessEvents) {
		t.Errorf("recorded %+v\nwant     %+v", got, accessEvents)
	}
}

// TestTraceWraps holds that a short ring has the last of them.
func TestTraceWraps(t *testing.T) {
	m := newMachine(t, Config{Image: image(accesses), DebugExit: true, Trace: newRecorder(t, 1, 2)})
	if _, err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if got := events(t, m); len(got) == 0 || got[len(got)-1] != accessEvents[len(accessEvents)-1] {
		t.Errorf("recorded %+v", got)
	}
}

// TestTraceOfCrash holds that the exit by which a guest crashed is the last one.
func TestTraceOfCrash(t *testing.T) {
	m := newMachine(t, Config{Image: image([]byte{0x0f, 0x0b}), Trace: newRecorder(t, 1, 64)}) // ud2 without an IDT
	if _, err := m.Run(t.Context()); err == nil {
		t.Fatal("no crash")
	}
	got := events(t, m)
	if want := (tracedEvent{Name: "KVM_EXIT_SHUTDOWN", Category: "exit", Reason: "KVM_EXIT_SHUTDOWN"}); len(got) == 0 || got[len(got)-1] != want {
		t.Errorf("recorded %+v", got)
	}
}

// TestTraceOfInterrupt has the serial port interrupt: mov dx, 0x3fc; mov al, 8 (OUT2); out dx, al; mov dl, 0xf9; mov al, 2 (the transmitter's); out dx, al
func TestTraceOfInterrupt(t *testing.T) {
	code := slices.Concat([]byte{0x66, 0xba, 0xfc, 0x03, 0xb0, 8, 0xee, 0xb2, 0xf9, 0xb0, 2, 0xee}, powerOff)
	m := newMachine(t, Config{Image: image(code), Trace: newRecorder(t, 1, 64)})
	if _, err := m.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	got := events(t, m)
	if !slices.Contains(got, tracedEvent{Name: "interrupt", Category: "interrupt", Device: "serial"}) {
		t.Errorf("recorded %+v", got)
	}
}
