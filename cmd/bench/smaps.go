package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"
)

// A vma is an entry of /proc/PID/smaps.
type vma struct {
	start, end uint64
	perms      string
	path       string   // empty for anonymous memory
	private    uint64   // bytes that are resident and nobody else's
	flags      []string // VmFlags
}

// parseSmaps reads /proc/PID/smaps (Documentation/filesystems/proc.rst).
func parseSmaps(r io.Reader) ([]vma, error) {
	var list []vma
	s := bufio.NewScanner(r)
	for s.Scan() {
		fields := strings.Fields(s.Text())
		if len(fields) == 0 {
			continue
		}
		key, isValue := strings.CutSuffix(fields[0], ":")
		if !isValue {
			v, err := parseHeader(fields)
			if err != nil {
				return nil, fmt.Errorf("smaps: %q: %w", s.Text(), err)
			}
			list = append(list, v)
			continue
		}
		if len(list) == 0 {
			return nil, fmt.Errorf("smaps: %q belongs to no mapping", s.Text())
		}
		v := &list[len(list)-1]
		switch key {
		case "Private_Clean", "Private_Dirty":
			kb, err := strconv.ParseUint(fields[1], 10, 54)
			if err != nil {
				return nil, fmt.Errorf("smaps: %q: %w", s.Text(), err)
			}
			v.private += kb << 10
		case "VmFlags":
			v.flags = fields[1:]
		}
	}
	return list, s.Err()
}

// parseHeader reads "start-end perms offset device inode path".
func parseHeader(fields []string) (vma, error) {
	if len(fields) < 5 {
		return vma{}, errors.New("not a mapping")
	}
	start, end, _ := strings.Cut(fields[0], "-")
	v := vma{perms: fields[1], path: strings.Join(fields[5:], " ")}
	var err error
	if v.start, err = strconv.ParseUint(start, 16, 64); err != nil {
		return vma{}, err
	}
	if v.end, err = strconv.ParseUint(end, 16, 64); err != nil {
		return vma{}, err
	}
	return v, nil
}
