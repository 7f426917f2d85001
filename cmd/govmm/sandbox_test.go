package main

import (
	"testing"

	"govmm/devices/virtio/netif/usernet"
	"govmm/sandbox"
)

// TestPolicy holds that only networks are left more than nothing.
func TestPolicy(t *testing.T) {
	if p := policy(nil); p.Sockets != sandbox.NoSockets || len(p.Readable) > 0 || p.Files == 0 {
		t.Errorf("without networks: %+v", p)
	}
	if p := policy([]backend{new(guardedTap)}); p.Sockets != sandbox.OpenSockets || len(p.Readable) > 0 {
		t.Errorf("a routed tap: %+v", p)
	}
	// Without a file to read a guest's question for a name would end it.
	if p := policy([]backend{new(guardedTap), new(usernet.Backend)}); p.Sockets != sandbox.NewSockets || len(p.Readable) == 0 || p.Files != 0 {
		t.Errorf("the user network: %+v", p)
	}
}
