package main

import (
	"fmt"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"

	"govmm/examples/internal/self"
)

// questions are what the program wants to know of a place, and do there.
var questions = []struct {
	name string
	ask  func(place, server string) string
}{
	{"kernel", func(_, _ string) string { return self.KernelVersion() }},
	{"process number", func(_, _ string) string { return fmt.Sprint(os.Getpid()) }},
	{"user", func(_, _ string) string { return fmt.Sprint(os.Getuid()) }},
	{"files in /", func(_, _ string) string {
		entries, err := os.ReadDir("/")
		if err != nil {
			return err.Error()
		}
		return fmt.Sprint(len(entries))
	}},
	{"processors", func(_, _ string) string { return fmt.Sprint(runtime.NumCPU()) }},
	{"memory", func(_, _ string) string {
		i := system()
		return fmt.Sprintf("%d MiB", uint64(i.Totalram)*uint64(i.Unit)>>20)
	}},
	{"running since", func(_, _ string) string { return fmt.Sprintf("%d s", system().Uptime) }},
	{"set the clock", setClock},
	{"call the host's 127.0.0.1", func(_, server string) string { return call(server) }},
}

// probe answers the questions.
func probe(place, server string) {
	for _, q := range questions {
		self.Say("%s: %s", q.name, q.ask(place, server))
	}
}

func system() (i unix.Sysinfo_t) {
	unix.Sysinfo(&i)
	return i
}

// setClock sets the time to what it is. On the host that would be allowed to root, and is not tried.
func setClock(place, _ string) string {
	if place == "host" {
		return "not tried"
	}
	var now unix.Timeval
	unix.Gettimeofday(&now)
	return outcome(unix.Settimeofday(&now))
}

// listen makes a server on the host's loopback interface and tells its address.
func listen() (netip.AddrPort, error) {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return netip.AddrPort{}, err
	}
	if err := unix.Bind(s, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}}); err != nil {
		return netip.AddrPort{}, err
	}
	if err := unix.Listen(s, 8); err != nil {
		return netip.AddrPort{}, err
	}
	a, err := unix.Getsockname(s)
	if err != nil {
		return netip.AddrPort{}, err
	}
	return netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 0, 1}), uint16(a.(*unix.SockaddrInet4).Port)), nil
}

// call connects to a server of the host's. A virtual machine without a network card has nothing to connect by.
func call(server string) string {
	a, err := netip.ParseAddrPort(server)
	if err != nil {
		a = netip.MustParseAddrPort("127.0.0.1:80")
	}
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0)
	if err != nil {
		return outcome(err)
	}
	defer unix.Close(s)
	return outcome(unix.Connect(s, &unix.SockaddrInet4{Port: int(a.Port()), Addr: a.Addr().As4()}))
}

func outcome(err error) string {
	if err != nil {
		return err.Error()
	}
	return "done"
}
