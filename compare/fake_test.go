package compare

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	specs "github.com/opencontainers/runtime-spec/specs-go"

	"govmm/compare/probe"
)

var begun = time.Now()

// mark is a file that a command of that name makes in its root directory.
const mark = "govmm-compare-test-mark"

// The test binary plays all programs of a comparison, by the name under which it is started.
func TestMain(m *testing.M) {
	if probe.IsProbe() {
		probe.Main()
	}
	name, traits, _ := strings.Cut(filepath.Base(os.Args[0]), "-")
	switch name {
	case "hello":
		fmt.Println("hello")
	case "fail":
		fmt.Fprintln(os.Stderr, "the last words")
		os.Exit(3)
	case "flood":
		for p := make([]byte, 1<<20); ; {
			if _, err := os.Stdout.Write(p); err != nil || time.Since(begun) > 300*time.Millisecond {
				return
			}
		}
	case "quiet":
	case "mark":
		if filepath.Base(os.Args[0]) == os.Args[0] { // found on PATH: the host's place
			_ = os.WriteFile("/"+mark, nil, 0o644)
		}
	case "killed":
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
	case "forever":
		time.Sleep(time.Hour)
	case "govmm":
		fakeGovmm(traits, os.Args[1:])
	case "runtime":
		fakeRuntime(traits, os.Args[1:])
	default:
		os.Exit(m.Run())
	}
}

// program gives a path under which the test binary plays a program.
func program(t testing.TB, name string) string {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), name)
	if err := os.Symlink(self, path); err != nil {
		t.Fatal(err)
	}
	return path
}

func die(err error) {
	fmt.Fprintln(os.Stderr, err)
	os.Exit(1)
}

func print(v any) {
	line, err := json.Marshal(v)
	if err != nil {
		die(err)
	}
	fmt.Printf("%s\n", line)
}

// become runs a command in place of this process.
func become(args []string) {
	path, err := exec.LookPath(args[0])
	if err != nil {
		die(err)
	}
	die(syscall.Exec(path, args, os.Environ()))
}

// value gives what follows a flag.
func value(args []string, flag string) string {
	if i := slices.Index(args, flag); i >= 0 && i+1 < len(args) {
		return args[i+1]
	}
	return ""
}

// fakeGovmm is a monitor that has no virtual machines: it says what one would say, or, if it has the trait "liar", what the host says.
func fakeGovmm(traits string, args []string) {
	if strings.Contains(traits, "slow") {
		time.Sleep(300 * time.Millisecond)
	}
	liar := strings.Contains(traits, "liar")
	if args[0] == "boot" {
		f := guestFacts(args[len(args)-2], liar)
		text, _ := json.Marshal(f) // has no channels
		fmt.Printf("[    0.1] kernel\n\nBEGIN-FACTS %s\n[    0.2] Power down\n", text)
		return
	}
	i := slices.Index(args, "--")
	flags, command := args[:i], args[i+1:]
	root := value(flags, "--rootfs")
	if command[0] != "/"+probeName {
		become([]string{filepath.Join(root, "bin", command[0])})
	}
	do := command[1]
	switch {
	case do == "facts":
		print(guestFacts("own", liar))
	case liar:
		become(append([]string{filepath.Join(root, probeName)}, translate(flags, command[1:])...))
	case do == "alloc":
		print(probe.Progress{Bytes: 64 << 20})
		os.Exit(137)
	case do == "panic":
		die(fmt.Errorf("Kernel panic - not syncing"))
	case do == "exhaust":
		os.Exit(137)
	case do == "bomb", do == "fill":
	default:
		become(append([]string{filepath.Join(root, probeName)}, translate(flags, command[1:])...))
	}
}

// translate makes the guest's names of things the host's.
func translate(flags, args []string) []string {
	forward, _, _ := strings.Cut(strings.TrimPrefix(value(flags, "--net"), "user,hostfwd=tcp:"), "-")
	replace := strings.NewReplacer(guestDisk, value(flags, "--disk")+".new", "10.0.2.2:", "127.0.0.1:")
	var translated []string
	for _, a := range args {
		if a == ":80" {
			a = forward
		}
		translated = append(translated, replace.Replace(a))
	}
	return translated
}

func guestFacts(kernel string, liar bool) probe.Facts {
	f := probe.Look()
	if liar {
		return f
	}
	f.Kernel = probe.Kernel{Release: "9.9-" + filepath.Base(kernel), BootID: "guest's " + kernel}
	f.Hypervisor, f.PCI, f.ACPI, f.Disks = kvmVendor, []string{"guest's"}, []string{"guest's"}, []string{"vda"}
	f.CPUs, f.Memory = 1, 100<<20
	return f
}

// fakeRuntime is a runtime that runs a bundle's process on the host, so that it shares its kernel; with the trait "kernel" it says that it has one of its own.
func fakeRuntime(traits string, args []string) {
	if strings.Contains(traits, "slow") {
		time.Sleep(300 * time.Millisecond)
	}
	switch {
	case strings.Contains(traits, "broken"):
		fmt.Fprintln(os.Stderr, "first line\nno such \x1b[1mfeature")
		os.Exit(3)
	case strings.Contains(traits, "hanging"):
		time.Sleep(time.Hour)
	}
	text, err := os.ReadFile(filepath.Join(args[1], "config.json"))
	if err != nil {
		die(err)
	}
	var s specs.Spec
	if err := json.Unmarshal(text, &s); err != nil {
		die(err)
	}
	command := s.Process.Args
	if command[0] != "/"+probeName {
		become([]string{filepath.Join(s.Root.Path, "bin", command[0])})
	}
	if command[1] == "facts" && strings.Contains(traits, "kernel") {
		f := probe.Look()
		f.Kernel.BootID, f.Hypervisor, f.CPUs, f.Disks = "container's", "other", 99, []string{"own"}
		print(f)
		return
	}
	command[0] = filepath.Join(s.Root.Path, command[0])
	for _, m := range s.Mounts {
		for i, a := range command {
			command[i] = strings.Replace(a, m.Destination+"/", m.Source+"/", 1)
		}
	}
	become(command)
}
