package machine

import (
	"testing"
	"time"
)

// A meetingTransport is closed when another one is being closed.
type meetingTransport struct {
	transport
	mine, other chan struct{}
	t           *testing.T
}

func (m *meetingTransport) Close() error {
	close(m.mine)
	select {
	case <-m.other:
	case <-time.After(20 * time.Second):
		m.t.Error("a device is stopped after another, whose requests may take long")
	}
	return nil
}

// TestStopTransports holds that the devices are stopped all at once.
func TestStopTransports(t *testing.T) {
	a, b := make(chan struct{}), make(chan struct{})
	m := &Machine{transports: []transport{&meetingTransport{mine: a, other: b, t: t}, &meetingTransport{mine: b, other: a, t: t}}}
	m.stopTransports()
}
