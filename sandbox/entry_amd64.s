#include "go_asm.h"
#include "textflag.h"

#define SYS_read 0
#define SYS_write 1
#define SYS_close 3
#define SYS_fstat 5
#define SYS_recvmsg 47
#define SYS_socketpair 53
#define SYS_clone 56
#define SYS_geteuid 107
#define SYS_getegid 108
#define SYS_capget 125
#define SYS_capset 126
#define SYS_exit_group 231
#define SYS_openat 257
#define SYS_faccessat 269
#define SYS_unshare 272

#define AF_UNIX 1
#define SOCK_STREAM_CLOEXEC 0x80001
#define MSG_CMSG_CLOEXEC 0x40000000
#define CONTROL_SIZE 24 // of a control message with one descriptor (cmsg(3))
#define st_uid 28       // in struct stat, and st_gid behind it

#define AT_FDCWD -100
#define W_OK 2
#define CLONE_NEWNS 0x00020000
#define CLONE_NEWUSER 0x10000000
#define CAPABILITY_VERSION_3 0x20080522

// The words of capget(2), on the stack: a header of two, and then what the thread has of capabilities 0 to 31 and of 32 to 63.
#define EFFECTIVE 8(BX)
#define PERMITTED 12(BX)
#define INHERITABLE 16(BX)
#define EFFECTIVE_HIGH 20(BX)
#define PERMITTED_HIGH 24(BX)
#define INHERITABLE_HIGH 28(BX)

// OPEN opens the file whose name ends with a zero for reading.
#define OPEN(name) \
	MOVQ	$AT_FDCWD, DI; \
	MOVQ	name(SB), SI; \
	XORL	DX, DX; \
	MOVL	$SYS_openat, AX; \
	SYSCALL

// READ reads no more than 16 bytes from the descriptor in AX to 32(BX), and closes it.
#define READ \
	MOVQ	$0, 32(BX); \
	MOVQ	AX, R12; \
	MOVQ	AX, DI; \
	LEAQ	32(BX), SI; \
	MOVL	$16, DX; \
	MOVL	$SYS_read, AX; \
	SYSCALL; \
	MOVQ	R12, DI; \
	MOVL	$SYS_close, AX; \
	SYSCALL

// func entry()
// The kernel enters it, with argc and all that follows it at the stack pointer, and it goes on to where Go's programs begin. There is one
// thread, no g, and nothing of Go's works yet. What comes about is left in ·entered.
TEXT ·entry(SB),NOSPLIT|NOFRAME|TOPFRAME,$0
	MOVL	$const_linkedEntry, ·linked(SB)
	SUBQ	$64, SP
	MOVQ	SP, BX
	MOVL	$CAPABILITY_VERSION_3, 0(BX)
	MOVL	$0, 4(BX)
	MOVQ	BX, DI
	LEAQ	EFFECTIVE, SI
	MOVL	$SYS_capget, AX
	SYSCALL
	MOVL	$const_entryCapabilities, R13
	TESTQ	AX, AX
	JNE	failed
	MOVL	PERMITTED, AX
	ORL	PERMITTED_HIGH, AX
	JNE	privileged

	// A user without privileges.
	MOVL	$SYS_geteuid, AX
	SYSCALL
	MOVL	AX, ·entered+entryState_uid(SB)
	MOVL	AX, R14
	MOVL	$SYS_getegid, AX
	SYSCALL
	MOVL	AX, ·entered+entryState_gid(SB)
	MOVL	$const_entryPowerless, R13
	TESTL	R14, R14 // root
	JEQ	stay
	MOVL	$const_entryNobody, R13
	CMPL	R14, $const_overflowID
	JEQ	stay
	CMPL	AX, $const_overflowID
	JEQ	stay

	// Once inside, there is no way back, so that what is to be written there is asked for first.
	MOVL	$const_entryMap, R13
	MOVQ	$AT_FDCWD, DI
	MOVQ	·uidMap(SB), SI
	MOVL	$W_OK, DX
	MOVL	$SYS_faccessat, AX
	SYSCALL
	TESTQ	AX, AX
	JNE	failed

	// AppArmor lets a program into a user namespace, and takes all rights in it, if no profile says otherwise.
	OPEN(·appArmorRestricts)
	TESTQ	AX, AX
	JLT	unshare
	READ
	CMPB	32(BX), $0x31 // '1'
	JNE	unshare
	OPEN(·appArmorProfile)
	TESTQ	AX, AX
	JLT	unshare
	READ
	MOVL	$const_entryAppArmor, R13
	MOVQ	·unconfined(SB), AX
	MOVQ	(AX), AX
	CMPQ	AX, 32(BX)
	JEQ	stay

unshare:
	CMPL	·keepOwners(SB), $0
	JNE	fork
