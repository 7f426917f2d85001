package main

import "govmm/bootimage/kaslr"

// The exercises of lesson 10. Change what stands here, then: go test ./examples/10-kaslr -exercise

// Exercise 1: at how many physical addresses can a kernel lie that takes size bytes? They are multiples of align, a power of two, at lowest or above, and all
// of the kernel is in one of the pieces of RAM, which do not overlap and do not touch. All figures are less than 2^52.
func countPlaces(ram []kaslr.Range, lowest, size, align uint64) uint64 {
	return 0
}

// Exercise 2: relocate, for a file that may be anybody's. load is the kernel as it lies in memory, its first byte linked for the virtual address linked; at each
// place, a virtual address as linked, are the lower 32 bits of an address, to which delta is to be added. If a place is not all in load nothing is changed, and false
// returned.
func relocate32(load []byte, places []uint64, linked uint64, delta uint32) bool {
	return false
}

// Exercise 3: a number from 0 to n-1, each as likely as the others, from a source of random bytes. n is from 1 to 256. The remainder of a byte
// divided by n is not the answer: with n = 100, the numbers up to 55 come three times in 256 bytes and the others twice.
func choose(random func() byte, n int) int {
	return int(random()) % n
}
