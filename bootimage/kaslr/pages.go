package kaslr

// pageSize is a page of memory's, which is copied when a place in it changes.
const pageSize = 4096

// Pages counts the pages that Apply will change: for each block of block bytes of a load of size bytes
// (see Apply for load and linkVirt), how many of its pages have places in them. block is a multiple of 4096.
// Places outside of load, which Apply refuses, do not count.
func (r Relocs) Pages(linkVirt, size, block uint64) []int {
	counts := make([]int, (size+block-1)/block)
	seen := make([]bool, (size+pageSize-1)/pageSize)
	for _, entries := range [][]byte{r.abs32, r.inverse, r.abs64} {
		for ; len(entries) >= entrySize; entries = entries[entrySize:] {
			at := address(le32(entries, 0)) - linkVirt
			if at < size && !seen[at/pageSize] {
				seen[at/pageSize] = true
				counts[at/block]++
			}
		}
	}
	return counts
}
