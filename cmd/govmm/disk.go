package main

import (
	"errors"
	"fmt"
	"log/slog"
	"strings"

	"govmm/devices/virtio"
	"govmm/devices/virtio/blk"
)

// diskSyntax is how a --disk flag is written. A comma that belongs to the path or the serial number is written twice.
const diskSyntax = "PATH[,ro][,cache=writeback|none][,rate=OPS:BYTES][,serial=TEXT]"

// maxSerial is the most bytes of a serial number.
const maxSerial = 20

// mostDiskQueues bounds the queues of a disk: beyond that its file is the limit.
const mostDiskQueues = 16

// disk is one --disk flag.
type disk struct {
	path     string
	readOnly bool
	direct   bool   // cache=none
	ops      uint64 // a second; 0 for no limit
	bytes    uint64 // a second; 0 for no limit
	serial   string
}

func parseDisk(text string) (disk, error) {
	words := splitCommas(text)
	d := disk{path: words[0]}
	if d.path == "" {
		return d, fmt.Errorf("disk %q has no path; write it as %s", text, diskSyntax)
	}
	seen := map[string]bool{}
	for _, word := range words[1:] {
		name, value, hasValue := strings.Cut(word, "=")
		if seen[name] {
			return d, fmt.Errorf("disk %s: option %s is there twice; leave one out", d.path, name)
		}
		seen[name] = true
		if err := d.set(name, value, hasValue); err != nil {
			return d, fmt.Errorf("disk %s: %w", d.path, err)
		}
	}
	return d, nil
}

// splitCommas splits text at commas. Two of them are one that does not split.
func splitCommas(text string) []string {
	words := []string{""}
	for i := 0; i < len(text); i++ {
		last := &words[len(words)-1]
		switch {
		case text[i] != ',':
			*last += text[i : i+1]
		case i+1 < len(text) && text[i+1] == ',':
			*last += ","
			i++
		default:
			words = append(words, "")
		}
	}
	return words
}

// set takes one option.
func (d *disk) set(name, value string, hasValue bool) error {
	switch {
	case name == "ro" && hasValue:
		return errors.New("ro takes no value; write it as ,ro or leave it out")
	case name == "ro":
		d.readOnly = true
	case name == "cache" && (value == "writeback" || value == "none"):
		d.direct = value == "none"
	case name == "cache":
		return fmt.Errorf("cache=%s is not known; write cache=writeback (the host's page cache, the default) or cache=none (past it)", value)
	case name == "rate":
		return d.setRate(value)
	case name == "serial" && (value == "" || len(value) > maxSerial):
		return fmt.Errorf("serial=%s has %d bytes; give 1 to %d", value, len(value), maxSerial)
	case name == "serial":
		d.serial = value
	default:
		return fmt.Errorf("option %q is not known; there are ro, cache=, rate= and serial= (a comma in a path is written twice)", name)
	}
	return nil
}

// setRate takes OPS:BYTES, of which either may be empty or 0 for no limit.
func (d *disk) setRate(value string) error {
	ops, bytes, ok := strings.Cut(value, ":")
	if !ok {
		return fmt.Errorf("rate=%s has no colon; write rate=OPS:BYTES, each a second, as in rate=1000:50M, rate=1000: or rate=:50M", value)
	}
	for _, part := range []struct {
		text string
		to   *uint64
	}{{ops, &d.ops}, {bytes, &d.bytes}} {
		if part.text == "" {
			continue
		}
		var n size
		if err := n.Set(part.text); err != nil {
			return fmt.Errorf("rate=%s: %q is not a number; write it as 1000, 10K or 50M", value, part.text)
		}
		*part.to = uint64(n)
	}
	return nil
}

// An openDisk is a disk with its image.
type openDisk struct {
	*blk.File
	disk
}

// openDisks opens the images in order. The caller closes those that it gives, also
// together with an error.
func openDisks(flags []string) ([]openDisk, error) {
	var disks []openDisk
	for _, text := range flags {
		d, err := parseDisk(text)
		if err != nil {
			return disks, err
		}
		open := blk.OpenFile
		if d.direct {
			open = blk.OpenDirect
		}
		f, err := open(d.path, d.readOnly)
		if err != nil {
			return disks, err
		}
		disks = append(disks, openDisk{f, d})
	}
	return disks, nil
}

// blockDevices makes the devices of a machine with that many vCPUs, each of which gets a queue.
func blockDevices(disks []openDisk, cpus int, log *slog.Logger) ([]virtio.Device, error) {
	var devs []virtio.Device
	for _, d := range disks {
		dev, err := blk.New(blk.Config{
			Backend: d.File, ID: d.serial, Queues: max(1, min(cpus, mostDiskQueues)), Ops: d.ops, Bytes: d.bytes, Log: log,
		})
		if err != nil {
			return nil, err
		}
		devs = append(devs, dev)
	}
	return devs, nil
}
