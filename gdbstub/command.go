package gdbstub

import (
	"bytes"
	"context"
	"encoding/hex"
)

// command carries out a packet. What is not known is answered by an empty packet, as the protocol has it.
func (s *session) command(ctx context.Context, packet []byte) error {
	if len(packet) == 0 {
		return s.reply("")
	}
	rest := packet[1:]
	switch packet[0] {
	case '?':
		return s.reply("%s", s.stopReply())
	case 'g':
		return s.readRegisters()
	case 'G':
		return s.writeRegisters(rest)
	case 'p':
		return s.readRegister(rest)
	case 'P':
		return s.writeRegister(rest)
	case 'm':
		return s.readMemory(rest)
	case 'M':
		return s.writeMemory(rest, func(b []byte) ([]byte, bool) {
			out := make([]byte, hex.DecodedLen(len(b)))
			_, err := hex.Decode(out, b)
			return out, err == nil
		})
	case 'X':
		return s.writeMemory(rest, unescape)
	case 'Z', 'z':
		return s.breakpoint(packet[0] == 'Z', rest)
	case 'H':
		return s.choose(rest)
	case 'T':
		_, err := s.thread(rest)
		return s.answer(err)
	case 'c', 'C', 's', 'S':
		return s.goOn(ctx, packet[0], rest)
	case 'v':
		return s.verbose(ctx, packet)
	case 'q', 'Q':
		return s.query(packet)
	case 'D':
		if err := s.reply("OK"); err != nil {
			return err
		}
		return errDetached
	case 'k':
		s.target.Kill()
		return errKilled
	}
	return s.reply("")
}

// verbose carries out a packet with a name.
func (s *session) verbose(ctx context.Context, packet []byte) error {
	name, rest, _ := bytes.Cut(packet, []byte(";"))
	switch string(name) {
	case "vCont?":
		return s.reply("vCont;c;C;s;S;r")
	case "vCont":
		return s.vCont(ctx, rest)
	case "vKill":
		if err := s.reply("OK"); err != nil {
			return err
		}
		s.target.Kill()
		return errKilled
	}
	return s.reply("")
}

// thread gives the processor of a thread's number; 0 is any of them.
func (s *session) thread(text []byte) (cpu int, err error) {
	n, ok := parseHex(text)
	switch {
	case !ok:
		return 0, EINVAL
	case n > uint64(s.target.CPUs()):
		return 0, ENOENT
	case n == 0:
		return s.general, nil
	}
	return int(n) - 1, nil
}

// choose carries out "Hg" and "Hc", which say for which processor packets are that do not say it themselves.
func (s *session) choose(rest []byte) error {
	if len(rest) < 2 {
		return s.answer(EINVAL)
	}
	op, id := rest[0], rest[1:]
	all := string(id) == "-1"
	if op == 'c' && (all || string(id) == "0") { // "any" is what gdb says before all go on
		s.goesOn = -1
		return s.answer(nil)
	}
	if all {
		return s.answer(EINVAL)
	}
	cpu, err := s.thread(id)
	switch {
	case err != nil:
		return s.answer(err)
	case op == 'g':
		s.general = cpu
	case op == 'c':
		s.goesOn = cpu
	default:
		return s.answer(EINVAL)
	}
	return s.answer(nil)
}

func (s *session) readRegisters() error {
	r, err := s.target.Registers(s.general)
	if err != nil {
		return s.answer(err)
	}
	return s.send(digits(r.encode()))
}

func (s *session) writeRegisters(text []byte) error {
	b, err := undigits(text)
	if err != nil {
		return s.answer(err)
	}
	r, err := decodeRegisters(b)
	if err != nil {
		return s.answer(err)
	}
	return s.answer(s.target.SetRegisters(s.general, r))
}

func (s *session) readRegister(text []byte) error {
	at, ok := layoutOf().find(text)
	if !ok {
		return s.answer(EINVAL)
	}
	r, err := s.target.Registers(s.general)
	if err != nil {
		return s.answer(err)
	}
	return s.send(digits(r.encode())[2*at.at:][:2*at.size])
}

func (s *session) writeRegister(text []byte) error {
	number, value, _ := bytes.Cut(text, []byte("="))
	at, ok := layoutOf().find(number)
	if !ok {
		return s.answer(EINVAL)
	}
	b, err := undigits(value)
	if err != nil || len(b) != at.size {
		return s.answer(EINVAL)
	}
	r, err := s.target.Registers(s.general)
	if err != nil {
		return s.answer(err)
	}
	all := r.encode()
	copy(all[at.at:], b)
	if r, err = decodeRegisters(all); err != nil {
		return s.answer(err)
	}
	return s.answer(s.target.SetRegisters(s.general, r))
}

// area parses "ADDRESS,LENGTH".
func area(text []byte) (addr, n uint64, ok bool) {
	a, l, _ := bytes.Cut(text, []byte(","))
	addr, ok1 := parseHex(a)
	n, ok2 := parseHex(l)
	return addr, n, ok1 && ok2
}

func (s *session) readMemory(text []byte) error {
	addr, n, ok := area(text)
	if !ok {
		return s.answer(EINVAL)
	}
	b := make([]byte, min(n, maxData)) // less than was asked for is allowed
	got, err := s.target.ReadMemory(s.general, addr, b)
	if err != nil && got == 0 && len(b) > 0 {
		return s.answer(err)
	}
	return s.send(hex.AppendEncode(nil, b[:got]))
}

func (s *session) writeMemory(text []byte, decode func([]byte) ([]byte, bool)) error {
	where, data, _ := bytes.Cut(text, []byte(":"))
	addr, n, ok := area(where)
	if !ok {
		return s.answer(EINVAL)
	}
	data, ok = decode(data)
	if !ok || uint64(len(data)) != n {
		return s.answer(EINVAL)
	}
	if n == 0 {
		return s.answer(nil) // which is how gdb asks whether there is "X"
	}
	return s.answer(s.target.WriteMemory(s.general, addr, data))
}

// breakpoint carries out "Z" and "z". Conditions behind ';' are gdb's to check: it was not told that they could be sent.
func (s *session) breakpoint(insert bool, text []byte) error {
	if len(text) < 2 || text[1] != ',' {
		return s.answer(EINVAL)
	}
	where, _, _ := bytes.Cut(text[2:], []byte(";"))
	addr, n, ok := area(where)
	if !ok {
		return s.answer(EINVAL)
	}
	b := Breakpoint{Kind: BreakKind(text[0] - '0'), Addr: addr, Size: 1}
	switch b.Kind {
	case Software, Hardware:
	case WatchWrite, WatchAccess:
		b.Size = n
	default:
		return s.reply("")
	}
	if insert {
		return s.answer(s.target.Insert(s.general, b))
	}
	return s.answer(s.target.Remove(s.general, b))
}
