# govmm. "make help" lists the targets. Everything that is made lies in bin/ or in the user's cache directory,
# but for cmd/govmm/guestinit and cmd/govmm-compare/compareprobe, which go:embed must have there.

GO      ?= go
KERNELS := 6.1-cloud 6.12-cloud 6.1-full
KERNEL  ?= 6.12-cloud
PROGRAMS := ./cmd/govmm-compare ./cmd/nested ./cmd/demo ./bootimage/initramfs/mkinitramfs
NESTED  := bin/nested
VERSION := $(or $(shell git describe --tags --always --dirty 2>/dev/null),development)
CACHE   := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/govmm

# Debian packages, and the program by which one knows that it is there.
BUSYBOX  := busybox-static=/usr/share/doc/busybox-static
PACKAGES := acpica-tools=iasl e2fsprogs=mke2fs gdb=gdb iproute2=ip zstd=zstd lz4=lz4 xz-utils=xz $(BUSYBOX)
# What the tiny kernel is built with. A package without a program is known by a file.
KERNEL_PACKAGES := bc=bc bison=bison flex=flex gcc=gcc make=make libc6-dev=/usr/include/stdio.h libelf-dev=/usr/include/gelf.h
# What benchmarks of devices run in their guests.
BENCH_PACKAGES := fio=fio iperf3=iperf3 iputils-ping=ping
# What is compared.
COMPARE_PACKAGES := runc=runc crun=crun $(BUSYBOX)

export CGO_ENABLED = 0
# The guests' userland is built with it too, so the standard library is compiled once.
export GOFLAGS := $(strip $(filter-out -trimpath,$(shell $(GO) env GOFLAGS)) -trimpath)

.DEFAULT_GOAL := build
.PHONY: help build setup userland initramfs-demo demo shell kernel kernels initramfs examples check test test-unit test-kvm test-linux test-kernel test-faults test-compare test-lessons test-nested fuzz fuzz-long hostile lint reproducible generate pictures bench compare reliability reliability-faults soak clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-20s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# -T: puts the program so that its zeroed variables do not lie on both sides of a multiple of 2 MiB. Behind them are 32 MiB of the standard
# library's that nobody touches, so that the kernel would give them a huge page. The goals of make bench for the monitor's memory show it.
# smallinit: what guests of govmm run start with, and what govmm compare runs in each place, are programs of their own, inside govmm and govmm-compare.
# disablethp: no transparent huge pages for the Go heap, which is smaller than one of them. Guests' RAM keeps them.
# -E: begins where the program can still enter namespaces (cmd/govmm/entry_amd64.s).
LDFLAGS = -s -w -T 0x431000 -X main.version=$(VERSION) -X runtime.godebugDefault=disablethp=1
build: ## build bin/govmm, and the programs that demo and tests need
	@$(GO) list -m >/dev/null 2>&1 || { echo "Go 1.26 is needed: https://go.dev/dl" >&2; exit 1; }
	$(GO) build -ldflags "-s -w" -o cmd/govmm/guestinit ./cmd/guestinit
	$(GO) build -ldflags "-s -w" -o cmd/govmm-compare/compareprobe ./cmd/compareprobe
	$(GO) build -tags smallinit -ldflags "$(LDFLAGS) -E main.entry" -o bin/ ./cmd/govmm
	$(GO) build -tags smallinit -ldflags "$(LDFLAGS)" -o bin/ $(PROGRAMS)

setup: build ## install the Debian packages that demo and tests need (asks for root only when some are missing)
	$(NESTED) setup $(PACKAGES)

kernels: setup ## fetch Debian's stock kernels
	@for k in $(KERNELS); do $(NESTED) kernel $$k || exit 1; done
	@$(NESTED) kernel --vmlinux $(KERNEL)

kernel: build ## build the tiny kernel from Debian's source (KERNEL_FRAGMENTS="debug my.config" adds to its configuration)
	$(NESTED) setup $(PACKAGES) $(KERNEL_PACKAGES)
	@$(NESTED) kernel --fragments "$(KERNEL_FRAGMENTS)" tiny
	@$(NESTED) kernel --fragments "$(KERNEL_FRAGMENTS)" --vmlinux tiny

