package bootimage

import (
	"encoding/binary"
	"testing"
)

const gib = 1 << 30

// fakeBzImage is a synthetic bzImage; its zero value with defaults is fakeKernel.
type fakeBzImage struct {
	protocol    uint16
	setupSects  uint8
	loadflags   uint8
	xloadflags  uint16
	version     string
	code        []byte
	trailer     []byte // behind the code, like a signature
	initrdMax   uint32
	align       uint32
	relocatable uint8
	cmdlineSize uint32
	prefAddress uint64
	initSize    uint32
}

// fakeKernel has the header values of Debian's 6.12 cloud kernel, except for its
// init_size of 16 MiB.
func fakeKernel() fakeBzImage {
	code := make([]byte, 0x400)
	for i := range code {
		code[i] = byte(i * 7)
	}
	return fakeBzImage{
		protocol: 0x20f, setupSects: 3, loadflags: loadedHigh, xloadflags: 0x7f,
		version: "6.12.0-test (builder@host) #1 SMP", code: code,
		initrdMax: 0x7fff_ffff, align: 2 * mib, relocatable: 1,
		cmdlineSize: 2047, prefAddress: 16 * mib, initSize: 16 * mib,
	}
}

func (k fakeBzImage) build() []byte {
	le := binary.LittleEndian
	sects := int(k.setupSects)
	if sects == 0 {
		sects = defaultSetupSects
	}
	b := make([]byte, (sects+1)*sectSize)
	// What a loader must not take over: the sentinel, and text behind the header.
	for i := range 0x1f1 {
		b[i] = 0xff
	}
	b[offSetupSects] = k.setupSects
	b[offSetupSects+1] = 1 // root_flags: read-only
	le.PutUint32(b[offSyssize:], uint32(len(k.code)/paragraph))
	le.PutUint16(b[offVidMode:], 0xfffd)
	le.PutUint16(b[offBootFlag:], bootFlag)
	b[offJump], b[offJump+1] = 0xeb, 0x6a
	copy(b[offHeader:], hdrMagic)
	le.PutUint16(b[offVersion:], k.protocol)
	b[offLoadflags] = k.loadflags
	le.PutUint32(b[offCode32Start:], 0x10_0000)
	le.PutUint32(b[offInitrdMax:], k.initrdMax)
	le.PutUint32(b[offKernelAlign:], k.align)
	b[offRelocatable] = k.relocatable
	b[offRelocatable+1] = 21 // min_alignment
	le.PutUint16(b[offXloadflags:], k.xloadflags)
	le.PutUint32(b[offCmdlineSize:], k.cmdlineSize)
	le.PutUint64(b[offPrefAddress:], k.prefAddress)
	le.PutUint32(b[offInitSize:], k.initSize)
	for i := 0x26c; i < len(b); i++ {
		b[i] = 0xcc
	}
	if k.version != "" {
		const at = 0x300
		le.PutUint16(b[offKernelVer:], at-offJump)
		copy(b[at:], k.version+"\x00")
	}
	b = append(b, k.code...)
	return append(b, k.trailer...)
}

// fakeELF is a synthetic ELF executable.
type fakeELF struct {
	class, data uint8
	typ         uint16
	machine     uint16
	loads       []fakeLoad
	notes       []byte
	noteAlign   uint64
}

type fakeLoad struct {
	paddr   uint64
	data    []byte
	memSize uint64
}

// fakeVmlinux has the shape of a vmlinux: text, data with BSS, PVH note.
func fakeVmlinux() fakeELF {
	return fakeELF{
		class: elfClass64, data: elfDataLittle, typ: elfTypeExec, machine: elfMachineX8664,
		loads: []fakeLoad{
			{paddr: 16 * mib, data: []byte("text of the kernel"), memSize: 0x1000},
			{paddr: 18 * mib, data: []byte("data"), memSize: 6 * mib},
		},
		notes: append(elfNote("GNU", 3, []byte("build id"), 4),
			elfNote("Xen", xenNotePhys32Entry, binary.LittleEndian.AppendUint64(nil, 16*mib+4), 4)...),
		noteAlign: 4,
	}
}

