package main

import (
	"errors"

	"govmm/bootimage/kernelcache"
	"govmm/machine"
)

// direct is the value of --direct.
type direct machine.Direct

var directNames = map[string]direct{
	"auto": direct(machine.DirectAuto), "always": direct(machine.DirectAlways), "never": direct(machine.DirectNever),
}

func (d *direct) Set(s string) error {
	v, ok := directNames[s]
	if !ok {
		return errors.New("give auto, always or never")
	}
	*d = v
	return nil
}

func (d *direct) String() string {
	for name, v := range directNames {
		if v == *d {
			return name
		}
	}
	return ""
}

func (d *direct) Type() string { return "WHEN" }

// kernelCache is where unpacked kernels are kept; nil where the user has no place for it.
func kernelCache() *kernelcache.Dir {
	path, err := kernelcache.DefaultPath()
	if err != nil {
		return nil
	}
	return &kernelcache.Dir{Path: path}
}
