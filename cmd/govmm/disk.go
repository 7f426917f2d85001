package main

import (
	"fmt"
	"strings"

	"govmm/devices/virtio/blk"
)

// disk is one --disk flag: PATH[,ro].
type disk struct {
	path     string
	readOnly bool
}

func parseDisk(text string) (disk, error) {
	path, options, _ := strings.Cut(text, ",")
	d := disk{path: path}
	if path == "" {
		return d, fmt.Errorf("disk %q has no path; write it as PATH or PATH,ro", text)
	}
	if options == "" {
		return d, nil
	}
	for option := range strings.SplitSeq(options, ",") {
		if option != "ro" {
			return d, fmt.Errorf("disk %s: option %q is not known; there is ro", path, option)
		}
		d.readOnly = true
	}
	return d, nil
}

// openDisks opens the images in order. The caller closes those that it gives, also
// together with an error.
func openDisks(flags []string) ([]*blk.File, error) {
	var files []*blk.File
	for _, text := range flags {
		d, err := parseDisk(text)
		if err != nil {
			return files, err
		}
		f, err := blk.OpenFile(d.path, d.readOnly)
		if err != nil {
			return files, err
		}
		files = append(files, f)
	}
	return files, nil
}
