//go:build amd64

package kvm

import (
	"reflect"
	"structs"
	"testing"
)

// The types of the table that layoutgen writes.
type (
	headerStruct struct {
		name   string
		origin int // of a member of another struct: its offset there
		size   int
		fields []headerField
	}
	headerField struct {
		name         string
		offset, size int
	}
)

// goStructs says which Go struct mirrors which of the kernel's.
var goStructs = map[string]reflect.Type{
	"kvm_userspace_memory_region": reflect.TypeFor[userspaceMemoryRegion](),
	"kvm_dirty_log":               reflect.TypeFor[dirtyLog](),
	"kvm_enable_cap":              reflect.TypeFor[enableCap](),
	"kvm_irq_level":               reflect.TypeFor[irqLevel](),
	"kvm_irqfd":                   reflect.TypeFor[irqfd](),
	"kvm_ioeventfd":               reflect.TypeFor[ioeventfd](),
	"kvm_msi":                     reflect.TypeFor[msi](),
	"kvm_irq_routing":             reflect.TypeFor[routingHeader](),
	"kvm_clock_data":              reflect.TypeFor[ClockData](),
	"kvm_pit_config":              reflect.TypeFor[pitConfig](),
	"kvm_pit_channel_state":       reflect.TypeFor[PITChannel](),
	"kvm_pit_state2":              reflect.TypeFor[PITState](),
	"kvm_irqchip":                 reflect.TypeFor[IRQChip](),
	"kvm_pic_state":               reflect.TypeFor[PICState](),
	"kvm_ioapic_state":            reflect.TypeFor[IOAPICState](),
	"kvm_run":                     reflect.TypeFor[runData](),
	"kvm_run.io":                  reflect.TypeFor[exitIO](),
	"kvm_run.mmio":                reflect.TypeFor[exitMMIO](),
	"kvm_run.debug":               reflect.TypeFor[exitDebug](),
	"kvm_run.fail_entry":          reflect.TypeFor[exitFailEntry](),
	"kvm_run.internal":            reflect.TypeFor[exitInternal](),
	"kvm_run.system_event":        reflect.TypeFor[exitSystemEvent](),
	"kvm_regs":                    reflect.TypeFor[Regs](),
	"kvm_segment":                 reflect.TypeFor[Segment](),
	"kvm_dtable":                  reflect.TypeFor[DTable](),
	"kvm_sregs":                   reflect.TypeFor[Sregs](),
	"kvm_translation":             reflect.TypeFor[Translation](),
	"kvm_fpu":                     reflect.TypeFor[FPU](),
	"kvm_xsave":                   reflect.TypeFor[Xsave](),
	"kvm_xcr":                     reflect.TypeFor[Xcr](),
	"kvm_xcrs":                    reflect.TypeFor[Xcrs](),
	"kvm_lapic_state":             reflect.TypeFor[LAPIC](),
	"kvm_vcpu_events":             reflect.TypeFor[Events](),
	"kvm_mp_state":                reflect.TypeFor[struct{ MPState MPState }](),
	"kvm_debugregs":               reflect.TypeFor[DebugRegs](),
	"kvm_guest_debug":             reflect.TypeFor[GuestDebug](),
	"kvm_cpuid_entry2":            reflect.TypeFor[CPUIDEntry](),
	"kvm_cpuid2":                  reflect.TypeFor[cpuid2](),
	"kvm_msr_entry":               reflect.TypeFor[MSREntry](),
	"kvm_msrs":                    reflect.TypeFor[msrs](),
}

// notStructs are those of the kernel's that Go code writes word by word; other tests
// look after them.
var notStructs = map[string]bool{"kvm_irq_routing_entry": true, "kvm_msr_list": true}

func TestStructLayout(t *testing.T) {
	mirrored := make(map[reflect.Type]bool)
	for _, typ := range goStructs {
		mirrored[typ] = true
	}
	seen := make(map[string]bool)
	for _, want := range headerStructs {
		seen[want.name] = true
		typ, ok := goStructs[want.name]
		if !ok {
			if !notStructs[want.name] {
				t.Errorf("struct %s has no Go struct", want.name)
			}
			continue
		}
		t.Run(want.name, func(t *testing.T) { checkLayout(t, typ, want, mirrored) })
	}
	for name := range goStructs {
		if !seen[name] {
			t.Errorf("struct %s is not in the table; run go generate", name)
		}
	}
}

