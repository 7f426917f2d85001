// Package exercise checks what readers of the lessons (docs/lessons) write: each exercise has a check, a reader's answer and a solution.
package exercise

import (
	"flag"
	"testing"
)

var wanted = flag.Bool("exercise", false, "check your answers to the exercises")

// Check runs check on the reader's answer with -exercise. In the project's own tests (build tag lessonstest) it runs it on the solution, so that
// no exercise is one that cannot be done. check says in one line what is still wrong, as to somebody who is on the way.
func Check[T any](t *testing.T, check func(T) error, answer, solution T) {
	t.Helper()
	switch {
	case *wanted:
		if err := check(answer); err != nil {
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
