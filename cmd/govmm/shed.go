package main

import (
	"bytes"
	"os"

	"golang.org/x/sys/unix"
)

// A shedder gives memory of the program's own file back.
type shedder struct{ segments []programHeader }

// newShedder looks at what there is, for which it reads files of the host's.
func newShedder() *shedder {
	if traced() {
		return new(shedder) // a debugger's breakpoints are changes to these pages
	}
	return &shedder{programSegments()}
}

// shed gives back the pages of the program's own file that only its start needed. They are most of them: the kernel maps 16 around each
// one that is touched, and leaves them until memory is short, while a monitor whose guest runs touches few. One that is needed again is
// mapped again from the page cache. Nothing is lost if that fails or cannot be.
func (s *shedder) shed() {
	for _, s := range s.segments {
		if s.Type == ptLoad && s.Flags&pfWrite == 0 {
			_ = dontNeed(s)
		}
	}
}

// traced says whether there is a debugger, or whether that is not known (proc_pid_status(5)).
func traced() bool {
	status, err := os.ReadFile("/proc/self/status")
	return err != nil || !bytes.Contains(status, []byte("\nTracerPid:\t0\n"))
}

// A programHeader describes a segment of the running program: Elf64_Phdr in elf(5), with Vaddr where it is and not where it was linked to be.
type programHeader struct {
	Type, Flags                                uint32
	Offset, Vaddr, Paddr, Filesz, Memsz, Align uint64
}

// Types and flags of segments (elf(5)). A segment without pfWrite has never been written to by the program, which one that is mapped without may
// have been: its relocations.
const (
	ptLoad  = 1
	ptPhdr  = 6
	pfWrite = 1 << 1
)

// Keys of the auxiliary vector (getauxval(3)).
const (
	atPhdr  = 3
	atPhent = 4
	atPhnum = 5
)

// programSegments gives the segments of the running program, or none where the kernel does not tell.
func programSegments() []programHeader {
	vector, err := unix.Auxv()
	if err != nil {
		return nil
	}
	value := make(map[uintptr]uintptr, len(vector))
	for _, v := range vector {
		value[v[0]] = v[1]
	}
	if value[atPhdr] == 0 || value[atPhent] != programHeaderSize {
		return nil
	}
	headers := programHeaders(value[atPhdr], int(value[atPhnum]))
	for _, h := range headers {
		if h.Type == ptPhdr {
			moved := uint64(value[atPhdr]) - h.Vaddr
			for i := range headers {
				headers[i].Vaddr += moved
			}
			return headers
		}
	}
	return nil
}
