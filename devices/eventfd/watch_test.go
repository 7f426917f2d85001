package eventfd

import (
	"context"
	"testing"
)

// TestWatch holds that the end of the context that was given last wakes a waiter, and that of an earlier one does not.
func TestWatch(t *testing.T) {
	e, err := New()
	if err != nil {
		t.Fatal(err)
	}
	defer e.Close()
	var w Watch
	first, endFirst := context.WithCancel(t.Context())
	second, endSecond := context.WithCancel(t.Context())
	w.For(first, e)
	if n := testing.AllocsPerRun(10, func() { w.For(first, e) }); n != 0 {
		t.Errorf("%v allocations for the same context", n)
	}
	w.For(second, e)
	endFirst()
	woken := make(chan error, 1)
	go func() { woken <- e.Wait() }()
	select {
	case <-woken:
		t.Fatal("an earlier context woke the waiter")
	default:
	}
	endSecond()
	if err := <-woken; err != nil {
		t.Error(err)
	}
}
