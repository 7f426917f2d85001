// Package exercise checks what readers of the lessons (docs/lessons) write: each exercise has a check, a reader's answer and a solution.
package exercise

import (
	"flag"
	"fmt"
	"testing"
	"time"
)

var wanted = flag.Bool("exercise", false, "check your answers to the exercises")

// Check runs check on the reader's answer with -exercise. In the project's own tests (build tag lessonstest) it runs it on the solution, so that
// no exercise is one that cannot be done. check says in one line what is still wrong, as to somebody who is on the way.
func Check[T any](t *testing.T, check func(T) error, answer, solution T) {
	t.Helper()
	switch {
	case *wanted:
		if err := within(3*patience, func() error { return check(answer) }); err != nil {
			t.Errorf("not yet: %v", err)
		}
	case checkSolutions:
		if err := check(solution); err != nil {
			t.Errorf("the solution is wrong: %v", err)
		}
	default:
		t.Skip("an exercise of a lesson; with -exercise the answer to it is checked")
	}
}

// patience is how long a guest of an exercise may take. Right answers take milliseconds.
const patience = 10 * time.Second

// Run runs a guest, and gives up on one that never ends. It is left behind: the test is over soon.
func Run(guest func() error) error { return within(patience, guest) }

func within(d time.Duration, f func() error) error {
	done := make(chan error, 1)
	go func() { done <- withoutPanic(f) }()
	select {
	case err := <-done:
		return err
	case <-time.After(d):
		return fmt.Errorf("it is still running after %v; does it reach its end?", d)
	}
}

// withoutPanic makes an error of an answer's panic.
func withoutPanic(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = fmt.Errorf("your code panics: %v", r)
		}
	}()
	return f()
}
