package main

import (
	"strings"
	"testing"
)

func TestParseNetwork(t *testing.T) {
	for _, text := range []string{
		"user", "user,hostfwd=tcp::8080-:80,hostfwd=udp:127.0.0.1:53-:53", "user,mtu=9000,restrict", "tap", "tap=tap0",
		"tap=tap0,mac=02:00:00:00:00:01,queues=4", "tap,bridge=br0", "fd=3",
	} {
		if _, err := parseNetwork(text); err != nil {
			t.Errorf("%q: %v", text, err)
		}
	}
	n, err := parseNetwork("tap=tap0,mac=02:00:00:00:00:01,queues=4")
	if err != nil || n.name != "tap0" || n.mac[5] != 1 || n.queues != 4 {
		t.Errorf("%+v, %v", n, err)
	}
	for text, remedy := range map[string]string{
		"":                         "begins with user",
		"bridge":                   "begins with user",
		"user=x":                   "begins with user",
		"tap=":                     "begins with user",
		"fd=x":                     "fd=3",
		"fd=-1":                    "fd=3",
		"user,queues=2":            "there are mac=, hostfwd, mtu, restrict",
		"fd=3,queues=2":            "there are mac=",
		"user,mtu=1":               "give 576 to 65520",
		"user,mtu=1500,mtu=1500":   "leave one out",
		"user,restrict=on":         "takes no value",
		"user,hostfwd=tcp:8080:80": "hostfwd",
		"tap=tap0,bridge=br0":      "tap,bridge=NAME",
		"tap,queues=0":             "give 1 to 32",
	} {
		if _, err := parseNetwork(text); err == nil || !strings.Contains(err.Error(), remedy) {
			t.Errorf("%q: error %v, want one with %q", text, err, remedy)
		}
	}
}
