//go:build kvmtest

package machine

import (
	"bytes"
	"strings"
	"testing"
	"time"
)

// TestHostileGuestItself holds that the interpreter does what scripts say, that it survives a page fault and an interrupt, and that
// its second processor works, for otherwise hostile guests would be harmless.
func TestHostileGuestItself(t *testing.T) {
	const text, copied, spoken = 0x30_0000, 0x30_0010, 0x30_0020
	first := append(startUpSecond(), []operation{
		{op: opStore64, addr: text, value: 0x6867_6665_6463_6261},
		{op: opString, addr: serialPort, value: text, count: 8},
		{op: opCopy, addr: copied, value: text, count: 8},
		{op: opFill, addr: copied + 2, value: 'X', count: 2},
		{op: opString, addr: serialPort, value: copied, count: 8},
		{op: opLoad64, addr: above4G + 8},
		{op: opStore32, addr: farAway + 8},
		{op: opStore64, addr: 0x8_0000_0000},                          // a page fault
		{op: opStore32, addr: localAPICAddr + 0x300, value: 0x4_0040}, // an interrupt to itself
		{op: opListen},
		{op: opAwait, addr: spoken, value: 1}, // the second processor has spoken, or speaks meanwhile
		{op: opOut8, addr: serialPort, value: '!'},
	}...)
	second := append(enableAPIC(), []operation{
		{op: opOut8, addr: serialPort, value: '2'},
		{op: opStore16, addr: spoken, value: 1},
		{op: opSpin, count: 1},
		{op: opJump, addr: scriptAddr(1) + 3*operationSize},
	}...)
	var console bytes.Buffer
	m, err := newHostile(t, Config{Memory: hostileMemory, Console: &console}, [][]operation{first, second})
	if err != nil {
		t.Fatalf("%v (make test-kvm runs this test where there is a KVM)", err)
	}
	defer m.Close()
	defer time.AfterFunc(time.Minute, func() { m.end(Outcome{}, t.Context().Err()) }).Stop()
	o, err := m.Run(t.Context())
	// The second's byte comes whenever it comes.
	before, after, found := strings.Cut(console.String(), "2")
	if err != nil || o.Reason != DebugExit || !found || before+after != "abcdefghabXXefgh!" {
		t.Errorf("%v, %v, console %q", o.Reason, err, console.String())
	}
	if n := operationsDone(m, 2); n <= uint64(len(first)) {
		t.Errorf("%d operations were counted", n)
	}
}
