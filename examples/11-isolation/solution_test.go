package main

// Answers to the exercises. Yours may be others.

func inRAMSolution(addr, size, ramSize uint64) bool {
	return addr <= ramSize && size <= ramSize-addr
}

func chainSolution(t table, head uint16) (found []descriptor, ok bool) {
	for range t.Len() { // no chain is longer than the table
		if int(head) >= t.Len() {
			return nil, false
		}
		d := t.At(head)
		if found = append(found, d); !d.More {
			return found, true
		}
		head = d.Next
	}
	return nil, false
}

func receiveSolution(m message, buffer []byte) (int, bool) {
	n := m.Length() // once; what the guest makes of it later does not matter
	if uint64(n) > uint64(len(buffer)) {
		return 0, false
	}
	m.Read(buffer[:n])
	return int(n), true
}
