#include "go_asm.h"
#include "textflag.h"

#define SYS_write 1
#define SYS_exit_group 231
#define si_syscall 24 // in siginfo_t of SIGSYS (sigaction(2))

// WRITE writes the string at the address in R13 to standard error.
#define WRITE \
	MOVQ	0(R13), SI; \
	MOVQ	8(R13), DX; \
	MOVL	$2, DI; \
	MOVL	$SYS_write, AX; \
	SYSCALL

// func violated()
// The kernel enters it with the signal's number in DI, the siginfo_t in SI and the context in DX. There is no g and no P here,
// and whatever was interrupted may hold any lock: hence no Go.
TEXT ·violated(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVLQSX	si_syscall(SI), R12
	LEAQ	·complaint(SB), R13
	WRITE
	LEAQ	·nameless(SB), R13
	CMPQ	R12, $const_callCount
	JCC	name
	MOVQ	R12, R14
	SHLQ	$4, R14
	LEAQ	·callNames(SB), R15
	ADDQ	R14, R15
	CMPQ	8(R15), $0
	JEQ	name
	MOVQ	R15, R13
name:
	WRITE
	LEAQ	·ending(SB), R13
	WRITE
	MOVL	$const_ViolationStatus, DI
	MOVL	$SYS_exit_group, AX
	SYSCALL
	INT	$3

// func violatedPC() uintptr
TEXT ·violatedPC(SB),NOSPLIT,$0-8
	LEAQ	·violated(SB), AX
	MOVQ	AX, ret+0(FP)
	RET
