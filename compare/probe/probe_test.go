package probe

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// output runs a command that prints one line.
func output[T any](t *testing.T, args ...string) T {
	t.Helper()
	var out bytes.Buffer
	if err := run(args, &out); err != nil {
		t.Fatal(err)
	}
	v, err := Decode[T](out.Bytes())
	if err != nil {
		t.Fatalf("%v in %q", err, out.String())
	}
	return v
}

func refused(t *testing.T, args ...string) error {
	t.Helper()
	var out bytes.Buffer
	err := run(args, &out)
	if err == nil || out.Len() > 0 {
		t.Errorf("%q: error %v and output %q", args, err, out.String())
	}
	return err
}

func TestFacts(t *testing.T) {
	f := output[Facts](t, "facts")
	if f.Kernel.Release == "" || len(f.Kernel.BootID) != 36 {
		t.Errorf("kernel %+v", f.Kernel)
	}
	if f.CPUsAllowed != runtime.NumCPU() || f.CPUs < 1 || f.Memory < 16*mib || f.PID != os.Getpid() || f.UID != os.Getuid() {
		t.Errorf("%+v", f)
	}
	if f.Processes < 1 || len(f.ProcessNames) == 0 || f.Devices < 1 || len(f.Mounts) == 0 || len(f.Mounts) > MaxList {
		t.Errorf("processes %d %q, devices %d, mounts %v", f.Processes, f.ProcessNames, f.Devices, f.Mounts)
	}
	if len(f.Writable) > maxWritable || f.UID == 0 && f.WritableCount == 0 {
		t.Errorf("writable: %d", f.WritableCount)
	}
}

func TestParsing(t *testing.T) {
	if n := countRange("0-3,5,7-6,x"); n != 5 {
		t.Errorf("%d processors", n)
	}
	if got := capabilities("8000000000200001"); !slices.Equal(got, []string{"CAP_CHOWN", "CAP_SYS_ADMIN", "CAP_63"}) {
		t.Errorf("%q", got)
	}
	const info = "24 1 0:22 / /a\\040b ro,nosuid shared:1 - tmpfs x rw\n25 1 0:23 / /c rw - ext4 /dev/vda ro,x\nwrong line\n"
	if got := mounts(info); !slices.Equal(got, []Mount{{"/a b", "tmpfs", true}, {"/c", "ext4", true}}) {
		t.Errorf("%+v", got)
	}
}

// TestCanWrite has what root may not write either.
func TestCanWrite(t *testing.T) {
	name := filepath.Join(t.TempDir(), "f")
	if err := os.WriteFile(name, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if !canWrite(name) || canWrite("/proc/sys/kernel/ostype") || canWrite("/sys/kernel/uevent_seqnum") || canWrite(name+"x") {
		t.Error("of a file, a constant of the kernel's, an attribute that is read, and nothing, other than the first can be written")
	}
}

func TestHello(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"hello", "a", "b"}, &out); err != nil || out.String() != "a b\n" {
		t.Errorf("%q, %v", out.String(), err)
	}
}

func TestCPU(t *testing.T) {
	w := output[Work](t, "cpu", "-n", "1")
	if w.Units != 1 || w.Nanoseconds <= 0 || w.Result != fmt.Sprintf("%x", sha256.Sum256(make([]byte, mib))) {
		t.Errorf("%+v", w)
	}
	if w := output[Work](t, "syscalls", "-n", "1000"); w.Units != 1000 || w.Nanoseconds <= 0 {
		t.Errorf("%+v", w)
	}
}

func TestWrongUsage(t *testing.T) {
	for _, args := range []string{"", "nothing", "cpu -n 0", "cpu -n 1 more", "cpu -x", "syscalls -n -1", "disk", "disk -path x -size 1", "latency -period 0s", "net -n 5", "facts x"} {
		refused(t, strings.Fields(args)...)
	}
}

func TestDisk(t *testing.T) {
	path := filepath.Join(t.TempDir(), "disk")
	d := output[Disk](t, "disk", "-path", path, "-size", "4194304", "-random", "10")
	if d.Bytes != 4*mib || d.WriteNS <= 0 || d.ReadNS <= 0 || d.RandomNS <= 0 || d.RandomReads != 10 {
		t.Errorf("%+v", d)
	}
	if _, err := os.Stat(path); err == nil {
		t.Error("the file is still there")
	}
}