userland: build
	bin/mkinitramfs -o bin/userland.cpio

initramfs: userland kernels ## build the guests' userland, with the stock kernels' modules
	bin/mkinitramfs -o bin/initramfs.cpio $(foreach k,$(KERNELS),-modules $$($(NESTED) modules $(k)))

initramfs-demo: userland setup $(if $(filter tiny,$(KERNEL)),kernel)
	modules=$$($(NESTED) modules $(KERNEL)) && bin/mkinitramfs -o bin/initramfs-demo.cpio $${modules:+-modules $$modules}

# Packages and kernels come from the network while the guest's commands are compiled.
demo: ## boot a stock kernel, show what the guest sees, write to its disk
	@$(MAKE) --no-print-directory -j2 initramfs-demo
	bin/demo -kernel $$($(NESTED) kernel $(KERNEL)) -initramfs bin/initramfs-demo.cpio

shell: ## the same with an interactive shell in the guest
	@$(MAKE) --no-print-directory -j2 initramfs-demo
	bin/demo -shell -kernel $$($(NESTED) kernel $(KERNEL)) -initramfs bin/initramfs-demo.cpio

examples: build ## build the programs of the lessons (docs/lessons) into bin/examples
	$(GO) build -o bin/examples/ ./examples/...

check: build ## show what this host offers
	bin/govmm check

test: lint test-unit reproducible test-kvm test-linux test-kernel test-faults test-compare test-lessons ## all tests

test-unit: setup ## tests that need no privileges and no KVM
	$(GO) test ./...
	cd bootimage/initramfs/uroot && $(GO) test ./...

# Tests on a real KVM are compiled here and run in the nested test host, each in its package's directory and,
# where they boot Linux, each test by itself. The test host has two processors, or $(6), and as many run at a time as this machine has processors for:
# guests that wait for each other's processors, as two hosts with two on two would, take several times as long.
# What fails runs again, once, because where QEMU could not be mended (docs/testing.md, "QEMU's faults") guests hang now and then; and
# it is said.
PROCESSORS ?= $(shell nproc)
# The command's tests are the command too, and begin as it does.
ENTRY = $(if $(filter cmd/govmm,$(2)),-ldflags "-E govmm/cmd/govmm.entry")
define in-nested
	$(GO) test -c -tags $(1)test,smallinit $(ENTRY) -o bin/$(1)test/$(notdir $(2)) ./$(2)
	@binary=$(CURDIR)/bin/$(1)test/$(notdir $(2)); export binary; \
	printf '%s\n' $(3) | $(4) xargs -d '\n' -n 1 -P $$(( ($(PROCESSORS) + $(or $(6),2) - 1) / $(or $(6),2) )) sh -c '\
		log=$$binary.$$$$.log; \
		for attempt in 1 2; do \
			status=0; $(NESTED) --cpus $(or $(6),2) --dir $(2) --timeout $(5) -- $$binary -test.v -test.run "$$1" </dev/null >$$log 2>&1 || status=$$?; \
			printf "%s\n" "$(2) with $(1): $$1" "$$(grep -aE "^(PASS|FAIL|--- )" $$log)"; \
			if [ $$status = 0 ]; then rm $$log; exit 0; fi; \
			cat $$log; echo "$(2): $$1 ended with status $$status in attempt $$attempt"; \
		done; exit 1' sh
endef

test-kvm: setup ## guests of hand-written code, on a real KVM
	$(call in-nested,kvm,kvm,.,,6m)
	$(call in-nested,kvm,machine,.,,6m)
	$(call in-nested,kvm,machine/debug,.,,6m)
	$(call in-nested,kvm,cmd/govmm,.,,6m)

# The longest first, so that none is left alone at the end.
LINUX_TESTS := TestKASLR $(addprefix TestStockKernels/,$(KERNELS)) TestVirtioConsole TestMemorySizes TestVmlinux TestPipeline TestDisks TestEnds TestCheck TestTruncatedKernel \
	TestDirect TestLowInitrd TestTiming \
	TestFreedMemory TestUserNetwork TestPortInUse TestBridge TestRoutedTap TestNetworks TestDiskOptions
