package main

import (
	"os"
	"strings"
	"testing"
)

func TestSection(t *testing.T) {
	const console = "boot\r\n\x1b[2Jbegin a\r\nx\r\nend b\r\nend a\r\nbegin b\r\ny\r\n"
	if got, err := section(console, "a"); err != nil || got != "x\nend b\n" {
		t.Errorf("%q, %v", got, err)
	}
	if _, err := section(console, "b"); err == nil {
		t.Error("a section without an end")
	}
}

func TestParseFio(t *testing.T) {
	out, err := os.ReadFile("testdata/fio")
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseFio(string(out))
	if err != nil {
		t.Fatal(err)
	}
	// 8000 KiB in 159 ms; 262144 KiB in 282 ms.
	for name, want := range map[string]float64{"randread-1": 2000 / 0.159, "write": 262144 * 1024 / 0.282} {
		if d := got[name]/want - 1; d > 1e-9 || d < -1e-9 {
			t.Errorf("%s: %v, want %v", name, got[name], want)
		}
	}
	for name, bad := range map[string]string{
		"an error":   strings.Replace(string(out), ";randread-1;0;0;", ";randread-1;0;5;", 1),
		"no time":    strings.Replace(string(out), ";159;", ";0;", 1),
		"no number":  strings.Replace(string(out), ";159;", ";x;", 1),
		"few fields": "3;fio-3.33;read;0;0;8000",
		"a message":  "fio: io_uring_setup: Function not implemented\n" + string(out),
	} {
		if v, err := parseFio(bad); err == nil {
			t.Errorf("%s: %v", name, v)
		}
	}
}

func TestParsePings(t *testing.T) {
	const out = `64 bytes from 10.0.2.2: icmp_seq=1 ttl=64 time=16.3 ms
64 bytes from 10.0.2.2: icmp_seq=2 ttl=64 time=0.190 ms
64 bytes from 10.0.2.2: icmp_seq=3 ttl=64 time=0.140 ms
`
	if got, err := parsePings(out); err != nil || got != 190e3 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parsePings("From 10.0.2.2 icmp_seq=1 Destination Host Unreachable\n"); err == nil {
		t.Error("a median of no answers")
	}
}

func TestParseIperf(t *testing.T) {
	if got, err := parseIperf(`{"end": {"sum_sent": {"bits_per_second": 9e8}, "sum_received": {"bits_per_second": 8e8}}}`); err != nil || got != 1e8 {
		t.Errorf("%v, %v", got, err)
	}
	for _, bad := range []string{"", `{"error": "unable to connect to server: Connection refused"}`, `{"end": {}}`} {
		if v, err := parseIperf(bad); err == nil {
			t.Errorf("%q: %v", bad, v)
		}
	}
}

// TestLookAtThreads looks at this process, none of whose threads is a virtual CPU.
func TestLookAtThreads(t *testing.T) {
	threads, err := lookAtThreads(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	own := threads[os.Getpid()]
	if own.switches == 0 || own.ran == 0 || own.vcpu {
		t.Errorf("%+v", own)
	}
	if size, err := residentSize(os.Getpid()); err != nil || size < 1<<20 {
		t.Errorf("resident size %v, %v", size, err)
	}
}

func TestInKVMRun(t *testing.T) {
	for call, want := range map[string]bool{
		"16 0xd 0xae80 0x0 0x0 0x0 0x0 0x7ffc 0x40": true,
		"16 0xd 0xae41 0x0 0x0 0x0 0x0 0x7ffc 0x40": false,
		"202 0xd 0xae80 0x0 0x0 0x0 0x0 0x7f 0x40":  false,
		"running": false,
		"":        false,
	} {
		if inKVMRun(call) != want {
			t.Errorf("%q: not %v", call, want)
		}
	}
}

func TestParseSwitches(t *testing.T) {
	if got, err := parseSwitches([]byte("Name:\tx\nvoluntary_ctxt_switches:\t11\nnonvoluntary_ctxt_switches:\t3\n")); err != nil || got != 14 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := parseSwitches([]byte("Name:\tx\n")); err == nil {
		t.Error("a status without switches")
	}
}

// TestRivals holds that every monitor gives the guest the same devices.
func TestRivals(t *testing.T) {
	b := &bench{govmm: "govmm", qemu: "qemu", files: &stage{"/x"}}
	d := devices{disk: "/x/d", tap: "t0", user: true, balloon: true}
	for name, want := range map[string][]string{
		"govmm":   {"--disk /x/d", "--net tap=t0", "--net user", "--balloon"},
		"q35":     {"-M q35", "virtio-blk-pci,", "ifname=t0,", "vhost=off", "virtio-net-pci,netdev=tap,", "virtio-net-pci,netdev=user,", "virtio-balloon-pci,free-page-reporting=on"},
		"microvm": {"-M microvm", "virtio-blk-device,", "virtio-net-device,netdev=tap", "virtio-net-device,netdev=user", "virtio-balloon-device,free-page-reporting=on"},
	} {
		found := false
		for _, r := range rivals {
			if r.name != name {
				continue
			}
			found = true
			command, _ := r.command(b, guest{kernel: "k", initrd: "i", memory: "1G", cpus: 2, cmdline: "c"}, d)
			for _, w := range want {
				if !strings.Contains(strings.Join(command, " "), w) {
					t.Errorf("%s: %q lacks %q", name, command, w)
				}
			}
		}
		if !found {
			t.Errorf("no rival %s", name)
		}
	}
}
