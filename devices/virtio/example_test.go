package virtio_test

import (
	"context"
	"fmt"
	"testing"

	"govmm/devices/virtio"
	"govmm/devices/virtio/virtiommio"
	"govmm/devices/virtio/virtiotest"
)

// A greeter is the smallest of devices: it fills every buffer with a greeting.
type greeter struct{}

func (greeter) Type() virtio.DeviceType   { return virtio.TypeEntropy }
func (greeter) Features() uint64          { return 0 }
func (greeter) QueueSizes() []uint16      { return []uint16{8} }
func (greeter) ReadConfig(uint64, []byte) {}

func (greeter) Run(ctx context.Context, s *virtio.Session) error {
	q := s.Queues[0]
	for {
		c, err := q.Next(ctx)
		if err != nil {
			return err
		}
		fmt.Fprint(c, "hello, guest")
		q.Push(c, c.Written())
	}
}

// A device is put behind a transport. Here a mock of a driver stands for the
// guest.
func Example() {
	mem, irq := virtiotest.NewMemory(0, 1<<16), virtiotest.NewIRQ()
	transport, err := virtiommio.New(virtiommio.Config{Device: greeter{}, Memory: mem, IRQ: irq})
	if err != nil {
		fmt.Println(err)
		return
	}
	defer transport.Close()

	driver := virtiotest.NewDriver(new(testing.T), transport, mem, irq)
	driver.Start(0, 8)
	buf := mem.Alloc(64, 1)
	driver.Rings[0].Add(virtiotest.Buf{Addr: buf, Len: 64, Write: true})
	driver.Kick(0)
	used := driver.Await(0)
	fmt.Printf("%s\n", mem.Bytes(buf, uint64(used.Len)))
	// Output: hello, guest
}
