#include "textflag.h"

// What package sandbox is told of a program that begins outside of the namespaces.
#define COULD 1 // it could have begun there, but has no guest to run, as far as can be seen here
#define OFF 2   // an option says so

// func entry()
// The kernel enters it where the program was linked with it (make build), with argc, argv and the rest on the stack. Go's runtime has not begun. The commands
// that run a guest begin in namespaces of their own, unless --sandbox=off is among their options; all others begin as Go's programs do.
//
// What follows the first argument that is no option, nor may be an option's value, belongs to the command that the guest of run is to run, and has no say here.
TEXT ·entry(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVL	$COULD, govmm∕sandbox·linked(SB)
	CMPQ	0(SP), $2
	JLT	stay
	XORL	R8, R8     // whether the command is run
	XORL	R10, R10   // whether the next argument may be an option's value
	MOVQ	16(SP), SI // argv[1]
	MOVL	(SI), AX   // of a shorter one, what follows belongs to the next string
	CMPL	AX, $0x746f6f62 // "boot"
	JNE	notBoot
	CMPB	4(SI), $0
	JNE	stay
	JMP	options
notBoot:
	CMPL	AX, $0x006e7572 // "run"
	JNE	stay
	MOVL	$1, R8
	MOVL	$1, govmm∕sandbox·keepOwners(SB) // of the root file system
options:
	LEAQ	24(SP), DI // &argv[2]
	MOVQ	$0x6f62646e61732d2d, R9  // "--sandbo"
	MOVQ	$0x736f627265762d2d, R11 // "--verbos"
	MOVQ	$0x61772d6264672d2d, R12 // "--gdb-wa"
	MOVQ	$0x616b2d6264672d2d, R13 // "--gdb-ka"
next:
	MOVQ	(DI), SI
	ADDQ	$8, DI
	TESTQ	SI, SI
	JEQ	enter
	CMPB	(SI), $0x2d // '-'
	JEQ	option
argument:
	ORL	R8, R10
	CMPL	R10, $1 // of run, and no value
	JEQ	enter
	MOVL	$0, R10
	JMP	next

option:
	CMPB	1(SI), $0
	JEQ	argument
	MOVL	$0, R10
	CMPB	1(SI), $0x2d
	JEQ	long
short: // -v takes no value, and may have others behind it
	CMPB	1(SI), $0x76 // 'v'
	JNE	letter
	INCQ	SI
	CMPB	1(SI), $0
	JEQ	next
	CMPB	1(SI), $0x3d
	JEQ	next
	JMP	short
letter: // its value is behind it, or may be the next argument
	CMPB	2(SI), $0
	JNE	next
	MOVL	$2, R10
	JMP	next

long:
	CMPB	2(SI), $0 // what follows "--" is not an option
	JEQ	enter
	CMPQ	R11, (SI)
	JEQ	next
	CMPQ	R12, (SI)
	JEQ	next
	CMPQ	R13, (SI)
	JEQ	next
	CMPQ	R9, (SI)
	JNE	search
	CMPB	8(SI), $0x78 // 'x'
	JNE	search
	CMPB	9(SI), $0x3d // '='
	JEQ	value
	CMPB	9(SI), $0
	JNE	search
	MOVQ	(DI), SI // the value is the next argument
	TESTQ	SI, SI
	JEQ	enter
	ADDQ	$8, DI
	CMPL	(SI), $0x0066666f // "off"
	JEQ	off
	JMP	next
value:
	CMPL	10(SI), $0x0066666f
	JEQ	off
	JMP	next
search: // its value is behind '=', or may be the next argument
	INCQ	SI
	CMPB	(SI), $0x3d
	JEQ	next
	CMPB	(SI), $0
	JNE	search
	MOVL	$2, R10
	JMP	next

enter:
	JMP	govmm∕sandbox·entry(SB)
off:
	MOVL	$OFF, govmm∕sandbox·linked(SB)
stay:
	JMP	_rt0_amd64_linux(SB)
