package main

import (
	"strings"
	"testing"
	"testing/fstest"
)

func TestReport(t *testing.T) {
	root := fstest.MapFS{}
	for name, data := range map[string]string{
		"sys/devices/system/cpu/online": "0-3,6\n",
		"proc/meminfo":                  "MemTotal:         230712 kB\nMemFree:          1 kB\n",
		"sys/devices/system/clocksource/clocksource0/current_clocksource": "tsc\n",
		"proc/cmdline":              "console=ttyS0 quiet\n",
		"sys/block/vdb/size":        "2048\n",
		"sys/block/vdb/ro":          "1\n",
		"sys/block/vda/size":        "131072\n",
		"sys/block/vda/ro":          "0\n",
		"sys/class/net/lo/address":  "00:00:00:00:00:00\n",
		"sys/block/broken/size":     "many\n",
		"sys/class/net/tunl0/other": "",
	} {
		root[name] = &fstest.MapFile{Data: []byte(data)}
	}
	var b strings.Builder
	report(&b, root)
	want := `cpus=5
memory=236249088
clocksource=tsc
cmdline=console=ttyS0 quiet
block.vda=67108864
block.vdb=1048576
block.vdb.readonly=1
net.lo=00:00:00:00:00:00
`
	if got := b.String(); got != want {
		t.Errorf("report printed\n%s\nwant\n%s", got, want)
	}
}

func TestReportWithoutAnything(t *testing.T) {
	var b strings.Builder
	report(&b, fstest.MapFS{})
	if b.Len() != 0 {
		t.Errorf("report of an empty root printed %q", b.String())
	}
}
