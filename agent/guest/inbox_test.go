package guest

import (
	"bytes"
	"testing"

	"govmm/agent"
)

// TestInbox puts a window of input in single bytes, which nobody takes meanwhile.
func TestInbox(t *testing.T) {
	b := newInbox()
	want := bytes.Repeat([]byte("x"), agent.Window)
	for i := range want {
		b.put(want[i : i+1])
	}
	if p, end := b.take(); !bytes.Equal(p, want) || end {
		t.Errorf("%d bytes of %d, end %v", len(p), len(want), end)
	}
	b.put([]byte("last"))
	b.put(nil)
	if p, end := b.take(); string(p) != "last" || !end {
		t.Errorf("%q, end %v", p, end)
	}
}