# Those in which guests' processors and the monitor's threads are to run at the same time.
PARALLEL_LINUX_TESTS := TestDrivers TestHostileKernel/6.12-cloud TestHostileKernel/mmio
LINUX_ENV    = GOVMM_TEST_KERNELS=$(CACHE)/kernels GOVMM_TEST_INITRAMFS=$(CURDIR)/bin/initramfs.cpio

test-linux: initramfs ## stock kernels, from boot to power-off
	$(LINUX_ENV) $(GO) test -tags linuxtest ./bootimage/payload ./bootimage/kaslr
	$(call in-nested,linux,machine,TestBootsInARow TestSameAsTheKernelsOwn TestWhoUnpacks,$(LINUX_ENV),10m,1)
	$(call in-nested,linux,cmd/govmm,$(LINUX_TESTS),$(LINUX_ENV),10m,1)
	$(call in-nested,linux,cmd/govmm,$(PARALLEL_LINUX_TESTS),$(LINUX_ENV),10m)

TINY_ENV = GOVMM_TEST_KERNELS=$(CACHE)/kernels GOVMM_TEST_INITRAMFS=$(CURDIR)/bin/userland.cpio

test-kernel: userland kernel ## the tiny kernel, from boot to power-off
	$(call in-nested,linux,cmd/govmm,TestTinyKernel TestTinyPaste TestTinyLargeInitrd TestTinyCache TestTinyDirect TestTinyNetwork TestTinyConsole TestTinyTrace TestTinyRun TestTinyGDB/1 TestTinyGDB/2,$(TINY_ENV),10m,1)
	$(call in-nested,linux,cmd/govmm,TestTinyDrivers TestTinyBalloon TestTinyWithoutRoot TestTinySandboxCalls,$(TINY_ENV),10m)

bin/pattern: FORCE
	$(GO) build -ldflags "-s -w" -o $@ ./machine/guesttest/pattern

# Always in the test host, because they set the clock, mount, and make taps and cgroups.
FAULTS_ENV = $(TINY_ENV) GOVMM_TEST_PATTERN=$(CURDIR)/bin/pattern
test-faults: userland kernel bin/pattern ## faults of the host, killed monitors and soak tests, with small numbers
	$(call in-nested,linux,machine,TestTinyBootsInARow TestTinyFaultyDisk,$(FAULTS_ENV),5m --always)
	$(call in-nested,linux,cmd/govmm,"TestTinyFault[CN]" "TestTinyFault[^CN]" TestTinyKillRun "TestTiny(Kill$$|Soak|Many)",$(FAULTS_ENV),9m --always)

# The same with large numbers, for docs/reliability.md. $(6) is the log's name.
define reliability-in
	@mkdir -p bin/reliability
	$(GO) test -c -tags $(1)test,smallinit $(ENTRY) -o bin/$(1)test/$(notdir $(2)) ./$(2)
	$(4) $(NESTED) --always --dir $(2) --timeout $(5) -- $(CURDIR)/bin/$(1)test/$(notdir $(2)) -test.v -test.run '$(3)' </dev/null 2>&1 | tee bin/reliability/$(6).log; \
		grep -qa '^PASS' bin/reliability/$(6).log
endef

# A quarter of them come before the guest writes.
KILLS    ?= 270
RUNKILLS ?= 100
GUESTS   ?= 32
HOSTILETIME ?= 2m
reliability: ## all of docs/reliability.md, part by part: hostile, reliability-faults, soak, fuzz-long with ten minutes for each target (takes 12 hours)
	$(MAKE) hostile
	$(MAKE) reliability-faults
	$(MAKE) soak
	$(MAKE) fuzz-long LONG=10m

# Each device over each transport by itself. What fails here is not run again.
hostile: userland initramfs ## hostile guests for HOSTILETIME (2m) on each device, and their rows of docs/reliability.md
	$(call reliability-in,kvm,machine,TestHostile,GOVMM_HOSTILE_TIME=$(HOSTILETIME),2h,hostile)
	$(call reliability-in,linux,cmd/govmm,TestHostileKernel,$(LINUX_ENV) GOVMM_HOSTILE_TIME=$(HOSTILETIME),2h,hostilekernel)
	$(GO) run ./cmd/reliability -dir docs bin/reliability/hostile.log bin/reliability/hostilekernel.log

