package main

import (
	"fmt"
	"time"
)

// starts measures from exec to the first instruction of a guest, by the host's kernel.
func (b *bench) starts() error {
	k := b.kernel(tiny)
	if k.missing != "" {
		k = b.kernel(stock612)
	}
	note := "with " + k.label + ", bzImage"
	figures := []*figure{
		b.figure(figure{ID: "start/govmm", Title: "govmm", Note: note, Command: b.govmmCommand(b.guest(k.bzImage)), Env: b.warmCache(), Missing: k.missing}),
		b.figure(figure{ID: "start/qemu", Title: "QEMU microvm", Note: note, Command: b.qemuCommand(b.guest(k.bzImage)), Missing: k.missing}),
	}
	return onThread(func() error {
		t, err := openTrace()
		if err != nil {
			for _, f := range figures {
				f.Missing = err.Error()
			}
			return nil
		}
		for round := range b.report.Runs + 1 {
			for _, f := range figures {
				if f.Missing != "" {
					continue
				}
				took, err := t.startOnce(f.Command, f.Env)
				f.add(round, float64(took.Nanoseconds()), err)
				b.say(round, f.ID, fmt.Sprintf("%.3f ms", took.Seconds()*1000), err)
			}
		}
		for _, f := range figures {
			f.close()
		}
		return t.close()
	})
}

// startOnce boots a guest to its init, which is long enough, and looks at the beginning.
func (t *trace) startOnce(command, env []string) (time.Duration, error) {
	if err := t.clear(); err != nil {
		return 0, err
	}
	if _, err := boot(command, env, nil); err != nil {
		return 0, err
	}
	return t.firstEntry(command[0])
}
