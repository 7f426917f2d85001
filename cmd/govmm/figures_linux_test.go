//go:build linuxtest

package main

import (
	"fmt"
	"os"
	"strconv"
	"testing"
)

// count is how often a test does its work: short, unless the environment has another number, as for make reliability.
func count(t *testing.T, variable string, short int) int {
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

// figure reports a number for docs/reliability.md.
func figure(t *testing.T, key string, value any) {
	t.Helper()
	t.Attr("reliability", fmt.Sprintf("%s=%v", key, value))
}
