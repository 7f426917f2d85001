package hostcheck

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"time"

	"govmm/bootimage"
	"govmm/kvm"
	"govmm/machine"
)

// A KVM in software emulates guest kernels and lacks instructions that every stock
// kernel uses. What it says of itself does not tell, so the probe runs one of those, a
// 16-byte compare and exchange, and reports through the debug exit port. That it passes
// says no more than that the processor did it:
//
//	lock cmpxchg16b [0x8000]
//	mov  al, 42
//	out  0xf4, al
//	hlt
var probeCode = []byte{
	0xf0, 0x48, 0x0f, 0xc7, 0x0c, 0x25, 0x00, 0x80, 0x00, 0x00,
	0xb0, probeAnswer,
	0xe6, 0xf4,
	0xf4,
}

const (
	probeAddr    = 0x10_0000
	probeAnswer  = 42
	probeTimeout = 5 * time.Second // hardware needs milliseconds; no verdict hangs on the exact figure
)

// virtualization tells hardware from software by running the probe.
func virtualization(kvmPath string) Item {
	const name = "virtualization"
	err := probe(kvmPath)
	if err == nil {
		return Item{name, OK, "hardware" + processorFeature(), ""}
	}
	var crash *machine.CrashError
	if errors.As(err, &crash) && crash.Exit == kvm.ExitInternalError {
		return Item{
			name, Missing,
			"software: this KVM emulates guest kernels and fails at an instruction that Linux needs",
			"use a host whose processor has VT-x or AMD-V (enable it in the firmware; in a VM its host must allow nesting); govmm's sources have a test host for machines without, see docs/testing.md",
		}
	}
	return Item{name, Missing, "a test guest did not run: " + err.Error(), ""}
}

func probe(kvmPath string) error {
	m, err := machine.New(machine.Config{
		Memory: machine.MinMemory, DebugExit: true, KVM: kvmPath,
		Image: &bootimage.Plan{
			Segments: []bootimage.Segment{{Name: "probe", Addr: probeAddr, Data: probeCode, Size: uint64(len(probeCode))}},
			Entry:    bootimage.Entry{Mode: bootimage.Linux64, PC: probeAddr},
		},
	})
	if err != nil {
		return err
	}
	defer m.Close()
	ctx, cancel := context.WithTimeout(context.Background(), probeTimeout)
	defer cancel()
	outcome, err := m.Run(ctx)
	if err != nil {
		return err
	}
	if outcome.Reason != machine.DebugExit || outcome.Code != probeAnswer {
		return errors.New("it ended with " + outcome.Reason.String())
	}
	return nil
}

// processorFeature names the extension that /proc/cpuinfo shows, for the report only.
func processorFeature() string {
	b, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return ""
	}
	for line := range bytes.Lines(b) {
		if !bytes.HasPrefix(line, []byte("flags")) {
			continue
		}
		for f := range strings.FieldsSeq(string(line)) {
			switch f {
			case "vmx":
				return ", VT-x"
			case "svm":
				return ", AMD-V"
			}
		}
		break
	}
	return ""
}
