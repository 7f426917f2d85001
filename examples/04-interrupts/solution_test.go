package main

import "govmm/kvm"

// Answers to the exercises. Yours may be others.

func divisorSolution(hz int) uint16 {
	const rate, most = 1193182, 65536
	if hz <= 0 {
		return most & 0xffff
	}
	return uint16(min(max((rate+hz/2)/hz, 1), most)) // 65536 becomes 0
}

var divideErrorSolution = []byte{
	0x55,       // push bp
	0x89, 0xe5, // mov bp, sp
	0x83, 0x46, 0x02, 0x02, // add word [bp+2], 2: behind the division
	0x5d,      // pop bp
	0x50,      // push ax
	0xb0, '0', // mov al, '0'
	0xe6, 0xe9, // out 0xe9, al
	0x58, // pop ax
	0xcf, // iret
}

func messageSolution(apic, interrupt uint8) kvm.MSI {
	return kvm.MSI{Addr: 0xfee00000 | uint64(apic)<<12, Data: uint32(interrupt)}
}
