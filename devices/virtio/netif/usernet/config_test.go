package usernet

import (
	"net/netip"
	"strings"
	"testing"
)

func TestConfig(t *testing.T) {
	addr := netip.MustParseAddr
	for _, c := range []struct {
		cfg  Config
		says string // of the error
	}{
		{Config{}, ""},
		{Config{Network: netip.MustParsePrefix("192.168.1.77/24")}, ""},
		{Config{Network: netip.MustParsePrefix("10.0.0.0/30")}, "/8 to /28"},
		{Config{Network: netip.MustParsePrefix("fd00::/64")}, "IPv4 network"},
		{Config{Network: netip.MustParsePrefix("10.0.2.0/28")}, "guest address"}, // .15 is the broadcast address
		{Config{Network: netip.MustParsePrefix("10.0.2.0/28"), Guest: addr("10.0.2.14")}, ""},
		{Config{Gateway: addr("10.0.3.2")}, "gateway address 10.0.3.2"},
		{Config{DNS: addr("10.0.2.2")}, "three different"},
		{Config{Guest: addr("::1")}, "guest address ::1"},
		{Config{MTU: 575}, "MTU 575"},
		{Config{MTU: 65521}, "MTU 65521"},
		{Config{MTU: 576}, ""},
		{Config{Hostname: "a b"}, "host name"},
		{Config{Hostname: strings.Repeat("a", 64)}, "host name"},
		{Config{Forwards: []Forward{{HostPort: 1}}}, "guest port"},
		{Config{Forwards: []Forward{{GuestPort: 1, Guest: addr("10.0.3.1")}}}, "guest address in 10.0.2.0/24"},
	} {
		err := c.cfg.complete()
		if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "\n")) {
			t.Errorf("%+v: error %v, want one with %q", c.cfg, err, c.says)
		}
	}
}

// TestBudget holds that few get much, many something, and that all comes back.
func TestBudget(t *testing.T) {
	m := budget{left: tcpMemory}
	sum := 0
	var taken []int
	for range maxTCPFlows {
		n := m.take()
		if n < minBuffer || n > maxBuffer {
			t.Fatalf("%d bytes", n)
		}
		taken = append(taken, n)
		sum += n
	}
	if taken[0] != maxBuffer || sum > tcpMemory+maxTCPFlows*minBuffer {
		t.Errorf("the first has %d bytes, all %d", taken[0], sum)
	}
	for _, n := range taken {
		m.give(n)
	}
	if m.left != tcpMemory {
		t.Errorf("%d bytes of %d came back", m.left, tcpMemory)
	}
}