reliability-faults: userland kernel bin/pattern ## faults of the host and of disks, KILLS and RUNKILLS killed monitors, GUESTS at once, and their rows of docs/reliability.md
	$(call reliability-in,linux,machine,TestTinyFaultyDisk,$(FAULTS_ENV) GOVMM_TEST_FAULTY_BLOCKS=4000,1h,faultydisk)
	$(call reliability-in,linux,cmd/govmm,TestTiny(Fault|Kill|Many),$(FAULTS_ENV) GOVMM_TEST_KILLS=$(KILLS) GOVMM_TEST_RUN_KILLS=$(RUNKILLS) GOVMM_TEST_STOP_SECONDS=60 GOVMM_TEST_GUESTS=$(GUESTS),3h,faults)
	$(GO) test -count=1 -v -run 'TestFaults|TestPowerCut' ./devices/virtio/blk >bin/reliability/blk.log || { cat bin/reliability/blk.log; exit 1; }
	$(GO) run ./cmd/reliability -dir docs $(patsubst %,bin/reliability/%.log,faultydisk faults blk)

BOOTS   ?= 1000
SOAK    ?= 1800
soak: userland kernel bin/pattern ## BOOTS boots in a row, and a guest under load for SOAK seconds; their rows of docs/reliability.md
	$(call reliability-in,linux,machine,TestTinyBootsInARow,$(FAULTS_ENV) GOVMM_TEST_BOOTS=$(BOOTS),3h,boots)
	$(call reliability-in,linux,cmd/govmm,TestTinySoakLoad,$(FAULTS_ENV) GOVMM_TEST_SOAK_SECONDS=$(SOAK),2h,load)
	$(GO) run ./cmd/reliability -dir docs bin/reliability/boots.log bin/reliability/load.log

test-compare: setup kernels kernel ## a virtual machine beside containers of runc and crun
	$(NESTED) setup $(COMPARE_PACKAGES)
	$(call in-nested,linux,compare/oci,TestRunc TestCrun,,9m)
	$(call in-nested,linux,cmd/govmm-compare,TestCompare TestInterrupted,GOVMM_TEST_KERNELS=$(CACHE)/kernels GOVMM_TEST_GOVMM=$(CURDIR)/bin/govmm,10m)

test-lessons: userland kernel examples ## every command of the lessons, and the solutions of their exercises
	$(GO) test -tags lessonstest -timeout 30m ./examples/... ./docs/lessons

test-nested: setup ## the nested test host and the guests' userland themselves
	$(GO) test -tags nestedtest ./cmd/nested/... ./bootimage/initramfs/...

FUZZTIME ?= 10s
FUZZ     ?= .
LONG     ?= 1h
FUZZLOGS  = bin/reliability/fuzz
fuzz: ## run every fuzz target for FUZZTIME (10s), or those whose package and name match FUZZ
	@set -e; rm -rf $(FUZZLOGS); mkdir -p $(FUZZLOGS); \
	$(GO) test -list '^Fuzz' ./... | awk '/^Fuzz/ { f[++n] = $$1 } /^ok/ { for (i = 1; i <= n; i++) print $$2, f[i]; n = 0 }' | grep -E -e '$(FUZZ)' | \
	while read -r pkg target; do \
		log=$(FUZZLOGS)/$$(echo $$pkg.$$target | tr / -).log; \
		$(GO) test -v -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) -fuzzminimizetime 10x $$pkg 2>&1 | tee $$log; \
		grep -q '^ok' $$log; \
	done

