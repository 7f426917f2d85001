package main

import (
	"bytes"
	"fmt"
	"testing"

	"govmm/devices"
	"govmm/examples/internal/exercise"
)

// A chip is a UART on a bench: its registers can be written and read, something can come in, and interrupts are counted.
type chip struct {
	device interface {
		devices.Handler
		receive(byte)
	}
	out        bytes.Buffer
	interrupts int
}

func (c *chip) Trigger() error { c.interrupts++; return nil }

func (c *chip) write(off uint64, v byte) { c.device.Write(off, []byte{v}) }

func (c *chip) read(off uint64) byte {
	p := []byte{0xaa}
	c.device.Read(off, p)
	return p[0]
}

// onBench checks both the answer and the solution, each in a chip of its own.
func onBench(t *testing.T, check func(*chip) error) {
	t.Helper()
	made := func(solution bool) *chip {
		c := &chip{}
		if solution {
			c.device = newBetterSolution(&c.out, c)
		} else {
			c.device = newBetter(&c.out, c)
		}
		return c
	}
	exercise.Check(t, check, made(false), made(true))
}

func TestScratch(t *testing.T) {
	onBench(t, func(c *chip) error {
		for _, v := range []byte{0xae, 0x00, 0x51} {
			c.write(7, v)
			c.write(0, 'x')
			if got := c.read(7); got != v {
				return fmt.Errorf("register 7 was written %#x and reads %#x", v, got)
			}
		}
		return nil
	})
}

func TestSpeed(t *testing.T) {
	onBench(t, func(c *chip) error {
		c.device.receive('i')
		c.write(3, 0x83)
		c.write(0, 12) // 9600 bits a second
		c.write(1, 1)
		if low, high := c.read(0), c.read(1); low != 12 || high != 1 {
			return fmt.Errorf("the speed was written 12, 1 and reads %d, %d", low, high)
		}
		c.write(3, 0x03)
		if got := c.read(3); got != 0x03 {
			return fmt.Errorf("register 3 was written 0x3 and reads %#x", got)
		}
		if c.out.Len() > 0 || c.interrupts > 0 {
			return fmt.Errorf("setting the speed sends %q and interrupts %d times", c.out.String(), c.interrupts)
		}
		if got := c.read(0); got != 'i' {
			return fmt.Errorf("what was received before reads as %q afterwards", got)
		}
		c.write(0, 'o')
		if c.out.String() != "o" {
			return fmt.Errorf("with bit 7 clear again, register 0 sends %q, not \"o\"", c.out.String())
		}
		return nil
	})
}

func TestInterrupt(t *testing.T) {
	onBench(t, func(c *chip) error {
		expect := func(when string, interrupts int, why byte) error {
			if c.interrupts != interrupts {
				return fmt.Errorf("%s: %d interrupts so far, not %d", when, c.interrupts, interrupts)
			}
			if got := c.read(2); got != why {
				return fmt.Errorf("%s: register 2 reads %d, not %d", when, got, why)
			}
			return nil
		}
		steps := []struct {
			when       string
			do         func()
			interrupts int
			why        byte
		}{
			{"after a reset", func() {}, 0, 1},
			{"a byte comes in, not enabled", func() { c.device.receive('a') }, 0, 1},
			{"enabled then", func() { c.write(1, 1) }, 1, 4},
			{"the byte is read", func() { c.read(0) }, 1, 1},
			{"another one comes in", func() { c.device.receive('b') }, 2, 4},
			{"disabled", func() { c.write(1, 0) }, 2, 1},
			{"a third one comes in", func() { c.device.receive('c') }, 2, 1},
			{"enabled again, with two bytes there", func() { c.write(1, 1) }, 3, 4},
			{"one of them is read", func() { c.read(0) }, 3, 4},
			{"the other one is read", func() { c.read(0) }, 3, 1},
		}
		for _, s := range steps {
			s.do()
			if err := expect(s.when, s.interrupts, s.why); err != nil {
				return err
			}
		}
		return nil
	})
}

// TestGuest runs the lesson's guest on the answer: it must not be worse than before.
func TestGuest(t *testing.T) {
	onBench(t, func(c *chip) error {
		for _, v := range []byte("still works\x04") {
			c.device.receive(v)
		}
		err := exercise.Run(func() error { _, err := run(guest, c.device); return err })
		if err == nil && c.out.String() != "STILL WORKS" {
			err = fmt.Errorf("the lesson's guest says %q, not \"STILL WORKS\"", c.out.String())
		}
		return err
	})
}
