package tapnet

import (
	"errors"
	"fmt"
	"os"
	"time"
)

// goneWithin is how long the kernel may take to remove a tap that nobody has open any more.
const goneWithin = 10 * time.Second

// CloseTap closes the tap and leaves what Close would do beyond that to Sweep, for a process that has given up the privilege to do it itself, or for the case
// that this one is killed. The Device that uses the network must be stopped.
func (n *Network) CloseTap() error {
	if n.routed != nil {
		n.routed.stopServing()
	}
	return n.Tap.Close()
}

// Sweep undoes what New has done for the routed tap of that name and is not undone with it, once the tap is gone: another process
// has closed it, or has been killed. If the tap stays, it is an error.
func Sweep(name string) error {
	tap, err := newInterface(name)
	if err != nil {
		return err
	}
	for end := time.Now().Add(goneWithin); !tap.gone(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			return fmt.Errorf("tap %s is still there: %w", name, os.ErrDeadlineExceeded)
		}
	}
	return errors.Join(unmasquerade(tap), unforward())
}
