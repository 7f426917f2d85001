/*
 * The same guest and loop as BenchmarkPIOExit, in C, to compare with: prints the
 * nanoseconds that one exit for port I/O takes, over the number of exits given.
 *
 *	cc -O2 -static -o pioexit pioexit.c && ./pioexit 20000
 */
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <time.h>

#define CODE 0x1000
#define RAM (2 << 20)

static const unsigned char guest[] = {
	0xe6, 0x80, /* out 0x80, al */
	0xeb, 0xfc, /* jmp to the out */
};

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

static void run(int cpu, const struct kvm_run *run, long exits)
{
	while (exits > 0) {
		if (ioctl(cpu, KVM_RUN, 0) < 0) {
			if (errno != EINTR)
				check(-1, "KVM_RUN");
			continue;
		}
		if (run->exit_reason != KVM_EXIT_IO) {
			fprintf(stderr, "exit reason %u\n", run->exit_reason);
			exit(1);
		}
		exits--;
	}
}

int main(int argc, char **argv)
{
	long exits = argc == 2 ? atol(argv[1]) : 0;
	if (exits <= 0) {
		fprintf(stderr, "usage: pioexit EXITS\n");
		return 2;
	}
	int kvm = check(open("/dev/kvm", O_RDWR | O_CLOEXEC), "/dev/kvm");
	int vm = check(ioctl(kvm, KVM_CREATE_VM, 0), "KVM_CREATE_VM");
	check(ioctl(vm, KVM_SET_TSS_ADDR, 0xfffbd000UL), "KVM_SET_TSS_ADDR");
	unsigned char *ram = map(-1, RAM, MAP_PRIVATE | MAP_ANONYMOUS);
	memcpy(ram + CODE, guest, sizeof(guest));
	struct kvm_userspace_memory_region region = {
		.memory_size = RAM,
		.userspace_addr = (unsigned long)ram,
	};
	check(ioctl(vm, KVM_SET_USER_MEMORY_REGION, &region), "KVM_SET_USER_MEMORY_REGION");
	int cpu = check(ioctl(vm, KVM_CREATE_VCPU, 0), "KVM_CREATE_VCPU");
	struct kvm_run *shared = map(cpu, check(ioctl(kvm, KVM_GET_VCPU_MMAP_SIZE, 0), "KVM_GET_VCPU_MMAP_SIZE"), MAP_SHARED);
	struct kvm_sregs sregs;
	check(ioctl(cpu, KVM_GET_SREGS, &sregs), "KVM_GET_SREGS");
	sregs.cs.base = 0;
	sregs.cs.selector = 0;
	check(ioctl(cpu, KVM_SET_SREGS, &sregs), "KVM_SET_SREGS");
	struct kvm_regs regs = { .rip = CODE, .rflags = 2 };
	check(ioctl(cpu, KVM_SET_REGS, &regs), "KVM_SET_REGS");

	struct timespec begin, end;
	run(cpu, shared, 100);
	clock_gettime(CLOCK_MONOTONIC, &begin);
	run(cpu, shared, exits);
	clock_gettime(CLOCK_MONOTONIC, &end);
	printf("%.1f\n", ((end.tv_sec - begin.tv_sec) * 1e9 + (end.tv_nsec - begin.tv_nsec)) / exits);
	return 0;
}
