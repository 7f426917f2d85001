package main

import (
	"bytes"
	"io"

	"govmm/devices/virtio"
	"govmm/machine/memory"
)

// byProduct makes the same device with the product's queue.
func byProduct(ram *memory.Memory) (device, error) {
	q, err := virtio.NewQueue(virtio.QueueConfig{
		MaxSize: size, Size: size, DescAddr: table, AvailAddr: avail, UsedAddr: used,
		Memory: ram, Interrupts: none{},
	})
	if err != nil {
		return nil, err
	}
	return func() error {
		for {
			chain, err := q.Pop()
			if chain == nil {
				return err
			}
			text, err := io.ReadAll(chain)
			if err != nil {
				return err
			}
			if _, err := chain.Write(bytes.ToUpper(text)); err != nil {
				return err
			}
			q.Push(chain, chain.Written())
		}
	}, nil
}

// none is for a guest that looks whether it is answered, and wants no interrupt.
type none struct{}

func (none) Queue(int) {}
func (none) Config()   {}
