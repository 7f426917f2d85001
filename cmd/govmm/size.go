package main

import (
	"fmt"
	"math/bits"
	"strconv"
	"strings"
)

// size is a flag's value in bytes, written with a suffix of K, M, G or T (powers of
// 1024, either case); a plain number is bytes.
type size uint64

func (s *size) Set(text string) error {
	digits, shift := text, 0
	if n := len(text); n > 0 {
		if i := strings.IndexByte("KMGT", text[n-1]&^0x20); i >= 0 {
			digits, shift = text[:n-1], 10*(i+1)
		}
	}
	n, err := strconv.ParseUint(digits, 10, 64)
	if err != nil {
		return fmt.Errorf("%q is not a size; write it as 512M or 2G", text)
	}
	hi, lo := bits.Mul64(n, 1<<shift)
	if hi != 0 {
		return fmt.Errorf("%q is beyond any memory", text)
	}
	*s = size(lo)
	return nil
}

func (s *size) String() string {
	n, unit := uint64(*s), ""
	for _, u := range []string{"K", "M", "G", "T"} {
		if n == 0 || n%1024 != 0 {
			break
		}
		n, unit = n/1024, u
	}
	return strconv.FormatUint(n, 10) + unit
}

func (s *size) Type() string { return "size" }