func elfNote(owner string, typ uint32, desc []byte, align int) []byte {
	le := binary.LittleEndian
	b := le.AppendUint32(nil, uint32(len(owner)+1))
	b = le.AppendUint32(b, uint32(len(desc)))
	b = le.AppendUint32(b, typ)
	b = append(b, owner+"\x00"...)
	for len(b)%align != 0 {
		b = append(b, 0)
	}
	b = append(b, desc...)
	for len(b)%align != 0 {
		b = append(b, 0)
	}
	return b
}

func (e fakeELF) build() []byte {
	le := binary.LittleEndian
	n := len(e.loads)
	if e.notes != nil {
		n++
	}
	b := make([]byte, elfHeaderSize+n*progSize)
	copy(b, elfMagic)
	b[elfClass], b[elfData], b[6] = e.class, e.data, 1
	le.PutUint16(b[elfType:], e.typ)
	le.PutUint16(b[elfMachine:], e.machine)
	le.PutUint64(b[elfProgOffset:], elfHeaderSize)
	le.PutUint16(b[elfProgEntry:], progSize)
	le.PutUint16(b[elfProgCount:], uint16(n))
	prog := func(i int, typ uint32, paddr uint64, data []byte, memSize, align uint64) {
		h := b[elfHeaderSize+i*progSize:]
		le.PutUint32(h[0:], typ)
		le.PutUint64(h[8:], uint64(len(b)))
		le.PutUint64(h[16:], 0xffff_ffff_8000_0000+paddr)
		le.PutUint64(h[24:], paddr)
		le.PutUint64(h[32:], uint64(len(data)))
		le.PutUint64(h[40:], memSize)
		le.PutUint64(h[48:], align)
		b = append(b, data...)
	}
	for i, l := range e.loads {
		prog(i, progTypeLoad, l.paddr, l.data, l.memSize, 0x20_0000)
	}
	if e.notes != nil {
		prog(n-1, progTypeNote, 0, e.notes, 0, e.noteAlign)
	}
	return b
}

// guestMemory is the memory map of a guest with size bytes of RAM, of which what
// does not fit below 3 GiB follows at 4 GiB.
func guestMemory(size uint64) []MemoryRange {
	m := []MemoryRange{
		{0, 0x9fc00, RAM},
		{0x9fc00, 0x400, Reserved},
		{0xe0000, 0x20000, Reserved},
		{0x100000, min(size, 3*gib) - 0x100000, RAM},
	}
	if size > 3*gib {
		m = append(m, MemoryRange{0xfffbc000, 0x4000, Reserved}, MemoryRange{4 * gib, size - 3*gib, RAM})
	}
	return m
}

func mustLoad(t testing.TB, kernel []byte, p Params) *Plan {
	t.Helper()
	plan, err := Load(kernel, p)
	if err != nil {
		t.Fatal(err)
	}
	checkPlan(t, plan, p)
	return plan
}

func segment(t testing.TB, plan *Plan, name string) Segment {
	t.Helper()
	for _, s := range plan.Segments {
		if s.Name == name {
			return s
		}
	}
	t.Fatalf("no segment %q", name)
	return Segment{}
}

// checkPlan holds what is true of every plan: segments in RAM, apart from each
// other and from what the machine keeps in low memory, the entry inside one.
func checkPlan(t testing.TB, plan *Plan, p Params) {
	t.Helper()
	mem, err := newMemoryMap(p.Memory)
	if err != nil {
		t.Fatal(err)
	}
	taken := []span{{0, startInfoAddr}, {0x9000, 0xf000}}
	entered, argued := false, false
	for _, s := range plan.Segments {
		at := span{s.Addr, s.Addr + s.Size}
		if uint64(len(s.Data)) > s.Size || at.end < at.start {
			t.Errorf("%s: %d bytes in %v", s.Name, len(s.Data), at)
		}
		if !mem.holds(at) {
			t.Errorf("%s at %v is not in RAM", s.Name, at)
		}
		for _, o := range taken {
			if at.overlaps(o) {
				t.Errorf("%s at %v overlaps %v", s.Name, at, o)
			}
		}
		taken = append(taken, at)
		entered = entered || s.Addr <= plan.Entry.PC && plan.Entry.PC < s.Addr+uint64(len(s.Data))
		argued = argued || s.Addr == plan.Entry.Arg
	}
	if !entered || !argued {
		t.Errorf("entry at %#x with %#x is in no segment", plan.Entry.PC, plan.Entry.Arg)
	}
}
