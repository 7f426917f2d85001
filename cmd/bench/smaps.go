package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"slices"
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

// ramSlack is what a monitor may map more than the RAM, to align it.
const ramSlack = 2 << 20

// splitRAM takes the guest's RAM of the given size out of a monitor's mappings. It is one range of addresses, in
// which parts may be mapped from files (the kernel, the initrd): neighbours of the same
// permissions and reservation, which together are as large as the RAM. Where such neighbours are larger, because something else happens
// to lie beside the RAM, one of them must be the RAM.
func splitRAM(list []vma, ram uint64) (monitor []vma, err error) {
	found := 0
	fits := func(of []vma) bool {
		size := of[len(of)-1].end - of[0].start
		return of[0].perms == "rw-p" && size >= ram && size <= ram+ramSlack
	}
	for i := 0; i < len(list); {
		n := 1
		for i+n < len(list) && neighbours(list[i+n-1], list[i+n]) {
			n++
		}
		run := list[i : i+n]
		i += n
		if fits(run) {
			found++
			continue
		}
		for j := range run {
			if fits(run[j : j+1]) {
				found++
			} else {
				monitor = append(monitor, run[j])
			}
		}
	}
	if found != 1 {
		return nil, fmt.Errorf("%d ranges of addresses look like guest RAM of %d MiB, not one", found, ram>>20)
	}
	return monitor, nil
}

func neighbours(a, b vma) bool {
	reserved := func(v vma) bool { return !slices.Contains(v.flags, "nr") }
	return a.end == b.start && a.perms == b.perms && reserved(a) == reserved(b)
}

// A holder is a part of a process that has memory of its own.
type holder struct {
	What    string  `json:"what"`
	Private float64 `json:"private"` // bytes
}

// A mapping is a holder's.
type mapping struct {
	Range   string `json:"range"`
	Perms   string `json:"perms"`
	Path    string `json:"path,omitempty"`
	What    string `json:"what"`
	Private uint64 `json:"private"` // bytes
}

// holders adds up who holds a process's private memory, largest first, and lists the largest mappings.
func holders(list []vma, program string) ([]holder, []mapping, uint64) {
	var (
		sum      []holder
		mappings []mapping
		total    uint64
	)
	for i, v := range list {
		if v.private == 0 {
			continue
		}
		total += v.private
		what := whatHolds(list, i, program)
		at := slices.IndexFunc(sum, func(h holder) bool { return h.What == what })
		if at < 0 {
			at = len(sum)
			sum = append(sum, holder{What: what})
		}
		sum[at].Private += float64(v.private)
		mappings = append(mappings, mapping{fmt.Sprintf("%x-%x", v.start, v.end), v.perms, v.path, what, v.private})
	}
	slices.SortStableFunc(sum, func(a, b holder) int { return int(b.Private - a.Private) })
	slices.SortStableFunc(mappings, func(a, b mapping) int { return int(b.Private) - int(a.Private) })
	return sum, mappings[:min(len(mappings), 16)], total
}

// mmapArea is below the addresses that the kernel chooses for mappings. Go's heap is far below them, at
// addresses that the runtime asks for and that differ from run to run (runtime/malloc.go, "arenaHints").
const mmapArea = 0x7000_0000_0000

// whatHolds names the use of list[i].
func whatHolds(list []vma, i int, program string) string {
	v := list[i]
	switch {
	case v.path == program && strings.Contains(v.perms, "x"):
		return "code"
	case v.path == program && strings.Contains(v.perms, "w"):
		return "initialized variables"
	case v.path == program:
		return "constants and tables of the program"
	case v.path == "" && i > 0 && list[i-1].path == program && list[i-1].end == v.start:
		return "zeroed variables (bss)"
	case v.path == "" && v.start < mmapArea, v.path == "[anon: Go: heap]":
		return "Go heap and goroutines' stacks"
	case v.path == "" || strings.HasPrefix(v.path, "[anon: "):
		return "other anonymous memory: the language's runtime"
	case strings.HasPrefix(v.path, "anon_inode:"):
		return "what is shared with KVM"
	case strings.HasPrefix(v.path, "["):
		return strings.Trim(v.path, "[]")
	case strings.Contains(filepath.Base(v.path), ".so"):
		return "shared libraries"
	}
	return "mapped files"
}
