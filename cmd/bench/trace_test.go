package main

import (
	"strings"
	"testing"
	"time"
)

const traceHead = `# tracer: nop
#
#           TASK-PID     CPU#  |||||  TIMESTAMP  FUNCTION
#              | |         |   |||||     |         |
`

func TestExecToEntry(t *testing.T) {
	for name, text := range map[string]string{
		"plain": `           bench-210     [000] .....    12.000100: sched_process_exec: filename=/x/govmm-other pid=210 old_pid=210
           govmm-211     [000] .....    12.000200: sched_process_exec: filename=/x/govmm pid=211 old_pid=211
           govmm-214     [001] d....    13.500300: kvm_entry: vcpu 0, rip 0xfff0
           govmm-214     [001] d....    13.600000: kvm_entry: vcpu 0, rip 0xfff0
`,
		"with processes": `     name - 1 x-211     (    211) [000] .....    12.000200: sched_process_exec: filename=/x/govmm pid=211 old_pid=211
        CPU 0/KVM-214     (-------) [001] d..1.    13.500300: kvm_entry: vcpu 0, rip 0xfff0
`,
		"an earlier guest": `        old-214     [001] d....    11.000000: kvm_entry: vcpu 0, rip 0xfff0
        govmm-211     [000] .....    12.000200: sched_process_exec: filename=/x/govmm pid=211 old_pid=211
        govmm-214     [001] d....    13.500300: kvm_entry: vcpu 0, rip 0xfff0
`,
	} {
		took, err := execToEntry(strings.NewReader(traceHead+text), "/x/govmm")
		if err != nil || took != 1500100*time.Microsecond {
			t.Errorf("%s: %v, %v", name, took, err)
		}
	}
}

func TestExecToEntryMissing(t *testing.T) {
	exec := "govmm-211 [000] ..... 12.000200: sched_process_exec: filename=/x/govmm pid=211 old_pid=211\n"
	for text, want := range map[string]string{
		traceHead:        "no execution of /x/govmm",
		traceHead + exec: "no entry into a guest",
	} {
		if _, err := execToEntry(strings.NewReader(text), "/x/govmm"); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}
