package kvm

import (
	"bytes"
	"testing"
)

// fakeExit returns an Exit whose shared page holds words in the union.
func fakeExit(t *testing.T, reason ExitReason, words ...uint64) *Exit {
	t.Helper()
	v := &VCPU{fd: -1}
	if err := v.attach(make([]byte, 2*pageSize)); err != nil {
		t.Fatal(err)
	}
	v.exit.Reason = reason
	copy(v.run.data.exit[:], words)
	return &v.exit
}

func TestExitIOBounds(t *testing.T) {
	const out3f8 = 1 | 3<<8 | 0x3f8<<16 // direction, size 3 (impossible), port
	tests := []struct {
		name    string
		count   uint64
		offset  uint64
		wantLen int
	}{
		{"inside", 2, pageSize, 6},
		{"last bytes", 1, 2*pageSize - 3, 3},
		{"past the end", 1, 2*pageSize - 2, 0},
		{"count too large", 1 << 31, pageSize, 0},
		{"offset wraps", 1, ^uint64(0) - 1, 0},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			io := fakeExit(t, ExitIO, out3f8|tt.count<<32, tt.offset).IO()
			if len(io.Data) != tt.wantLen || cap(io.Data) != tt.wantLen {
				t.Errorf("data has length %d, capacity %d, want %d", len(io.Data), cap(io.Data), tt.wantLen)
			}
			if !io.Write || io.Size != 3 || io.Port != 0x3f8 {
				t.Errorf("%+v", io)
			}
		})
	}
}

func TestExitMMIOBounds(t *testing.T) {
	mmio := fakeExit(t, ExitMMIO, 0xd0000000, 0x8877665544332211, 200|1<<32).MMIO()
	if want := []byte{0x11, 0x22, 0x33, 0x44, 0x55, 0x66, 0x77, 0x88}; !bytes.Equal(mmio.Data, want) {
		t.Errorf("data is % x", mmio.Data)
	}
	if !mmio.Write || mmio.Addr != 0xd0000000 {
		t.Errorf("%+v", mmio)
	}
}

func TestExitString(t *testing.T) {
	tests := []struct {
		exit *Exit
		want string
	}{
		{fakeExit(t, ExitHlt), "KVM_EXIT_HLT"},
		{fakeExit(t, ExitUnknown, 0x1f), "KVM_EXIT_UNKNOWN: hardware exit reason 0x1f"},
		{fakeExit(t, ExitIO, 1|2<<8|0xcf8<<16|4<<32, pageSize), "KVM_EXIT_IO: write port 0xcf8, 4 x 2 bytes"},
		{fakeExit(t, ExitMMIO, 0xfec00000, 0, 4), "KVM_EXIT_MMIO: read 0xfec00000, 4 bytes"},
		{fakeExit(t, ExitDebug, 1, 0x1001, 0x4000), "KVM_EXIT_DEBUG: exception 1 at 0x1001, DR6 0x4000"},
		{fakeExit(t, ExitFailEntry, 0x80000021, 3), "KVM_EXIT_FAIL_ENTRY: hardware entry failure 0x80000021 on CPU 3"},
		{fakeExit(t, ExitInternalError, 3|2<<32, 5, 6), "KVM_EXIT_INTERNAL_ERROR: exit while an event was delivered 0x5 0x6"},
		{fakeExit(t, ExitInternalError, 1|4<<32, emulationInsnBytes, 0x90c70f4802, 0), "KVM_EXIT_INTERNAL_ERROR: emulation failed, instruction 48 0f"},
		{fakeExit(t, ExitInternalError, 1), "KVM_EXIT_INTERNAL_ERROR: emulation failed"},
		{fakeExit(t, ExitSystemEvent, 2), "KVM_EXIT_SYSTEM_EVENT: reset"},
		{&Exit{Reason: ExitIO}, "KVM_EXIT_IO"},
	}
	for _, tt := range tests {
		if got := tt.exit.String(); got != tt.want {
			t.Errorf("got  %q\nwant %q", got, tt.want)
		}
	}
}

// TestExitOtherReason asks for details that the exit does not have.
func TestExitOtherReason(t *testing.T) {
	garbage := []uint64{^uint64(0), ^uint64(0), ^uint64(0), ^uint64(0)}
	for _, e := range []*Exit{fakeExit(t, ExitHlt, garbage...), {Reason: ExitIO}, {Reason: ExitMMIO}} {
		if io := e.IO(); io.Data != nil || io.Port != 0 {
			t.Errorf("%v has IO %+v", e, io)
		}
		if mmio := e.MMIO(); mmio.Data != nil || mmio.Addr != 0 {
			t.Errorf("%v has MMIO %+v", e, mmio)
		}
		if e.Debug() != (Debug{}) || e.FailEntry() != (FailEntry{}) || e.InternalError() != (InternalError{}) ||
			e.SystemEvent() != (SystemEvent{}) || e.HardwareReason() != 0 {
			t.Errorf("%v has details of another reason", e)
		}
	}
}

// TestInternalErrorBounds holds counts that are larger than what they count.
func TestInternalErrorBounds(t *testing.T) {
	e := fakeExit(t, ExitInternalError, 1|0xffffffff<<32, emulationInsnBytes, ^uint64(0), ^uint64(0)).InternalError()
	if e.N != 16 {
		t.Errorf("%d words of data", e.N)
	}
	if n := len(e.Instruction()); n != 15 {
		t.Errorf("an instruction of %d bytes", n)
	}
	if n := fakeExit(t, ExitSystemEvent, 1|0xffffffff<<32).SystemEvent().N; n != 16 {
		t.Errorf("%d words of data of an event", n)
	}
}

func TestImmediateExitBit(t *testing.T) {
	v := &VCPU{fd: -1}
	if err := v.attach(make([]byte, pageSize)); err != nil {
		t.Fatal(err)
	}
	v.run.data.requestInterruptWindow = 1
	v.SetImmediateExit(true)
	if got := v.run.page[:8]; !bytes.Equal(got, []byte{1, 1, 0, 0, 0, 0, 0, 0}) {
		t.Errorf("set: % x", got)
	}
	v.SetImmediateExit(false)
	if got := v.run.page[:8]; !bytes.Equal(got, []byte{1, 0, 0, 0, 0, 0, 0, 0}) {
		t.Errorf("cleared: % x", got)
	}
	if err := v.attach(make([]byte, 100)); err == nil {
		t.Error("a page that is too short was taken")
	}
}

func TestExitDetailsAllocs(t *testing.T) {
	io := fakeExit(t, ExitIO, 1|1<<8|0x3f8<<16|1<<32, pageSize)
	mmio := fakeExit(t, ExitMMIO, 0xd0000000, 1, 4)
	var sum int
	if n := testing.AllocsPerRun(100, func() { sum += len(io.IO().Data) + len(mmio.MMIO().Data) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
