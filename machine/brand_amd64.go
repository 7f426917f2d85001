package machine

import (
	"slices"

	"govmm/kvm"
)

// The processor brand string, 16 bytes in each of three leaves (Intel SDM, volume 2A, CPUID; AMD APM, volume 3, appendix E).
const (
	leafExtendedMax = 0x8000_0000
	leafBrandFirst  = 0x8000_0002
	leafBrandLast   = 0x8000_0004
)

// hostCPUID executes CPUID on this host, with index 0.
func hostCPUID(function uint32) (eax, ebx, ecx, edx uint32)

// addBrand gives the list the host's brand string, which a guest shows as its processor's model name. KVM_GET_SUPPORTED_CPUID has it only on some
// hosts. It tells a guest no more than family, model and stepping in leaf 1 do.
func addBrand(list []kvm.CPUIDEntry) []kvm.CPUIDEntry {
	return addBrandFrom(list, hostCPUID)
}

func addBrandFrom(list []kvm.CPUIDEntry, host func(uint32) (eax, ebx, ecx, edx uint32)) []kvm.CPUIDEntry {
	isBrand := func(e kvm.CPUIDEntry) bool { return e.Function >= leafBrandFirst && e.Function <= leafBrandLast }
	if slices.ContainsFunc(list, func(e kvm.CPUIDEntry) bool { return isBrand(e) && e.EAX != 0 }) {
		return list
	}
	if highest, _, _, _ := host(leafExtendedMax); highest < leafBrandLast {
		return list
	}
	list = slices.DeleteFunc(list, isBrand)
	for f := uint32(leafBrandFirst); f <= leafBrandLast; f++ {
		e := kvm.CPUIDEntry{Function: f}
		e.EAX, e.EBX, e.ECX, e.EDX = host(f)
		list = append(list, e)
	}
	return list
}