func checkLayout(t *testing.T, typ reflect.Type, want headerStruct, mirrored map[reflect.Type]bool) {
	got := flatten(typ, 0, mirrored)
	size := int(typ.Size())
	// An array of any length at the end: the header's struct stops before it.
	if typ == reflect.TypeFor[cpuid2]() || typ == reflect.TypeFor[msrs]() {
		last := len(got) - 1
		size = got[last].offset
		got = got[:last]
	}
	if size != want.size {
		t.Errorf("size is %d, the kernel's %d", size, want.size)
	}
	if len(got) != len(want.fields) {
		t.Fatalf("%d fields, the kernel's has %d:\n%v\n%v", len(got), len(want.fields), got, want.fields)
	}
	for i, f := range got {
		if w := want.fields[i]; f.offset != w.offset || f.size != w.size {
			t.Errorf("%s is at %d, %d bytes; the kernel's %s at %d, %d bytes", f.name, f.offset, f.size, w.name, w.offset, w.size)
		}
	}
	if want.origin != 0 {
		union, _ := reflect.TypeFor[runData]().FieldByName("exit")
		if int(union.Offset) != want.origin {
			t.Errorf("the union is at %d, the kernel's at %d", union.Offset, want.origin)
		}
	}
}

// flatten lists typ's fields, those of a nested struct in its place unless it mirrors a
// struct of its own.
func flatten(typ reflect.Type, base int, mirrored map[reflect.Type]bool) []headerField {
	var fields []headerField
	for i := range typ.NumField() {
		f := typ.Field(i)
		switch {
		case f.Type == reflect.TypeFor[structs.HostLayout]():
		case f.Type.Kind() == reflect.Struct && !mirrored[f.Type]:
			fields = append(fields, flatten(f.Type, base+int(f.Offset), mirrored)...)
		default:
			fields = append(fields, headerField{f.Name, base + int(f.Offset), int(f.Type.Size())})
		}
	}
	return fields
}

func TestHostLayout(t *testing.T) {
	for name, typ := range goStructs {
		if name == "kvm_mp_state" {
			continue // a Go integer
		}
		if typ.Field(0).Type != reflect.TypeFor[structs.HostLayout]() {
			t.Errorf("%v does not begin with structs.HostLayout", typ)
		}
	}
}

func TestRequests(t *testing.T) {
	named := make(map[string]bool)
	for _, n := range requestNames {
		named[n.name] = true
		want, ok := headerRequests[n.name]
		if !ok {
			t.Errorf("%s is not in the table; add it to layoutgen", n.name)
		} else if uint64(n.req) != want {
			t.Errorf("%s is %#x, the kernel's %#x", n.name, uint64(n.req), want)
		}
		if n.req.String() != n.name {
			t.Errorf("%#x reads %s, and %s as well", uint64(n.req), n.req, n.name)
		}
	}
	for name := range headerRequests {
		if !named[name] {
			t.Errorf("%s has no Go constant", name)
		}
	}
	if got := request(0x1234).String(); got != "ioctl(0x1234)" {
		t.Errorf("an unknown request reads %q", got)
	}
}

func TestCaps(t *testing.T) {
	count := 0
	for c := range Caps() {
		count++
		want, ok := headerCaps[c.String()]
		if !ok {
			t.Errorf("%v is not in the kernel's headers", c)
		} else if uint64(c) != want {
			t.Errorf("%v is %d, the kernel's %d", c, c, want)
		}
		if c.Purpose() == "" {
			t.Errorf("%v has no purpose", c)
		}
	}
	if count < 100 {
		t.Errorf("Caps gave %d", count)
	}
	for _, unknown := range []Cap{5, 1 << 31} {
		if unknown.Purpose() != "" {
			t.Errorf("%v has a purpose", unknown)
		}
	}
	if got := Cap(5).String(); got != "Cap(5)" {
		t.Errorf("an unknown capability reads %q", got)
	}
}

