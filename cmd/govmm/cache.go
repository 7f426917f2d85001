package main

import (
	"govmm/bootimage/kernelcache"
	"govmm/sandbox"
)

// kernelCache is where unpacked kernels are kept; nil where the user has no place for it, or whether it is his alone cannot be told.
func kernelCache() *kernelcache.Dir {
	if !sandbox.OwnersKnown() {
		return nil
	}
	path, err := kernelcache.DefaultPath()
	if err != nil {
		return nil
	}
	return &kernelcache.Dir{Path: path}
}
