package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func TestParseDisk(t *testing.T) {
	for text, want := range map[string]disk{
		"a.img":                             {path: "a.img"},
		"a.img,ro":                          {path: "a.img", readOnly: true},
		"/x/y":                              {path: "/x/y"},
		"a,,b.img,ro":                       {path: "a,b.img", readOnly: true},
		"a,,,ro":                            {path: "a,", readOnly: true},
		"a=b,cache=none":                    {path: "a=b", direct: true},
		"a,cache=writeback":                 {path: "a"},
		"a,rate=1000:50M":                   {path: "a", ops: 1000, bytes: 50 << 20},
		"a,rate=1K:":                        {path: "a", ops: 1024},
		"a,rate=:1G":                        {path: "a", bytes: 1 << 30},
		"a,rate=0:0":                        {path: "a"},
		"a,serial=x=1,,2":                   {path: "a", serial: "x=1,2"},
		"a,serial=12345678901234567890":     {path: "a", serial: "12345678901234567890"},
		"a,ro,cache=none,rate=2:3,serial=s": {path: "a", readOnly: true, direct: true, ops: 2, bytes: 3, serial: "s"},
	} {
		if got, err := parseDisk(text); err != nil || got != want {
			t.Errorf("%q: %+v, %v", text, got, err)
		}
	}
	for text, remedy := range map[string]string{
		"":                               "write it as PATH",
		",ro":                            "write it as PATH",
		"a.img,rw":                       "there are ro, cache=",
		"a.img,ro,":                      "there are ro, cache=",
		"a.img,ro=1":                     "leave it out",
		"a.img,ro,ro":                    "leave one out",
		"a,cache=none,cache=none":        "leave one out",
		"a,cache=":                       "write cache=writeback",
		"a,cache=unsafe":                 "write cache=writeback",
		"a,rate=1000":                    "write rate=OPS:BYTES",
		"a,rate=x:1":                     "write it as 1000",
		"a,rate=1:2:3":                   "write it as 1000",
		"a,rate=-1:":                     "write it as 1000",
		"a,serial=":                      "give 1 to 20",
		"a,serial=123456789012345678901": "give 1 to 20",
		"with,comma.img":                 "written twice",
	} {
		_, err := parseDisk(text)
		if err == nil {
			t.Errorf("%q was taken", text)
			continue
		}
		if s := err.Error(); !strings.Contains(s, remedy) || strings.Contains(s, "\n") {
			t.Errorf("%q: %q, want one line with %q", text, s, remedy)
		}
	}
}

func FuzzParseDisk(f *testing.F) {
	f.Add("a,,b.img,ro,cache=none,rate=1K:2M,serial=x")
	f.Fuzz(func(t *testing.T, text string) {
		d, err := parseDisk(text)
		if err != nil {
			return
		}
		if d.path == "" || len(d.serial) > maxSerial {
			t.Errorf("%q: %+v", text, d)
		}
		again, err := parseDisk(strings.ReplaceAll(d.path, ",", ",,"))
		if err != nil || again.path != d.path {
			t.Errorf("path %q, doubled, is %q, %v", d.path, again.path, err)
		}
	})
}

func TestBlockDevices(t *testing.T) {
	path := filepath.Join(t.TempDir(), "a.img")
	if err := os.WriteFile(path, make([]byte, 4096), 0o600); err != nil {
		t.Fatal(err)
	}
	disks, err := openDisks([]string{path + ",serial=root"})
	defer (&openDevices{disks: disks}).close()
	if err != nil {
		t.Fatal(err)
	}
	for cpus, queues := range map[int]int{1: 1, 4: 4, 200: mostDiskQueues} {
		devs, err := blockDevices(disks, cpus, nil)
		if err != nil || len(devs) != 1 || len(devs[0].QueueSizes()) != queues {
			t.Errorf("%d vCPUs: %v, %v", cpus, devs, err)
		}
	}
}
