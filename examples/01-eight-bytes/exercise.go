package main

// The exercises of lesson 1. Change what stands here, then: go test ./examples/01-eight-bytes -exercise
var (
	// Exercise 1: the product of the two numbers in place of their sum. The processor's manual has MUL beside ADD.
	product = guest

	// Exercise 2: the guest says "hello", whatever the numbers are.
	hello = []byte{0xfa, 0xf4}

	// Exercise 3: all digits from 0 to 9, by a loop, in at most 14 bytes.
	digits = []byte{0xfa, 0xf4}
)