fuzz-long: ## the same for LONG (1h) each, and their rows of docs/reliability.md
	@$(MAKE) --no-print-directory fuzz FUZZTIME=$(LONG)
	@$(GO) run ./cmd/reliability -dir docs $(FUZZLOGS)/*.log

lint: ## formatting, vet with every build tag, and the modules' sums
	@out=$$(gofmt -l $$(git ls-files '*.go')); test -z "$$out" || { echo "gofmt would change: $$out" >&2; exit 1; }
	$(GO) vet ./...
	@for t in kvmtest linuxtest lessonstest nestedtest; do $(GO) vet -tags $$t ./... || exit 1; done
	$(GO) mod verify
	cd bootimage/initramfs/uroot && $(GO) mod verify

# The second build has another directory and an empty cache; what it prints is the same as the first.
reproducible: build ## build twice and compare
	rm -rf bin/again && mkdir bin/again
	git ls-files -coz --exclude-standard | tar -c --null -T - --ignore-failed-read 2>/dev/null | tar -x -C bin/again
	GOCACHE=$(CURDIR)/bin/again/cache $(MAKE) -C bin/again build VERSION=$(VERSION)
	@for p in govmm govmm-compare; do cmp bin/$$p bin/again/bin/$$p || exit 1; done; sha256sum bin/govmm bin/govmm-compare
	rm -rf bin/again

generate: ## regenerate what is generated (needs gcc and linux-libc-dev)
	$(GO) generate ./...

# Sources that are made from code, then the pictures, then what all of them were.
pictures: ## draw the diagrams of docs/architecture.md again (needs the Go module proxy)
	$(GO) test ./docs -run 'Picture$$' -update >/dev/null
	cd docs/pictures/draw && $(GO) vet . && $(GO) run . ..
	cd docs/pictures && LC_ALL=C sha256sum *.dot *.svg draw/* >SHA256SUMS

# The host's programs, with the shared libraries that they name, where they have them.
bin/bench.cpio: FORCE
	$(NESTED) setup $(BENCH_PACKAGES)
	@set -e; files=$$(ldd /usr/bin/fio /usr/bin/iperf3 /usr/bin/ping | grep -o '/[^ :]*' | sort -u); \
	bin/mkinitramfs -o $@ -modules $$($(NESTED) modules 6.12-cloud) -files cmd/bench/guest:bench \
		$$(for f in $$files; do echo -files $$f:$$f; done)
FORCE:

BENCH ?=
bench: kernels kernel bin/bench.cpio ## measure what govmm costs beside C and QEMU, and write docs/benchmarks.md (BENCH="-only boot -runs 3" for less)
	@for k in 6.1-cloud 6.12-cloud; do $(NESTED) kernel --vmlinux $$k || exit 1; done
	cc -O2 -static -pthread -o bin/exits kvm/testdata/exits.c
	$(GO) test -c -tags kvmtest -o bin/kvmtest/kvm ./kvm
	$(GO) build -o bin/ ./cmd/bench
	$(NESTED) --virtual-time=auto --share docs --timeout 2h -- bin/bench -out docs -kernels $(CACHE)/kernels $(BENCH) </dev/null

# Programs and files lie in memory there, so that none is measured reading the host's files. What counts instructions instead of time is a page of its own.
COMPARE ?=
compare: kernels kernel ## put a virtual machine beside containers of runc and crun, and write docs/comparison.md (COMPARE="--only startup" for less)
	$(NESTED) setup $(COMPARE_PACKAGES)
	$(call compare-in,,docs,$(COMPARE))
	$(call compare-in,--virtual-time,docs/comparison/virtual-time,--only startup --runs 5 --note "The clock counted instructions: 2 ns for each. Times are the work of all programs and kernels together; they repeat and say nothing of hardware.")

define compare-in
	mkdir -p $(2)
	files="bin/govmm bin/govmm-compare $$(PATH=$$PATH:/usr/sbin; command -v runc; command -v crun) $$($(NESTED) kernel tiny)" && \
	$(NESTED) $(1) --share $(2) --timeout 1h -- sh -c 'mkdir /run/compare && cp '"$$(echo $$files)"' /run/compare && \
		export TMPDIR=/run/compare PATH=/run/compare:$$PATH GOVMM_KERNEL=$$(echo /run/compare/vmlinuz-*) && exec govmm-compare --markdown $(2) $(3)' </dev/null
endef

clean: ## remove bin/; the cache of kernels and userlands stays
	rm -rf bin cmd/govmm/guestinit cmd/govmm-compare/compareprobe
