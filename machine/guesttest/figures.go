package guesttest

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// Count is how often a test does its work: short, unless a variable of the environment has another number, as for make reliability.
func Count(t testing.TB, variable string, short int) int {
	t.Helper()
	text := os.Getenv(variable)
	if text == "" {
		return short
	}
	n, err := strconv.Atoi(text)
	if err != nil || n < 1 {
		t.Fatalf("%s=%s: give a number from 1 on", variable, text)
	}
	return n
}

// Figure reports a number for docs/reliability.md (cmd/reliability).
func Figure(t testing.TB, key string, value any) {
	t.Helper()
	t.Attr("reliability", fmt.Sprintf("%s=%v", key, value))
}
