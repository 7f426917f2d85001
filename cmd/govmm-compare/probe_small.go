//go:build smallinit

package main

import _ "embed"

// smallProbe is cmd/compareprobe, which make build puts here.
//
//go:embed compareprobe
var smallProbe []byte

// probeProgram gives the program that runs in each place.
func probeProgram() ([]byte, error) { return smallProbe, nil }
