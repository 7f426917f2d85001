package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"
	"strings"
	"time"
)

// What guest/free does, and how long the monitor has to give it back.
const (
	freed      = 512 << 20
	freeBefore = time.Second
	freeTime   = 10 * time.Second
)

func (l *lab) frees() []trial {
	k := l.kernel(tiny)
	g := l.guestOf(k, 1, "free")
	g.memory = "1G"
	return l.trials("free/"+cellName(tiny, 1), cellTitle(tiny, 1), k.missing, g, devices{balloon: true},
		[]subject{{"returned", "of 512 MiB that the guest frees, back on the host within 10 s", kindShare}}, freeOnce)
}

func freeOnce(command, env []string) (map[string]float64, error) {
	values := map[string]float64{}
	_, err := boot(command, env, func(pid int) error {
		full, err := residentSize(pid)
		if err != nil {
			return err
		}
		time.Sleep(freeBefore + freeTime)
		left, err := residentSize(pid)
		if err != nil {
			return err
		}
		values["returned"] = (full - left) / freed
		return nil
	})
	return values, err
}

// residentSize is a process's, in bytes.
func residentSize(pid int) (float64, error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, err
	}
	for line := range strings.Lines(string(status)) {
		if kb, ok := strings.CutPrefix(line, "VmRSS:"); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(strings.TrimSuffix(strings.TrimSpace(kb), "kB")), 64)
			return n * 1024, err
		}
	}
	return 0, errors.New("status has no VmRSS")
}
