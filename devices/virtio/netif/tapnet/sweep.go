package tapnet

import (
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// goneWithin is how long the kernel may take to remove a tap that nobody has open any more.
const goneWithin = 10 * time.Second

// A Trace is what a routed tap has left on the host when it is gone, as Sweep wants to know it.
type Trace struct {
	Tap   string
	Index uint32 // of the interface: another tap may have the name by then
}

// Trace gives the network's trace.
func (n *Network) Trace() (Trace, error) {
	tap, err := newInterface(n.Name())
	if err != nil {
		return Trace{}, err
	}
	index, err := tap.get(unix.SIOCGIFINDEX)
	return Trace{n.Name(), index}, err
}

// CloseTap closes the tap and leaves what Close would do beyond that to Sweep, for a process that has given up the privilege to do it itself. The Device that
// uses the network must be stopped.
func (n *Network) CloseTap() error {
	if n.routed != nil {
		n.routed.stopServing()
	}
	return n.Tap.Close()
}

// Sweep undoes what New has done for a routed tap and is not undone with it, once the tap is gone: another process
// has closed it, or has been killed. It is an error if the tap stays.
func Sweep(t Trace) error {
	tap, err := newInterface(t.Tap)
	if err != nil {
		return err
	}
	for end := time.Now().Add(goneWithin); ; time.Sleep(10 * time.Millisecond) {
		if index, err := tap.get(unix.SIOCGIFINDEX); err != nil || index != t.Index {
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("tap %s is still there: %w", t.Tap, os.ErrDeadlineExceeded)
		}
	}
	// If there is a new tap of that name, it has the table or is about to make it anew.
	return locked(func() error { return unmasquerade("") }, unforward)
}
