package bootimage

import (
	"encoding/binary"

	"govmm/bootimage/kaslr"
)

// Trim shortens the segments of an unpacked kernel (Params.Unpacked) by the whole pages of zeroes that they
// end in, which is done by changing their p_filesz, in unpacked itself. The last segment of a kernel is
// often so written that its BSS is zeroes in the file: twelve of sixteen MB that a guest would have to
// be given and that RAM has anyway.
//
// To find them takes reading them, so it is done once, after unpacking, and not at each boot. What
// is no kernel stays as it is.
func Trim(unpacked []byte) {
	img, err := parseELF(unpacked)
	if err != nil {
		return
	}
	end, err := kaslr.End(unpacked)
	if err != nil {
		return
	}
	for _, s := range img.segments {
		field := unpacked[s.header+progFileSize:]
		binary.LittleEndian.PutUint64(field, withoutZeroes(s.data))
	}
	if now, err := kaslr.End(unpacked); err == nil && now == end {
		return
	}
	// No section headers tell where the file ends, the segments did, and behind it are the relocations.
	for _, s := range img.segments {
		binary.LittleEndian.PutUint64(unpacked[s.header+progFileSize:], uint64(len(s.data)))
	}
}

// withoutZeroes returns how long data is without the pages of zeroes at its end.
func withoutZeroes(data []byte) uint64 {
	n := len(data)
	for n > 0 && data[n-1] == 0 {
		n--
	}
	return min(uint64(n+pageSize-1)&^(pageSize-1), uint64(len(data)))
}
