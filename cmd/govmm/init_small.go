//go:build smallinit

package main

import _ "embed"

// guestInit is cmd/guestinit, which make build compiles first.
//
//go:embed guestinit
var guestInit []byte

// initProgram gives the program that is the init of govmm run's guests.
func initProgram() ([]byte, error) { return guestInit, nil }
