package gdbstub

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
)

// Bounds of what a peer may send.
const (
	// maxPacket is the most bytes between '$' and '#'; gdb is told.
	maxPacket = 0x4000
	// maxData is how many bytes of data a packet of ours has at most, in digits of two each with something around them.
	maxData = maxPacket/2 - 16
	// maxJunk is the most bytes between packets that are none of the protocol's.
	maxJunk = 1024
	// maxFaults is how many packets with a wrong sum, or refusals of ours, may come in a row.
	maxFaults = 10
)

// input is what comes from the peer.
type input struct {
	kind   inputKind
	packet []byte // of a packet: the bytes between '$' and '#'
}

type inputKind int

const (
	packetIn  inputKind = iota
	brokenIn            // a packet with a wrong sum
	nackIn              // '-': the peer did not get what was sent last
	interrupt           // 0x03
)

var (
	errTooLong = fmt.Errorf("a packet of more than %d bytes", maxPacket)
	errJunk    = errors.New("bytes that are no packets")
)

// begins waits for the first byte and fails if it is none of the protocol's. Web browsers are what it is for: any page can have one send packets
// to a port of 127.0.0.1, as a request's body, and junk before the first packet would be passed over.
func begins(r *bufio.Reader) error {
	b, err := r.Peek(1)
	if err == nil && bytes.IndexByte([]byte("+-$\x03"), b[0]) < 0 {
		return errJunk
	}
	return err
}

// readInput reads up to the next input. Acknowledgements are passed over. An error ends the connection.
func readInput(r *bufio.Reader) (input, error) {
	for junk := 0; ; {
		b, err := r.ReadByte()
		if err != nil {
			return input{}, err
		}
		switch b {
		case '+':
		case '-':
			return input{kind: nackIn}, nil
		case 0x03:
			return input{kind: interrupt}, nil
		case '$':
			return readPacket(r)
		default:
			if junk++; junk > maxJunk {
				return input{}, errJunk
			}
		}
	}
}

// readPacket reads a packet behind its '$'. A '$' within it begins another one: the end of the first was lost.
func readPacket(r *bufio.Reader) (input, error) {
	packet := make([]byte, 0, 64)
	var sum byte
	for {
		b, err := r.ReadByte()
		if err != nil {
			return input{}, unexpected(err)
		}
		if b == '#' {
			break
		}
		if b == '$' {
			packet, sum = packet[:0], 0
			continue
		}
		if len(packet) == maxPacket {
			return input{}, errTooLong
		}
		packet = append(packet, b)
		sum += b
	}
	var digits [2]byte
	if _, err := io.ReadFull(r, digits[:]); err != nil {
		return input{}, unexpected(err)
	}
	if got, ok := parseHex(digits[:]); !ok || byte(got) != sum {
		return input{kind: brokenIn}, nil
	}
	return input{packetIn, packet}, nil
}

// unexpected is the end of a connection within a packet.
func unexpected(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}

const hexDigits = "0123456789abcdef"

// appendPacket appends a packet with payload, which has been escaped.
func appendPacket(b, payload []byte) []byte {
	var sum byte
	for _, c := range payload {
		sum += c
	}
	b = append(b, '$')
	b = append(b, payload...)
	return append(b, '#', hexDigits[sum>>4], hexDigits[sum&15])
}

// escape makes binary data fit into a packet.
func escape(b, data []byte) []byte {
	for _, c := range data {
		if c == '#' || c == '$' || c == '}' || c == '*' {
			b = append(b, '}', c^0x20)
		} else {
			b = append(b, c)
		}
	}
	return b
}

// unescape undoes escape, in place.
func unescape(data []byte) ([]byte, bool) {
	out := data[:0]
	for i := 0; i < len(data); i++ {
		c := data[i]
		if c == '}' {
			if i++; i == len(data) {
				return nil, false
			}
			c = data[i] ^ 0x20
		}
		out = append(out, c)
	}
	return out, true
}

// parseHex takes 1 to 16 digits.
func parseHex(s []byte) (v uint64, ok bool) {
	if len(s) == 0 || len(s) > 16 {
		return 0, false
	}
	for _, c := range s {
		d, ok := hexDigit(c)
		if !ok {
			return 0, false
		}
		v = v<<4 | uint64(d)
	}
	return v, true
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	}
	return 0, false
}
