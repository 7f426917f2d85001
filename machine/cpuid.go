package machine

import (
	"math/bits"
	"slices"

	"govmm/kvm"
)

// CPUID leaves and bits that the machine sets itself. The names are those of the
// Intel SDM (volume 2A, CPUID) and of the AMD APM (volume 3, appendix E).
const (
	leafFeatures     = 0x1
	leafCaches       = 0x4
	leafTopology     = 0xb
	leafTopologyV2   = 0x1f
	leafAMDFeatures  = 0x8000_0001
	leafAMDAddrSizes = 0x8000_0008
	leafAMDCaches    = 0x8000_001d
	leafAMDTopology  = 0x8000_001e
	leafSVM          = 0x8000_000a // of AMD's virtualization
	featVMX          = 1 << 5      // leaf 1 ECX
	amdSVM           = 1 << 2      // leaf 0x80000001 ECX
	featTSCDeadline  = 1 << 24     // leaf 1 ECX
	featHypervisor   = 1 << 31     // leaf 1 ECX
	featHTT          = 1 << 28     // leaf 1 EDX: the logical processor count is valid
	amdCmpLegacy     = 1 << 1      // leaf 0x80000001 ECX: HTT counts cores, not threads
	topologyThread   = 1 << 8      // leaf 0xb ECX, level type
	topologyCore     = 2 << 8
	threadsPerCore   = 1
)

// cpuidFor gives what one vCPU answers to CPUID: what this host's KVM supports,
// its own 0x4000_0000 leaves among it, with a topology of one package that holds cpus cores of
// one thread each, and id as the APIC ID. host is not changed.
func cpuidFor(host []kvm.CPUIDEntry, id, cpus int, tscDeadline bool) []kvm.CPUIDEntry {
	out := make([]kvm.CPUIDEntry, 0, len(host)+4)
	amd := isAMD(host)
	for _, e := range host {
		if e.Function == leafAMDAddrSizes && !amd {
			out = append(out, e) // ECX is reserved on other processors
			continue
		}
		if e.Function == leafTopology || e.Function == leafTopologyV2 {
			continue // made anew below; some kernels pass the host's own
		}
		adjustLeaf(&e, uint32(id), uint32(cpus), tscDeadline)
		out = append(out, e)
	}
	if maxLeaf(host) >= leafTopology {
		out = append(out, topologyLevels(uint32(id), uint32(cpus))...)
	}
	return out
}

func adjustLeaf(e *kvm.CPUIDEntry, id, cpus uint32, tscDeadline bool) {
	switch e.Function {
	case leafFeatures:
		// EBX: initial APIC ID and the number of IDs reserved for the package.
		e.EBX = e.EBX&0xffff | id<<24 | min(roundPow2(cpus), 255)<<16
		e.ECX |= featHypervisor
		e.ECX &^= featVMX // what KVM does for hypervisors in guests is none of theirs to reach
		if tscDeadline {
			e.ECX |= featTSCDeadline
		}
		setBit(&e.EDX, featHTT, cpus > 1)
	case leafCaches:
		if e.EAX&0x1f == 0 {
			return // no cache at this index
		}
		e.EAX = e.EAX&0x3fff | (min(roundPow2(cpus), 64)-1)<<26 | (sharers(e.EAX, cpus)-1)<<14
	case leafAMDFeatures:
		e.ECX &^= amdSVM
		setBit(&e.ECX, amdCmpLegacy, cpus > 1 && e.ECX&amdCmpLegacy != 0)
	case leafSVM:
		e.EAX, e.EBX, e.ECX, e.EDX = 0, 0, 0, 0
	case leafAMDAddrSizes:
		// ECX: cores less one, and how many bits of the APIC ID number them.
		e.ECX = e.ECX&^0xf0ff | (cpus-1)&0xff | apicIDBits(cpus)<<12
	case leafAMDCaches:
		if e.EAX&0x1f == 0 {
			return
		}
		e.EAX = e.EAX&0x3fff | (sharers(e.EAX, cpus)-1)<<14
	case leafAMDTopology:
		e.EAX = id
		e.EBX = id & 0xff // core ID; threads per core less one is zero
		e.ECX = 0         // one node
	}
}

// sharers tells how many processors share the cache that EAX of leaf 4 (or of AMD's
// 0x8000_001d, which has the same form) describes: the first two levels are a core's
// own, the third is the package's.
func sharers(eax, cpus uint32) uint32 {
	if level := eax >> 5 & 7; level >= 3 {
		return roundPow2(cpus)
	}
	return threadsPerCore
}

// topologyLevels makes leaf 0xb: a thread level and a core level, then the level of
// type 0 that ends the list.
func topologyLevels(id, cpus uint32) []kvm.CPUIDEntry {
	return []kvm.CPUIDEntry{
		{Function: leafTopology, Index: 0, Flags: kvm.CPUIDSignificantIndex, EAX: 0, EBX: threadsPerCore, ECX: topologyThread | 0, EDX: id},
		{Function: leafTopology, Index: 1, Flags: kvm.CPUIDSignificantIndex, EAX: apicIDBits(cpus), EBX: cpus, ECX: topologyCore | 1, EDX: id},
		{Function: leafTopology, Index: 2, Flags: kvm.CPUIDSignificantIndex, ECX: 2, EDX: id},
	}
}

// isAMD tells AMD's and Hygon's processors by the vendor string of leaf 0.
func isAMD(entries []kvm.CPUIDEntry) bool {
	const auth, hygo = 0x6874_7541, 0x6f67_7948 // EBX: its first four letters
	return slices.ContainsFunc(entries, func(e kvm.CPUIDEntry) bool {
		return e.Function == 0 && (e.EBX == auth || e.EBX == hygo)
	})
}

func maxLeaf(entries []kvm.CPUIDEntry) uint32 {
	i := slices.IndexFunc(entries, func(e kvm.CPUIDEntry) bool { return e.Function == 0 })
	if i < 0 {
		return 0
	}
	return entries[i].EAX
}

// apicIDBits is how many low bits of an APIC ID number the cores of the package.
func apicIDBits(cpus uint32) uint32 { return uint32(bits.Len32(cpus - 1)) }

func roundPow2(n uint32) uint32 { return 1 << apicIDBits(n) }

func setBit(r *uint32, bit uint32, on bool) {
	if on {
		*r |= bit
	} else {
		*r &^= bit
	}
}
