package tap

import (
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"govmm/devices/virtio/netif/tap/nettest"
)

// persistent makes a tap that stays, as "ip tuntap add" does.
func persistent(t *testing.T, name string, flags uint16) {
	t.Helper()
	_, fd, err := openQueue(name, flags)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	if err := unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 1); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, fd, err := openQueue(name, flags); err == nil {
			unix.IoctlSetInt(fd, unix.TUNSETPERSIST, 0)
			unix.Close(fd)
		}
	})
}

func TestOpen(t *testing.T) {
	persistent(t, "one", unix.IFF_TAP|unix.IFF_NO_PI)
	persistent(t, "many", baseFlags|unix.IFF_MULTI_QUEUE)
	persistent(t, "tun", unix.IFF_TUN|unix.IFF_NO_PI)
	nettest.SetMTU(t, "one", 1400)
	for name, pairs := range map[string]int{"one": 1, "many": 4} {
		for pairs := range pairs + 1 {
			tap, err := Open(name, Config{Pairs: pairs})
			if err != nil {
				t.Errorf("%s, %d pairs: %v", name, pairs, err)
				continue
			}
			if tap.Name() != name || tap.Info().Pairs != max(pairs, 1) {
				t.Errorf("%s has %+v", tap.Name(), tap.Info())
			}
			want := uint16(1500)
			if name == "one" {
				want = 1400
			}
			if got := tap.Info().MTU; got != want {
				t.Errorf("%s: MTU %d", name, got)
			}
			if name == "one" {
				if _, err := Open(name, Config{}); err == nil || !strings.Contains(err.Error(), "another program uses it") {
					t.Errorf("second Open: %v", err)
				}
			}
			if err := tap.Close(); err != nil {
				t.Error(err)
			}
		}
	}
	for _, test := range []struct {
		name  string
		pairs int
		want  string
	}{
		{"missing", 1, "ip tuntap add dev missing mode tap user $USER; ip link set missing up"},
		{"missing", 2, "user $USER multi_queue;"},
		{"one", 2, "made without multi_queue"},
		{"lo", 1, "it is no tap"},
		{"tun", 1, "it is no tap"},
		{"", 1, "1 to 15 characters"},
		{"a-name-that-is-too-long", 1, "1 to 15 characters"},
		{"one", 33, "at most 32"},
		{"one", -1, "at most 32"},
	} {
		if tap, err := Open(test.name, Config{Pairs: test.pairs}); err == nil {
			tap.Close()
			t.Errorf("%q, %d pairs: no error", test.name, test.pairs)
		} else if !strings.Contains(err.Error(), test.want) || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q, %d pairs: %v", test.name, test.pairs, err)
		}
	}
}

func TestCreate(t *testing.T) {
	a, b := create(t, Config{}), create(t, Config{})
	if a.Name() == b.Name() {
		t.Errorf("two taps are %s", a.Name())
	}
	if tap, err := Create(a.Name(), Config{}); err == nil {
		tap.Close()
		t.Error("the same name again")
	}
	name := a.Name()
	a.Close()
	if _, err := os.Stat("/proc/sys/net/ipv4/conf/" + name); err == nil {
		t.Errorf("%s is there after Close", name)
	}
}

func TestFromFD(t *testing.T) {
	open := func(flags uint16) int {
		_, fd, err := openQueue("fd%d", flags)
		if err != nil {
			t.Fatal(err)
		}
		return fd
	}
	tap, err := FromFD(open(baseFlags), Config{})
	if err != nil {
		t.Fatal(err)
	}
	nettest.Up(t, tap.Name())
	host := nettest.NewHost(t, tap.Name())
	tap.Pair(0).Send(withHeader(nettest.Frame(1, 60), 100))
	host.Receive()
	host.Send(nettest.Frame(2, 60))
	receive(t, tap.Pair(0))
	if err := tap.Close(); err != nil {
		t.Error(err)
	}
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer w.Close()
	loose, err := unix.Open(device, unix.O_RDWR|unix.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(loose)
	for name, test := range map[string]struct {
		fd   int
		cfg  Config
		want string
	}{
		"no descriptor":     {12345, Config{}, "not attached to a tap"},
		"a pipe":            {int(r.Fd()), Config{}, "not attached to a tap"},
		"no interface":      {loose, Config{}, "not attached to a tap"},
		"a tun":             {open(unix.IFF_TUN | unix.IFF_NO_PI), Config{}, "is a tun"},
		"without a header":  {open(unix.IFF_TAP | unix.IFF_NO_PI), Config{}, "IFF_VNET_HDR"},
		"not several pairs": {open(baseFlags), Config{Pairs: 2}, "one queue"},
	} {
		if tap, err := FromFD(test.fd, test.cfg); err == nil {
			tap.Close()
			t.Errorf("%s: no error", name)
		} else if !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v", name, err)
		}
	}
}