// newerExits are reasons of kernels after the oldest whose headers this test runs with.
var newerExits = map[string]uint64{
	"KVM_EXIT_LOONGARCH_IOCSR": 38,
	"KVM_EXIT_MEMORY_FAULT":    39,
	"KVM_EXIT_TDX":             40,
}

func TestExitReasons(t *testing.T) {
	byName := make(map[string]uint64)
	for n := range exitNames {
		byName[ExitReason(n).String()] = uint64(n)
	}
	for name, want := range headerExits {
		if got, ok := byName[name]; !ok {
			t.Errorf("%s (%d) has no Go constant", name, want)
		} else if got != want {
			t.Errorf("%s is %d, the kernel's %d", name, got, want)
		}
	}
	for name, n := range byName {
		if _, ok := headerExits[name]; !ok && newerExits[name] != n {
			t.Errorf("%s (%d) is not in the kernel's headers", name, n)
		}
	}
	if got := ExitReason(1000).String(); got != "ExitReason(1000)" {
		t.Errorf("an unknown reason reads %q", got)
	}
}

func TestConstants(t *testing.T) {
	got := map[string]uint64{
		"KVM_API_VERSION":                                     apiVersion,
		"KVM_MEM_LOG_DIRTY_PAGES":                             uint64(MemLogDirtyPages),
		"KVM_MEM_READONLY":                                    uint64(MemReadOnly),
		"KVM_IRQFD_FLAG_DEASSIGN":                             irqfdDeassign,
		"KVM_IOEVENTFD_FLAG_DATAMATCH":                        ioeventfdDatamatch,
		"KVM_IOEVENTFD_FLAG_PIO":                              ioeventfdPIO,
		"KVM_IOEVENTFD_FLAG_DEASSIGN":                         ioeventfdDeassign,
		"KVM_IRQ_ROUTING_IRQCHIP":                             uint64(RouteIRQChip),
		"KVM_IRQ_ROUTING_MSI":                                 uint64(RouteMSI),
		"KVM_IRQCHIP_PIC_MASTER":                              uint64(PICMaster),
		"KVM_IRQCHIP_PIC_SLAVE":                               uint64(PICSlave),
		"KVM_IRQCHIP_IOAPIC":                                  uint64(IOAPICChip),
		"KVM_IOAPIC_NUM_PINS":                                 uint64(len(IOAPICState{}.Redirection)),
		"KVM_PIT_SPEAKER_DUMMY":                               uint64(PITSpeakerDummy),
		"KVM_CLOCK_TSC_STABLE":                                uint64(ClockTSCStable),
		"KVM_CLOCK_REALTIME":                                  uint64(ClockRealtime),
		"KVM_CLOCK_HOST_TSC":                                  uint64(ClockHostTSC),
		"KVM_CPUID_FLAG_SIGNIFCANT_INDEX":                     uint64(CPUIDSignificantIndex),
		"KVM_MP_STATE_RUNNABLE":                               uint64(MPRunnable),
		"KVM_MP_STATE_UNINITIALIZED":                          uint64(MPUninitialized),
		"KVM_MP_STATE_INIT_RECEIVED":                          uint64(MPInitReceived),
		"KVM_MP_STATE_HALTED":                                 uint64(MPHalted),
		"KVM_MP_STATE_SIPI_RECEIVED":                          uint64(MPSIPIReceived),
		"KVM_VCPUEVENT_VALID_NMI_PENDING":                     uint64(EventNMIPending),
		"KVM_VCPUEVENT_VALID_SIPI_VECTOR":                     uint64(EventSIPIVector),
		"KVM_VCPUEVENT_VALID_SHADOW":                          uint64(EventShadow),
		"KVM_VCPUEVENT_VALID_SMM":                             uint64(EventSMM),
		"KVM_VCPUEVENT_VALID_PAYLOAD":                         uint64(EventPayload),
		"KVM_VCPUEVENT_VALID_TRIPLE_FAULT":                    uint64(EventTripleFault),
		"KVM_GUESTDBG_ENABLE":                                 uint64(GuestDebugEnable),
		"KVM_GUESTDBG_SINGLESTEP":                             uint64(GuestDebugSingleStep),
		"KVM_GUESTDBG_USE_SW_BP":                              uint64(GuestDebugUseSWBP),
		"KVM_GUESTDBG_USE_HW_BP":                              uint64(GuestDebugUseHWBP),
		"KVM_GUESTDBG_INJECT_DB":                              uint64(GuestDebugInjectDB),
		"KVM_GUESTDBG_INJECT_BP":                              uint64(GuestDebugInjectBP),
		"KVM_GUESTDBG_BLOCKIRQ":                               uint64(GuestDebugBlockIRQ),
		"KVM_EXIT_IO_OUT":                                     exitIOOut,
		"KVM_INTERNAL_ERROR_EMULATION":                        uint64(InternalEmulation),
		"KVM_INTERNAL_ERROR_SIMUL_EX":                         uint64(InternalSimulEx),
		"KVM_INTERNAL_ERROR_DELIVERY_EV":                      uint64(InternalDeliveryEvent),
		"KVM_INTERNAL_ERROR_UNEXPECTED_EXIT_REASON":           uint64(InternalUnexpectedExit),
		"KVM_INTERNAL_ERROR_EMULATION_FLAG_INSTRUCTION_BYTES": emulationInsnBytes,
		"KVM_SYSTEM_EVENT_SHUTDOWN":                           uint64(SystemShutdown),
		"KVM_SYSTEM_EVENT_RESET":                              uint64(SystemReset),
		"KVM_SYSTEM_EVENT_CRASH":                              uint64(SystemCrash),
		"KVM_SYSTEM_EVENT_WAKEUP":                             uint64(SystemWakeup),
		"KVM_SYSTEM_EVENT_SUSPEND":                            uint64(SystemSuspend),
		"KVM_SYSTEM_EVENT_SEV_TERM":                           uint64(SystemSEVTerm),
	}
	for name, want := range headerConstants {
		if v, ok := got[name]; !ok {
			t.Errorf("%s is not compared", name)
		} else if v != want {
			t.Errorf("%s is %#x, the kernel's %#x", name, v, want)
		}
	}
	for name := range got {
		if _, ok := headerConstants[name]; !ok {
			t.Errorf("%s is not in the table; add it to layoutgen", name)
		}
	}
}

