package compare

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// family gives a process and all that descend from it.
func family(pid int) ([]int, error) {
	children, err := allChildren()
	if err != nil {
		return nil, err
	}
	list := []int{pid}
	for i := 0; i < len(list); i++ {
		list = append(list, children[list[i]]...)
	}
	return list, nil
}

// allChildren tells for each process those that it is the parent of.
func allChildren() (map[int][]int, error) {
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return nil, err
	}
	children := make(map[int][]int)
	for _, path := range stats {
		text, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		pid, parent, err := parseStat(text)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		children[parent] = append(children[parent], pid)
	}
	return children, nil
}

// parseStat reads the number of a process and its parent's from /proc/PID/stat (proc_pid_stat(5)), in which the name may be anything.
func parseStat(text []byte) (pid, parent int, err error) {
	number, _, _ := bytes.Cut(text, []byte(" "))
	fields := bytes.Fields(text[bytes.LastIndexByte(text, ')')+1:])
	if len(fields) < 2 {
		return 0, 0, errors.New("no parent")
	}
	if pid, err = strconv.Atoi(string(number)); err != nil {
		return 0, 0, err
	}
	parent, err = strconv.Atoi(string(fields[1]))
	return pid, parent, err
}

// memoryOf gives the memory of processes in bytes: their proportional set size, in which a page that n processes share counts as an nth.
func memoryOf(pids []int) (pss float64, err error) {
	for _, pid := range pids {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/smaps_rollup", pid))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH) {
			continue // it has ended, or is the kernel's
		}
		if err != nil {
			return 0, err
		}
		p, err := parsePSS(text)
		if err != nil {
			return 0, err
		}
		pss += p
	}
	return pss, nil
}

func parsePSS(rollup []byte) (float64, error) {
	for s := bufio.NewScanner(bytes.NewReader(rollup)); s.Scan(); {
		value, ok := strings.CutPrefix(s.Text(), "Pss:")
		if !ok {
			continue
		}
		kb, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(value, "kB")), 10, 53)
		return float64(kb << 10), err
	}
	return 0, errors.New("smaps_rollup has no Pss")
}