// TestDiskKeepsFiles gives it files that somebody has.
func TestDiskKeepsFiles(t *testing.T) {
	path := filepath.Join(t.TempDir(), "mine")
	if err := os.WriteFile(path, []byte("mine"), 0o600); err != nil {
		t.Fatal(err)
	}
	refused(t, "disk", "-path", path)
	if b, err := os.ReadFile(path); string(b) != "mine" {
		t.Errorf("%q, %v", b, err)
	}
	refused(t, "disk", "-path", "/dev/null")
}

// serving serves until the test ends, and gives the address.
func serving(t *testing.T, address, id string) string {
	t.Helper()
	l, err := listen(address)
	if err != nil {
		t.Fatal(err)
	}
	end := make(chan error)
	go func() { end <- serve(l, id) }()
	t.Cleanup(func() {
		unix.Shutdown(l.fd, unix.SHUT_RDWR)
		<-end
		unix.Close(l.fd)
	})
	return l.address()
}

func TestAddresses(t *testing.T) {
	for _, bad := range []string{"", "127.0.0.1", "host:1", "127.0.0.1:x"} {
		if _, err := listen(bad); err == nil {
			t.Errorf("listens at %q", bad)
		}
		refused(t, "net", "-address", bad)
	}
	if at := serving(t, ":0", ""); !strings.HasPrefix(at, "0.0.0.0:") {
		t.Error(at)
	}
}

func TestNetwork(t *testing.T) {
	at := serving(t, "127.0.0.1:0", "an-id")
	for range 2 {
		w := output[Work](t, "net", "-address", at, "-n", "1000000")
		if w.Units != 1000000 || w.Nanoseconds <= 0 || w.Result != "govmm-probe an-id" {
			t.Errorf("%+v", w)
		}
	}
}

// TestServe has the command itself, which does not end.
func TestServe(t *testing.T) {
	r, w := io.Pipe()
	go run([]string{"serve", "-address", "127.0.0.1:0"}, w)
	line, err := bufio.NewReader(r).ReadBytes('\n')
	if err != nil {
		t.Fatal(err)
	}
	l, err := Decode[Listening](line)
	if err != nil {
		t.Fatal(err)
	}
	if w := output[Work](t, "net", "-address", l.Address, "-n", "0"); w.Result != greeting+bootID() {
		t.Errorf("%+v", w)
	}
}

// TestHostileRequests must not get more than the greeting.
func TestHostileRequests(t *testing.T) {
	at := serving(t, "127.0.0.1:0", "id")
	for _, request := range []string{"GET -1\n", "GET 1", "PUT\n", "GET " + strings.Repeat("9", 100) + "\n"} {
		c, err := net.Dial("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprint(c, request)
		c.(*net.TCPConn).CloseWrite()
		got := make([]byte, 100)
		n, _ := c.Read(got)
		m, err := c.Read(got[n:])
		if string(got[:n]) != "govmm-probe id\n" || m > 0 || err == nil {
			t.Errorf("%q: %q and %d bytes more, %v", request, got[:n], m, err)
		}
		c.Close()
	}
}

func TestLatency(t *testing.T) {
	l := output[Latency](t, "latency", "-period", "1ms", "-for", "50ms")
	if len(l.Samples) == 0 || len(l.Samples) > 50 || slices.Min(l.Samples) <= 0 {
		t.Errorf("%v", l.Samples)
	}
}

func TestAlloc(t *testing.T) {
	var out bytes.Buffer
	if err := run([]string{"alloc", "-n", "20000000"}, &out); err != nil {
		t.Fatal(err)
	}
	lines := bytes.Split(bytes.TrimSpace(out.Bytes()), []byte("\n"))
	if len(lines) != 2 {
		t.Fatalf("%q", out.String())
	}
	first, err1 := Decode[Progress](lines[0])
	last, err2 := Decode[Progress](lines[1])
	if err1 != nil || err2 != nil || first.Bytes != 16*mib || last.Bytes != 20000000 || last.Nanoseconds < first.Nanoseconds {
		t.Errorf("%+v %v, %+v %v", first, err1, last, err2)
	}
}