// TestRouteLayout checks encodeRoutes against the header's offsets.
func TestRouteLayout(t *testing.T) {
	var entry headerStruct
	for _, s := range headerStructs {
		if s.name == "kvm_irq_routing_entry" {
			entry = s
		}
	}
	if entry.size != 4*routingEntryWords {
		t.Fatalf("an entry has %d words, the kernel's %d bytes", routingEntryWords, entry.size)
	}
	table, err := encodeRoutes([]GSIRoute{
		{GSI: 3, Type: RouteMSI, MSI: MSI{Addr: 0x1122334455667788, Data: 0x99}},
		{GSI: 4, Type: RouteIRQChip, Chip: IOAPICChip, Pin: 21},
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(table) != routingHeaderWords+2*routingEntryWords || table[0] != 2 || table[1] != 0 {
		t.Fatalf("header %d %d of %d words", table[0], table[1], len(table))
	}
	want := []map[string]uint32{
		{"gsi": 3, "type": 2, "u.msi.address_lo": 0x55667788, "u.msi.address_hi": 0x11223344, "u.msi.data": 0x99},
		{"gsi": 4, "type": 1, "u.irqchip.irqchip": 2, "u.irqchip.pin": 21},
	}
	for i, fields := range want {
		words := table[routingHeaderWords+i*routingEntryWords:][:routingEntryWords]
		var sum uint64
		for _, f := range entry.fields {
			if w, ok := fields[f.name]; ok {
				if got := words[f.offset/4]; got != w {
					t.Errorf("route %d: %s is %#x, not %#x", i, f.name, got, w)
				}
				sum += uint64(w)
			}
		}
		for _, w := range words {
			sum -= uint64(w)
		}
		if sum != 0 {
			t.Errorf("route %d has words that are no field's: %#x", i, words)
		}
	}
	if _, err := encodeRoutes([]GSIRoute{{GSI: 1}}); err == nil {
		t.Error("a route without a type was encoded")
	}
}
