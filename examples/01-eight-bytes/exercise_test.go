package main

import (
	"bytes"
	"fmt"
	"testing"

	"govmm/examples/internal/exercise"
)

func TestProduct(t *testing.T) {
	exercise.Check(t, func(code []byte) error {
		if err := says(code, 2, 4, "8"); err != nil {
			return err
		}
		return says(code, 3, 3, "9")
	}, product, productSolution)
}

func TestHello(t *testing.T) {
	exercise.Check(t, func(code []byte) error { return says(code, 0, 0, "hello") }, hello, helloSolution)
}

func TestDigits(t *testing.T) {
	exercise.Check(t, func(code []byte) error {
		if len(code) > 14 {
			return fmt.Errorf("%d bytes; can you do it in 14?", len(code))
		}
		return says(code, 0, 0, "0123456789")
	}, digits, digitsSolution)
}

// says runs the guest and compares.
func says(code []byte, a, b uint64, want string) error {
	var out bytes.Buffer
	if err := exercise.Run(func() error { return run(code, a, b, &out) }); err != nil {
		return err
	}
	if out.String() != want {
		return fmt.Errorf("with %d and %d the guest says %q, not %q", a, b, out.String(), want)
	}
	return nil
}
