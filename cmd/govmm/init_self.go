//go:build !smallinit

package main

import "os"

// initProgram gives the program that is the init of govmm run's guests: this one, as nothing else is there when it was built by go build alone. It is
// several times the size of what make build uses, and the guest holds all of it in memory.
func initProgram() ([]byte, error) { return os.ReadFile("/proc/self/exe") }
