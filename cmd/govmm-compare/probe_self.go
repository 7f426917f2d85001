//go:build !smallinit

package main

import "os"

// probeProgram gives the program that runs in each place. Without the small one it is this program itself.
func probeProgram() ([]byte, error) { return os.ReadFile("/proc/self/exe") }
