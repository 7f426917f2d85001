#include "textflag.h"

// func entry()
// The kernel enters it where the program was linked with it (make build), with argc, argv and the rest on the stack. Go's runtime has not begun. The commands
// that run a guest begin in namespaces of their own, unless --sandbox=off is among their options; all others begin as Go's programs do.
TEXT ·entry(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVL	$1, govmm∕sandbox·linked(SB)
	CMPQ	0(SP), $2
	JLT	stay
	MOVQ	16(SP), SI // argv[1]
	MOVL	(SI), AX   // of a shorter one, what follows belongs to the next string
	CMPL	AX, $0x006e7572 // "run"
	JEQ	options
	CMPL	AX, $0x746f6f62 // "boot"
	JNE	stay
	CMPB	4(SI), $0
	JNE	stay
options:
	LEAQ	24(SP), DI // &argv[2]
	MOVQ	$0x6f62646e61732d2d, R9 // "--sandbo"
next:
	MOVQ	(DI), SI
	ADDQ	$8, DI
	TESTQ	SI, SI
	JEQ	enter
	CMPW	(SI), $0x2d2d // "--"
	JNE	next
	CMPB	2(SI), $0 // and no more: what follows is not an option
	JEQ	enter
	CMPQ	R9, (SI)
	JNE	next
	CMPB	8(SI), $0x78 // 'x'
	JNE	next
	CMPB	9(SI), $0x3d // '='
	JEQ	value
	CMPB	9(SI), $0
	JNE	next
	MOVQ	(DI), SI // the value is the next argument
	TESTQ	SI, SI
	JEQ	enter
	CMPL	(SI), $0x0066666f // "off"
	JEQ	stay
	JMP	next
value:
	CMPL	10(SI), $0x0066666f
	JEQ	stay
	JMP	next
enter:
	JMP	govmm∕sandbox·entry(SB)
stay:
	JMP	_rt0_amd64_linux(SB)
