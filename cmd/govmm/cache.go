package main

import "govmm/bootimage/kernelcache"

// kernelCache is where unpacked kernels are kept; nil where the user has no place for it.
func kernelCache() *kernelcache.Dir {
	path, err := kernelcache.DefaultPath()
	if err != nil {
		return nil
	}
	return &kernelcache.Dir{Path: path}
}
