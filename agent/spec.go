package agent

import (
	"errors"
	"strconv"
	"strings"
)

// Where the guest finds what it needs, in its root file system.
const (
	Dir      = ".govmm"
	InitPath = Dir + "/init" // this program
	SpecPath = Dir + "/spec" // a Spec, encoded
)

// ConsoleDevice is the virtio console in the guest.
const ConsoleDevice = "/dev/hvc0"

// A Spec is a command and what is around it.
type Spec struct {
	Args     []string // the command; one without a slash is looked for in PATH
	Env      []string // KEY=VALUE
	Dir      string   // working directory; it is made if it is not there. Empty: /
	User     string   // NAME|UID[:GROUP|GID]; empty: root
	Hostname string
	Terminal bool   // the command gets a terminal, by which its errors come as output
	Size     string // of the terminal, as FormatSize writes it; empty if that is not known
	Network  *Network
}

// A Network is addresses for eth0, as text: 10.0.2.15/24, 10.0.2.2. Without DNS the root file system's own resolv.conf counts.
type Network struct{ Address, Gateway, DNS string }

// FormatSize writes a terminal's size.
func FormatSize(cols, rows int) string { return strconv.Itoa(cols) + "x" + strconv.Itoa(rows) }

// ParseSize reads what FormatSize writes.
func ParseSize(text string) (cols, rows uint16, ok bool) {
	left, right, _ := strings.Cut(text, "x")
	c, errC := strconv.ParseUint(left, 10, 16)
	r, errR := strconv.ParseUint(right, 10, 16)
	return uint16(c), uint16(r), errC == nil && errR == nil
}

// field is one of a Spec's texts with the name by which it is encoded.
type field struct {
	name string
	text *string
}

func (s *Spec) fields() []field {
	return []field{{"dir", &s.Dir}, {"user", &s.User}, {"hostname", &s.Hostname}, {"size", &s.Size}}
}

func (n *Network) fields() []field {
	return []field{{"address", &n.Address}, {"gateway", &n.Gateway}, {"dns", &n.DNS}}
}

// Encode gives a Spec as the guest reads it: NAME=TEXT for each field that is not empty, Args and Env once for each of theirs, each ended by a zero byte,
// which no argument of a program can contain. Unlike with JSON, all other bytes stay what they are, and the guest's init needs no package that is larger than it.
func (s *Spec) Encode() ([]byte, error) {
	var e encoder
	for _, a := range s.Args {
		e.add("arg", a)
	}
	for _, v := range s.Env {
		e.add("env", v)
	}
	fields := s.fields()
	if s.Terminal {
		e.add("terminal", "yes")
	}
	if s.Network != nil {
		e.add("network", "yes")
		fields = append(fields, s.Network.fields()...)
	}
	for _, f := range fields {
		if *f.text != "" {
			e.add(f.name, *f.text)
		}
	}
	return e.out, e.err
}

type encoder struct {
	out []byte
	err error
}

func (e *encoder) add(name, text string) {
	if strings.IndexByte(text, 0) >= 0 {
		e.err = errors.New("a zero byte in " + name)
	}
	e.out = append(append(append(append(e.out, name...), '='), text...), 0)
}

// DecodeSpec is the reverse of Encode.
func DecodeSpec(text []byte) (*Spec, error) {
	s, n := new(Spec), new(Network)
	fields := append(s.fields(), n.fields()...)
	for rest := string(text); rest != ""; {
		line, more, ended := strings.Cut(rest, "\x00")
		name, value, ok := strings.Cut(line, "=")
		if !ok || !ended {
			return nil, errors.New("the specification is broken")
		}
		rest = more
		switch name {
		case "arg":
			s.Args = append(s.Args, value)
		case "env":
			s.Env = append(s.Env, value)
		case "terminal":
			s.Terminal = true
		case "network":
			s.Network = n
		default:
			if !set(fields, name, value) {
				return nil, errors.New("the specification has " + name + ", which is not known")
			}
		}
	}
	return s, nil
}

func set(fields []field, name, value string) bool {
	for _, f := range fields {
		if f.name == name {
			*f.text = value
			return true
		}
	}
	return false
}
