package gdbstub

import (
	"bytes"
	"encoding/hex"
	"fmt"
	"strings"
)

// supported is what the peer is told of what there is (gdb's manual, E.4 "qSupported").
const supported = "QStartNoAckMode+;qXfer:features:read+;qXfer:threads:read+;swbreak+;hwbreak+;vContSupported+"

// query carries out a packet that asks or sets something general.
func (s *session) query(packet []byte) error {
	name, rest, _ := bytes.Cut(packet, []byte(":"))
	switch string(name) {
	case "qSupported":
		return s.reply("PacketSize=%x;%s", maxPacket, supported)
	case "QStartNoAckMode":
		// The acknowledgement of this packet was the last.
		if err := s.reply("OK"); err != nil {
			return err
		}
		s.noAck = true
		return nil
	case "qXfer":
		return s.transfer(rest)
	case "qC":
		return s.reply("QC%x", s.general+1)
	case "qAttached":
		return s.reply("1") // it was there before the debugger, and stays when that goes
	case "qfThreadInfo":
		var ids []string
		for cpu := range s.target.CPUs() {
			ids = append(ids, fmt.Sprintf("%x", cpu+1))
		}
		return s.reply("m%s", strings.Join(ids, ","))
	case "qsThreadInfo":
		return s.reply("l")
	}
	if id, ok := bytes.CutPrefix(packet, []byte("qThreadExtraInfo,")); ok {
		cpu, err := s.thread(id)
		if err != nil {
			return s.answer(err)
		}
		return s.reply("%x", s.target.Describe(cpu))
	}
	if text, ok := bytes.CutPrefix(packet, []byte("qRcmd,")); ok {
		return s.monitor(text)
	}
	return s.reply("")
}

// monitor passes on what was typed behind "monitor". Its text goes in packets of their own, as far as they must be several.
func (s *session) monitor(text []byte) error {
	command := make([]byte, hex.DecodedLen(len(text)))
	if _, err := hex.Decode(command, text); err != nil {
		return s.answer(EINVAL)
	}
	says := s.target.Monitor(s.general, string(command))
	for len(says) > 0 {
		n := min(len(says), maxData)
		if err := s.reply("O%x", says[:n]); err != nil {
			return err
		}
		says = says[n:]
	}
	return s.answer(nil)
}

// transfer carries out "qXfer:OBJECT:read:ANNEX:OFFSET,LENGTH".
func (s *session) transfer(text []byte) error {
	parts := strings.SplitN(string(text), ":", 4)
	if len(parts) != 4 || parts[1] != "read" {
		return s.reply("")
	}
	var whole string
	switch {
	case parts[0] == "features" && parts[2] == "target.xml":
		whole = description()
	case parts[0] == "threads" && parts[2] == "":
		whole = s.threads()
	case parts[0] == "features" || parts[0] == "threads":
		return s.reply("E00") // there is no such annex
	default:
		return s.reply("")
	}
	offset, n, ok := area([]byte(parts[3]))
	if !ok || offset > uint64(len(whole)) {
		return s.answer(EINVAL)
	}
	part := whole[offset:]
	more := byte('l')
	if n = min(n, maxData); uint64(len(part)) > n {
		part, more = part[:n], 'm'
	}
	return s.send(escape([]byte{more}, []byte(part)))
}

// threads is the list of threads (gdb's manual, E.17 "Thread List Format").
func (s *session) threads() string {
	var b strings.Builder
	b.WriteString(`<?xml version="1.0"?><threads>`)
	for cpu := range s.target.CPUs() {
		fmt.Fprintf(&b, `<thread id="%x" core="%d" name="vCPU %d">%s</thread>`, cpu+1, cpu, cpu, s.target.Describe(cpu))
	}
	b.WriteString("</threads>")
	return b.String()
}
