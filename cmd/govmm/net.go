package main

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"govmm/devices/virtio"
	"govmm/devices/virtio/netif"
	"govmm/devices/virtio/netif/tap"
	"govmm/devices/virtio/netif/tapnet"
	"govmm/devices/virtio/netif/usernet"
)

// netSyntax is how a --net flag begins.
const netSyntax = "user, tap, tap=NAME or fd=N"

// network is one --net flag: a network interface of the guest's.
type network struct {
	kind     string // user, tap or fd
	name     string // of an existing tap
	fd       int
	mac      netif.MAC // zero: one is made
	queues   int       // pairs; 0: as many as are of use
	bridge   string
	mtu      uint16
	restrict bool
	forwards []usernet.Forward
}

func parseNetwork(text string) (network, error) {
	words := strings.Split(text, ",")
	kind, value, hasValue := strings.Cut(words[0], "=")
	n := network{kind: kind}
	switch {
	case kind == "user" && !hasValue, kind == "tap" && !hasValue:
	case kind == "tap" && value != "":
		n.name = value
	case kind == "fd" && hasValue:
		fd, err := strconv.Atoi(value)
		if err != nil || fd < 0 {
			return n, fmt.Errorf("net %s: %q is no descriptor; write it as fd=3", text, value)
		}
		n.fd = fd
	default:
		return n, fmt.Errorf("net %q is not known; it begins with %s", text, netSyntax)
	}
	seen := map[string]bool{}
	for _, word := range words[1:] {
		name, value, _ := strings.Cut(word, "=")
		if seen[name] && name != "hostfwd" {
			return n, fmt.Errorf("net %s: option %s is there twice; leave one out", text, name)
		}
		seen[name] = true
		if err := n.set(name, value); err != nil {
			return n, fmt.Errorf("net %s: %w", text, err)
		}
	}
	return n, nil
}

// netOptions are the options of each kind beside mac.
var netOptions = map[string][]string{"user": {"hostfwd", "mtu", "restrict"}, "tap": {"queues", "bridge"}, "fd": nil}

// set takes one option.
func (n *network) set(name, value string) (err error) {
	known := name == "mac"
	for _, o := range netOptions[n.kind] {
		known = known || o == name
	}
	switch {
	case !known:
		return fmt.Errorf("option %q is not known; there are mac=%s", name, strings.Join(append([]string{""}, netOptions[n.kind]...), ", "))
	case name == "mac":
		n.mac, err = netif.ParseMAC(value)
	case name == "hostfwd":
		var f usernet.Forward
		f, err = usernet.ParseForward(value)
		n.forwards = append(n.forwards, f)
	case name == "mtu":
		var v uint64
		v, err = strconv.ParseUint(value, 10, 16)
		if n.mtu = uint16(v); err != nil || v < usernet.MinMTU || v > usernet.MaxMTU {
			return fmt.Errorf("mtu=%s: give %d to %d", value, usernet.MinMTU, usernet.MaxMTU)
		}
	case name == "restrict" && value != "":
		return errors.New("restrict takes no value")
	case name == "restrict":
		n.restrict = true
	case name == "queues":
		if n.queues, err = strconv.Atoi(value); err != nil || n.queues < 1 || n.queues > netif.MaxPairs {
			return fmt.Errorf("queues=%s: give 1 to %d", value, netif.MaxPairs)
		}
	case name == "bridge" && (value == "" || n.name != ""):
		return errors.New("bridge=NAME puts a new tap onto a bridge: write tap,bridge=NAME")
	case name == "bridge":
		n.bridge = value
	}
	return err
}

// A backend is a network that is open.
type backend interface {
	netif.Backend
	Close() error
}

// open opens the network for a machine with that many vCPUs.
func (n *network) open(cpus int, log *slog.Logger) (_ backend, id string, err error) {
	pairs := max(1, n.queues)
	switch {
	case n.kind == "user":
		b, err := usernet.New(usernet.Config{MTU: n.mtu, Restrict: n.restrict, Forwards: n.forwards, Log: log})
		if err != nil {
			return nil, "", err
		}
		return b, "user", nil
	case n.kind == "fd":
		b, err := tap.FromFD(n.fd, tap.Config{Log: log})
		if err != nil {
			return nil, "", err
		}
		return b, b.Name(), nil
	case n.name != "":
		b, err := tap.Open(n.name, tap.Config{Pairs: pairs, Log: log})
		if err != nil {
			return nil, "", err
		}
		return b, n.name, nil
	}
	if n.queues == 0 {
		pairs = min(cpus, netif.MaxPairs)
	}
	b, err := tapnet.New(tapnet.Options{Bridge: n.bridge, Routed: n.bridge == "", Pairs: pairs, Log: log})
	if err != nil {
		return nil, "", err
	}
	if address, gateway := b.Guest(); address.IsValid() {
		fmt.Fprintf(logOutput(), "govmm: %s: the guest's address is %s, its gateway %s\n", b.Name(), address, gateway)
	}
	if n.bridge != "" {
		return b, b.Name(), nil // it goes with the tap
	}
	g, err := guardTap(b)
	if err != nil {
		return nil, "", err
	}
	return g, b.Name(), nil
}

// openNetworks makes the network devices of a machine with that many vCPUs. The caller closes what it gives, also together with an error.
func openNetworks(flags []string, cpus int, log *slog.Logger) (devs []virtio.Device, open []backend, err error) {
	for i, text := range flags {
		n, err := parseNetwork(text)
		if err != nil {
			return nil, open, err
		}
		b, id, err := n.open(cpus, log)
		if err != nil {
			return nil, open, err
		}
		open = append(open, b)
		if n.mac == (netif.MAC{}) {
			host, _ := os.Hostname() // without one there is the tap's name
			n.mac = netif.DeriveMAC(host+" "+id, i)
		}
		d, err := netif.New(netif.Config{Backend: b, MAC: n.mac, Pairs: b.Info().Pairs, Log: log})
		if err != nil {
			return nil, open, err
		}
		devs = append(devs, d)
	}
	return devs, open, nil
}
