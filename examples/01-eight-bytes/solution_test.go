package main

// Answers to the exercises. Yours may be others.
var (
	productSolution = []byte{
		0xf6, 0xe3, // mul bl: AX = AL * BL
		0x04, '0', // add al, '0'
		0xe6, port, // out port, al
		0xfa, 0xf4, // cli; hlt
	}

	helloSolution = []byte{
		0xb0, 'h', 0xe6, port, // mov al, 'h'; out port, al
		0xb0, 'e', 0xe6, port,
		0xb0, 'l', 0xe6, port, 0xe6, port,
		0xb0, 'o', 0xe6, port,
		0xfa, 0xf4,
	}

	digitsSolution = []byte{
		0xb0, '0', // mov al, '0'
		0xe6, port, // out port, al
		0xfe, 0xc0, // inc al
		0x3c, '9' + 1, // cmp al, '9'+1
		0x75, 0xf8, // jne to out: 8 bytes back
		0xfa, 0xf4,
	}
)
