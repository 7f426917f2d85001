package main

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// idleTime is how long an idle guest is looked at, after it has had idleBefore to come to rest: until then it reports
// the memory that its start has freed, some at a time, every two seconds.
const (
	idleBefore = 40 * time.Second
	idleTime   = 10 * time.Second
)

func (l *lab) idles() []trial {
	subjects := []subject{
		{"other", "wake-ups of the monitor's other threads in 10 s", kindCount},
		{"vcpu", "wake-ups of the virtual CPUs' threads in 10 s", kindCount},
		{"cpu", "processor time of all threads, guest included", kindShare},
	}
	var list []trial
	for _, c := range cells {
		if c.diskOnly {
			continue
		}
		k := l.kernel(c.kernel)
		list = append(list, l.trials("idle/"+cellName(c.kernel, c.cpus), cellTitle(c.kernel, c.cpus), k.missing,
			l.guestOf(k, c.cpus, "idle"), devices{disk: l.image, user: true, balloon: true}, subjects, idleOnce)...)
	}
	return list
}

func idleOnce(command, env []string) (map[string]float64, error) {
	values := map[string]float64{}
	_, err := boot(command, env, func(pid int) error {
		time.Sleep(idleBefore)
		before, err := lookAtThreads(pid)
		if err != nil {
			return err
		}
		time.Sleep(idleTime)
		after, err := lookAtThreads(pid)
		if err != nil {
			return err
		}
		var ran float64
		for tid, t := range after {
			// One that is new has nothing before.
			if t.vcpu || before[tid].vcpu {
				values["vcpu"] += t.switches - before[tid].switches
			} else {
				values["other"] += t.switches - before[tid].switches
			}
			ran += t.ran - before[tid].ran
		}
		values["vcpu"] += 0 // there, even if nothing happened
		values["other"] += 0
		values["cpu"] = ran / float64(idleTime.Nanoseconds())
		return nil
	})
	return values, err
}

// A threadState is what the kernel tells of a thread.
type threadState struct {
	switches float64 // away from it, each of which needs a wake-up or a turn
	ran      float64 // nanoseconds
	vcpu     bool    // it waits in KVM_RUN
}

// lookAtThreads looks at all threads of a process.
func lookAtThreads(pid int) (map[int]threadState, error) {
	dirs, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*", pid))
	if err != nil {
		return nil, err
	}
	threads := map[int]threadState{}
	for _, dir := range dirs {
		tid, err := strconv.Atoi(filepath.Base(dir))
		if err != nil {
			return nil, err
		}
		t, err := lookAtThread(dir)
		if errors.Is(err, os.ErrNotExist) {
			continue // it ended
		}
		if err != nil {
			return nil, err
		}
		threads[tid] = t
	}
	return threads, nil
}

func lookAtThread(dir string) (threadState, error) {
	var t threadState
	status, err := os.ReadFile(filepath.Join(dir, "status"))
	if err != nil {
		return t, err
	}
	if t.switches, err = parseSwitches(status); err != nil {
		return t, err
	}
	stat, err := os.ReadFile(filepath.Join(dir, "schedstat")) // the first number is the time that it ran
	if err != nil {
		return t, err
	}
	ran, _, _ := bytes.Cut(stat, []byte(" "))
	if t.ran, err = strconv.ParseFloat(string(ran), 64); err != nil {
		return t, err
	}
	call, err := os.ReadFile(filepath.Join(dir, "syscall"))
	t.vcpu = inKVMRun(string(call))
	return t, err
}

// parseSwitches adds up the context switches of /proc/PID/status.
func parseSwitches(status []byte) (float64, error) {
	var sum float64
	found := 0
	for line := range strings.Lines(string(status)) {
		key, value, _ := strings.Cut(line, ":")
		if key != "voluntary_ctxt_switches" && key != "nonvoluntary_ctxt_switches" {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
		if err != nil {
			return 0, err
		}
		sum += n
		found++
	}
	if found != 2 {
		return 0, errors.New("status has no context switches")
	}
	return sum, nil
}

// inKVMRun tells by /proc/PID/syscall, "number arguments stack counter", whether a thread waits in ioctl(KVM_RUN).
func inKVMRun(call string) bool {
	fields := strings.Fields(call)
	return len(fields) > 2 && fields[0] == "16" && fields[2] == "0xae80"
}