forked:
	MOVL	$const_entryRefused, R13
	MOVL	$(CLONE_NEWUSER|CLONE_NEWNS), DI
	MOVL	$SYS_unshare, AX
	SYSCALL
	TESTQ	AX, AX
	JNE	failed

	// The namespace has given all capabilities. Most let the owner of a file do what its mode forbids him; kept are those that Apply needs.
	MOVL	$const_keptCapabilities, EFFECTIVE
	MOVL	$const_keptCapabilities, PERMITTED
	MOVL	$0, INHERITABLE
	MOVL	$0, EFFECTIVE_HIGH
	MOVL	$0, PERMITTED_HIGH
	MOVL	$0, INHERITABLE_HIGH
	MOVQ	BX, DI
	LEAQ	EFFECTIVE, SI
	MOVL	$SYS_capset, AX
	SYSCALL
	MOVL	$const_entryUser, R13
	TESTQ	AX, AX
	JNE	failed // it has more than it should, and says so
	JMP	stay

	// A process stays outside, which can tell whose files are that the namespace does not show the owners of. Where it cannot be had, nobody can.
fork:
	MOVL	$AF_UNIX, DI
	MOVL	$SOCK_STREAM_CLOEXEC, SI
	XORL	DX, DX
	LEAQ	32(BX), R10 // two descriptors
	MOVL	$SYS_socketpair, AX
	SYSCALL
	TESTQ	AX, AX
	JNE	forked
	XORL	DI, DI // no signal when it ends
	XORL	SI, SI
	XORL	DX, DX
	XORL	R10, R10
	XORL	R8, R8
	MOVL	$SYS_clone, AX
	SYSCALL
	TESTQ	AX, AX
	JEQ	owners
	JLT	alone
	MOVL	AX, ·entered+entryState_teller(SB)
	MOVL	32(BX), AX
	MOVL	AX, ·entered+entryState_socket(SB)
	JMP	close
alone:
	MOVL	32(BX), DI
	MOVL	$SYS_close, AX
	SYSCALL
close:
	MOVL	36(BX), DI
	MOVL	$SYS_close, AX
	SYSCALL
	JMP	forked

privileged:
	// In a user namespace it would lose its privileges before it has done with them what it was started for.
	MOVL	$const_entryUnprivileged, R13
	MOVL	EFFECTIVE, AX
	ANDL	$const_sysAdmin, AX
	JEQ	stay
	MOVL	$const_entryRefused, R13
	MOVL	$CLONE_NEWNS, DI
	MOVL	$SYS_unshare, AX
	SYSCALL
	TESTQ	AX, AX
	JNE	failed
	MOVL	$const_entryMount, R13
	JMP	stay

failed:
	NEGQ	AX
	MOVL	AX, ·entered+entryState_errno(SB)
stay:
	MOVL	R13, ·entered+entryState_step(SB)
	ADDQ	$64, SP
	JMP	_rt0_amd64_linux(SB)

// The process that stays outside: for each descriptor that comes over the socket it sends the user and group that the file belongs to, eight bytes, until the other end
// is closed.
owners:
	MOVL	36(BX), R15
	MOVL	32(BX), DI
	MOVL	$SYS_close, AX
	SYSCALL
	SUBQ	$256, SP
	MOVQ	SP, BX
again:
	MOVQ	$0, 0(BX) // struct msghdr (recvmsg(2)): no name
	MOVQ	$0, 8(BX)
	LEAQ	56(BX), AX
	MOVQ	AX, 16(BX) // a struct iovec
	MOVQ	$1, 24(BX)
	LEAQ	80(BX), AX
	MOVQ	AX, 32(BX) // a control message
	MOVQ	$CONTROL_SIZE, 40(BX)
	MOVQ	$0, 48(BX)
	LEAQ	72(BX), AX
	MOVQ	AX, 56(BX)
	MOVQ	$1, 64(BX)
	MOVQ	R15, DI
	MOVQ	BX, SI
	MOVL	$MSG_CMSG_CLOEXEC, DX
	MOVL	$SYS_recvmsg, AX
	SYSCALL
	CMPQ	AX, $1
	JNE	leave
	CMPQ	40(BX), $CONTROL_SIZE
	JNE	leave
	MOVL	96(BX), R14 // the descriptor
	MOVQ	R14, DI
	LEAQ	104(BX), SI
	MOVL	$SYS_fstat, AX
	SYSCALL
	MOVQ	AX, R13
	MOVQ	R14, DI
	MOVL	$SYS_close, AX
	SYSCALL
	TESTQ	R13, R13
	JNE	leave
	MOVQ	R15, DI
	LEAQ	(104+st_uid)(BX), SI
	MOVL	$8, DX
	MOVL	$SYS_write, AX
	SYSCALL
	CMPQ	AX, $8
	JEQ	again
leave:
	XORL	DI, DI
	MOVL	$SYS_exit_group, AX
	SYSCALL
	INT	$3
