package machine

import (
	"testing"

	"govmm/kvm"
)

// supportedCPUID is the kind of list that KVM_GET_SUPPORTED_CPUID gives on an AMD host.
func supportedCPUID() []kvm.CPUIDEntry {
	return []kvm.CPUIDEntry{
		{Function: 0, EAX: 0x10, EBX: 0x6874_7541},
		{Function: 1, EBX: 0x0710_0800, ECX: 0x0000_0001, EDX: 0x078b_fbff},
		{Function: 4, Index: 0, Flags: 1, EAX: 0x3c00_4121},
		{Function: 4, Index: 3, Flags: 1, EAX: 0x3c03_c163},
		{Function: 4, Index: 4, Flags: 1, EAX: 0},
		{Function: 0xb, Index: 0, Flags: 1, EDX: 99},
		{Function: 0x1f, Index: 0, Flags: 1, EDX: 99},
		{Function: 0x4000_0000, EAX: 0x4000_0001, EBX: 0x4b4d_564b},
		{Function: 0x8000_0008, EAX: 0x3028, ECX: 0x4007},
		{Function: 0x8000_001e, EAX: 99, EBX: 99, ECX: 99},
	}
}

func leaf(t *testing.T, list []kvm.CPUIDEntry, function, index uint32) kvm.CPUIDEntry {
	t.Helper()
	for _, e := range list {
		if e.Function == function && e.Index == index {
			return e
		}
	}
	t.Fatalf("leaf %#x.%d is missing", function, index)
	return kvm.CPUIDEntry{}
}

func TestCPUIDTopology(t *testing.T) {
	for _, tt := range []struct{ cpus, id, bits int }{
		{1, 0, 0}, {2, 1, 1}, {3, 2, 2}, {4, 3, 2}, {5, 4, 3}, {16, 15, 4}, {128, 64, 7}, {129, 0, 8}, {254, 252, 8}, {254, 253, 8},
	} {
		list := cpuidFor(supportedCPUID(), tt.id, tt.cpus, true)
		l1 := leaf(t, list, 1, 0)
		if got := int(l1.EBX >> 24); got != tt.id {
			t.Errorf("%d CPUs: initial APIC ID %d, want %d", tt.cpus, got, tt.id)
		}
		if got, want := int(l1.EBX>>16&0xff), min(1<<tt.bits, 255); got != want {
			t.Errorf("%d CPUs: %d logical processors, want %d", tt.cpus, got, want)
		}
		if htt := l1.EDX&featHTT != 0; htt != (tt.cpus > 1) {
			t.Errorf("%d CPUs: HTT is %v", tt.cpus, htt)
		}
		if l1.ECX&featHypervisor == 0 || l1.ECX&featTSCDeadline == 0 {
			t.Errorf("leaf 1 ECX = %#x lacks the hypervisor or TSC deadline bit", l1.ECX)
		}
		core := leaf(t, list, 0xb, 1)
		if int(core.EAX) != tt.bits || int(core.EBX) != tt.cpus || int(core.EDX) != tt.id || core.ECX != 0x201 {
			t.Errorf("%d CPUs: core level %+v", tt.cpus, core)
		}
		if end := leaf(t, list, 0xb, 2); end.ECX>>8 != 0 {
			t.Errorf("the level list does not end: %+v", end)
		}
		amd := leaf(t, list, 0x8000_0008, 0)
		if int(amd.ECX&0xff) != tt.cpus-1 || int(amd.ECX>>12&0xf) != tt.bits {
			t.Errorf("%d CPUs: 0x80000008 ECX = %#x", tt.cpus, amd.ECX)
		}
		if amd.EAX != 0x3028 {
			t.Errorf("address sizes changed: %#x", amd.EAX)
		}
	}
}

func TestCPUIDCachesShared(t *testing.T) {
	list := cpuidFor(supportedCPUID(), 0, 4, false)
	if got := leaf(t, list, 4, 0).EAX >> 14 & 0xfff; got != 0 {
		t.Errorf("L1 is shared by %d more, want none", got)
	}
	if got := leaf(t, list, 4, 3).EAX >> 14 & 0xfff; got != 3 {
		t.Errorf("L3 is shared by %d more, want 3", got)
	}
	if got := leaf(t, list, 4, 3).EAX >> 26; got != 3 {
		t.Errorf("the package has %d more cores, want 3", got)
	}
	if got := leaf(t, list, 4, 4).EAX; got != 0 {
		t.Errorf("the entry that ends the list became %#x", got)
	}
}

// TestCPUIDOnIntel holds that a leaf that only AMD defines stays the host's on other processors.
func TestCPUIDOnIntel(t *testing.T) {
	host := supportedCPUID()
	host[0].EBX = 0x756e_6547 // "Genu"
	if got := leaf(t, cpuidFor(host, 1, 4, true), leafAMDAddrSizes, 0); got != host[8] {
		t.Errorf("%+v, want %+v", got, host[8])
	}
}

// TestCPUIDHidesVirtualization holds that a guest is not shown what runs guests of its own.
func TestCPUIDHidesVirtualization(t *testing.T) {
	host := append(supportedCPUID(), kvm.CPUIDEntry{Function: leafAMDFeatures}, kvm.CPUIDEntry{Function: leafSVM, EAX: 1, EBX: 16, EDX: ^uint32(0)})
	for i := range host {
		switch host[i].Function {
		case leafFeatures, leafAMDFeatures:
			host[i].ECX = ^uint32(0)
		}
	}
	list := cpuidFor(host, 0, 1, true)
	if leaf(t, list, leafFeatures, 0).ECX&featVMX != 0 || leaf(t, list, leafAMDFeatures, 0).ECX&amdSVM != 0 {
		t.Error("the processor offers virtualization")
	}
	if e := leaf(t, list, leafSVM, 0); e.EAX|e.EBX|e.ECX|e.EDX != 0 {
		t.Errorf("%+v", e)
	}
}

func TestCPUIDKeepsHost(t *testing.T) {
	host := supportedCPUID()
	list := cpuidFor(host, 1, 2, false)
	if host[1] != supportedCPUID()[1] {
		t.Error("the host's list was changed")
	}
	if leaf(t, list, 0x4000_0000, 0).EBX != 0x4b4d_564b {
		t.Error("the KVM signature is gone")
	}
	for _, e := range list {
		if e.Function == leafTopologyV2 || e.Function == leafTopology && e.EDX == 99 {
			t.Errorf("the host's own topology shines through: %+v", e)
		}
	}
	if leaf(t, list, 1, 0).ECX&featTSCDeadline != 0 {
		t.Error("the TSC deadline timer is offered where KVM has none")
	}
}
