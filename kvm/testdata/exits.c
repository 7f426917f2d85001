/*
 * The same guests and loops as the benchmarks in bench_kvmtest_test.go, in C, to compare with:
 * prints the nanoseconds that one round takes, over the number of rounds given.
 *
 *	cc -O2 -static -pthread -o exits exits.c && ./exits pio 20000
 *
 * pio: a guest writes to a port for ever; a round is one exit and back.
 * mmio: the same with an address that has no memory.
 * doorbell: the write signals an eventfd (KVM_IOEVENTFD) on which a thread waits, and which answers in the
 * guest's memory; a round is from one write to the next.
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CODE 0x1000
#define DATA 0x8000
#define MMIO 0x10000000
#define RAM (2 << 20)

static const unsigned char pio_guest[] = {
	0xe6, 0x80, /* out 0x80, al */
	0xeb, 0xfc, /* jmp to the out */
};

static const unsigned char mmio_guest[] = {
	0xa2, 0x00, 0x00, 0x00, 0x10, /* mov [0x10000000], al */
	0xeb, 0xf9,                   /* jmp to the mov */
};

static const unsigned char doorbell_guest[] = {
	0xfe, 0xc3,                         /* inc bl */
	0xa3, 0x00, 0x00, 0x00, 0x10,       /* mov [0x10000000], eax */
	0xf3, 0x90,                         /* pause */
	0x3a, 0x1d, 0x00, 0x80, 0x00, 0x00, /* cmp bl, [0x8000] */
	0x75, 0xf6,                         /* jne to the pause */
	0xeb, 0xed,                         /* jmp to the inc */
};

static int vm, cpu;
static struct kvm_run *shared;
static unsigned char *ram;

static int check(int r, const char *what)
{
	if (r < 0) {
		perror(what);
		exit(1);
	}
	return r;
}

static void *map(int fd, size_t size, int flags)
{
	void *p = mmap(NULL, size, PROT_READ | PROT_WRITE, flags, fd, 0);
	if (p == MAP_FAILED) {
		perror("mmap");
		exit(1);
	}
	return p;
}

/* Runs the guest until it has exited so many times for the reason. */
static void run(unsigned reason, long exits)
{
	while (exits > 0) {
		if (ioctl(cpu, KVM_RUN, 0) < 0) {
			if (errno != EINTR)
				check(-1, "KVM_RUN");
			continue;
		}
		if (shared->exit_reason != reason) {
			fprintf(stderr, "exit reason %u\n", shared->exit_reason);
			exit(1);
		}
		exits--;
	}
}

static void *run_thread(void *unused)
{
	run(KVM_EXIT_UNKNOWN, 1); /* which does not come */
	return unused;
}

/* Waits for so many doorbells and answers each with its number. */
static void serve(int fd, unsigned char *number, long bells)
{
	uint64_t count;

	for (; bells > 0; bells--) {
		if (read(fd, &count, sizeof(count)) != sizeof(count))
			check(-1, "read");
		__atomic_store_n(ram + DATA, ++*number, __ATOMIC_RELEASE);
	}
}

static void create(const unsigned char *code, size_t size)
{
	int kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	check(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000UL), "KVM_SET_TSS_ADDR");
	ram = map(-1, RAM, MAP_PRIVATE | MAP_ANONYMOUS);
	memcpy(ram + CODE, code, size);
	struct kvm_userspace_memory_region region = {
		.memory_size = RAM,
		.userspace_addr = (unsigned long)ram,
	};
	check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	cpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	shared = map(cpu, check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE"), MAP_SHARED);
}

/* Has the guest begin in flat 32-bit code. */
static void enter(void)
{
	struct kvm_segment flat = {
		.limit = 0xffffffff, .selector = 0x08, .type = 11, .present = 1, .db = 1, .s = 1, .g = 1,
	};
	struct kvm_sregs sregs;
	check(ioctl(cpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs = flat;
	flat.selector = 0x10;
	flat.type = 3;
	sregs.ds = sregs.es = sregs.fs = sregs.gs = sregs.ss = flat;
	sregs.cr0 |= 1;
	check(ioctl(cpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
	check(ioctl(cpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");
}

static struct timespec begin, end;

static void exits(const unsigned char *code, size_t size, unsigned reason, long rounds)
{
	create(code, size);
	enter();
	run(reason, 100);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	run(reason, rounds);
	clock_gettime(CLOCK_MONOTONIC, &end);
}

static void doorbell(long rounds)
{
	unsigned char number = 0;
	pthread_t thread;
	int fd = check(eventfd(0, EFD_CLOEXEC), "eventfd");

	create(doorbell_guest, sizeof(doorbell_guest));
	struct kvm_ioeventfd bell = { .addr = MMIO, .len = 4, .fd = fd };
	check(ioctl(vm, KVM_IOEVENTFD, &bell), "KVM_IOEVENTFD");
	enter();
	errno = pthread_create(&thread, NULL, run_thread, NULL);
	check(-errno, "pthread_create");
	serve(fd, &number, 100);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	serve(fd, &number, rounds);
	clock_gettime(CLOCK_MONOTONIC, &end);
}

int main(int argc, char **argv)
{
	const char *what = argc == 3 ? argv[1] : "";
	long rounds = argc == 3 ? atol(argv[2]) : 0;

	if (rounds > 0 && !strcmp(what, "pio")) {
		exits(pio_guest, sizeof(pio_guest), KVM_EXIT_IO, rounds);
	} else if (rounds > 0 && !strcmp(what, "mmio")) {
		exits(mmio_guest, sizeof(mmio_guest), KVM_EXIT_MMIO, rounds);
	} else if (rounds > 0 && !strcmp(what, "doorbell")) {
		doorbell(rounds);
	} else {
		fprintf(stderr, "usage: exits pio|mmio|doorbell ROUNDS\n");
		return 2;
	}
	printf("%.1f\n", ((end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec)) / rounds);
	return 0;
}
