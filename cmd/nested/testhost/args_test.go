package testhost

import (
	"slices"
	"strings"
	"testing"

	"govmm/cmd/nested/wire"
)

// value returns the argument that follows the i-th occurrence of a flag.
func value(args []string, flag string, i int) string {
	for at, arg := range args {
		if arg != flag {
			continue
		}
		if i == 0 {
			return args[at+1]
		}
		i--
	}
	return ""
}

func TestArguments(t *testing.T) {
	c := &Config{Kernel: "/k/vmlinux", CPUs: 2, MemoryMiB: 4096}
	args := c.arguments()
	for flag, want := range map[string]string{
		"-accel":  "tcg,thread=multi,tb-size=512",
		"-smp":    "2",
		"-m":      "4096",
		"-kernel": "/k/vmlinux",
		"-icount": "",
	} {
		if got := value(args, flag, 0); got != want {
			t.Errorf("%s %q, want %q", flag, got, want)
		}
	}
	if !strings.HasSuffix(value(args, "-append", 0), " quiet") {
		t.Error("the kernel is not quiet")
	}
	// Nothing of the host may be open to the machine for writing.
	if root := value(args, "-virtfs", 0); !strings.Contains(root, "path=/,") || !strings.Contains(root, "readonly=on") {
		t.Errorf("-virtfs %q", root)
	}
	if more := value(args, "-virtfs", 1); more != "" {
		t.Errorf("-virtfs %q, and nothing was shared", more)
	}
}

func TestArgumentsVirtualTime(t *testing.T) {
	c := &Config{CPUs: 4, VirtualTime: true}
	args := c.arguments()
	for flag, want := range map[string]string{
		"-accel":  "tcg,thread=single,tb-size=512",
		"-smp":    "1",
		"-icount": "shift=1,sleep=off",
	} {
		if got := value(args, flag, 0); got != want {
			t.Errorf("%s %q, want %q", flag, got, want)
		}
	}
}

func TestArgumentsShares(t *testing.T) {
	c := &Config{Job: wire.Job{Shares: []string{"/plain", "/with,comma"}}, Verbose: true}
	args := c.arguments()
	for i, want := range []string{"path=/plain,mount_tag=share0,", "path=/with,,comma,mount_tag=share1,"} {
		if got := value(args, "-virtfs", i+1); !strings.Contains(got, want) || strings.Contains(got, "readonly") {
			t.Errorf("-virtfs %q, want %q", got, want)
		}
	}
	if strings.Contains(value(args, "-append", 0), "quiet") {
		t.Error("the kernel is quiet, and its log was asked for")
	}
	if !slices.Contains(args, "-no-reboot") {
		t.Error("a panic would not end the machine")
	}
}
