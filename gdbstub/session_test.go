package gdbstub

import (
	"encoding/hex"
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
)

// TestTranscript is a short session, byte for byte.
func TestTranscript(t *testing.T) {
	f := newFake()
	p := connect(t, f)
	for _, s := range []string{
		"> +$?#3f", "< +$T02thread:1;#d4",
		"> +$QStartNoAckMode#b0", "< +$OK#9a",
		"> +$m1000,4#8e", "< $00010203#86",
		"> $Z0,1000,1#d4", "< $OK#9a",
		"> $D#44", "< $OK#9a",
	} {
		if text, ok := strings.CutPrefix(s, "> "); ok {
			p.write(text)
		} else {
			p.read(s[2:])
		}
	}
	if err := p.end(); err != nil || f.detached != 1 || f.paused != 1 || len(f.breaks) != 0 {
		t.Errorf("%v, %+v", err, f)
	}
}

func TestQueries(t *testing.T) {
	p := connect(t, newFake())
	p.want("qC", "QC1")
	p.want("qSupported:multiprocess+;swbreak+;xmlRegisters=i386", "PacketSize=4000;"+supported)
	for packet, want := range map[string]string{
		"vMustReplyEmpty": "", "!": "", "vRun;x": "", "qSymbol::": "", "": "",
		"qAttached": "1", "qfThreadInfo": "m1,2", "qsThreadInfo": "l",
		"qThreadExtraInfo,2": hex.EncodeToString([]byte("idle 1")), "qThreadExtraInfo,3": "E02",
		"T1": "OK", "T2": "OK", "T3": "E02", "Tx": "E16",
		"Hg0": "OK", "Hg2": "OK", "Hc-1": "OK", "Hg-1": "E16", "Hx1": "E16", "H": "E16",
		"vCont?":                          "vCont;c;C;s;S;r",
		"qXfer:features:read:no.xml:0,10": "E00", "qXfer:auxv:read::0,10": "", "qXfer:features:write:target.xml:0:x": "",
		"qXfer:features:read:target.xml:ffffff,10": "E16",
	} {
		p.want(packet, want)
	}
}

// TestDescription reads the description in pieces, as gdb does, and holds that it is XML with the registers of packets.
func TestDescription(t *testing.T) {
	p := connect(t, newFake())
	var text strings.Builder
	for more := true; more; {
		part := p.ask(fmt.Sprintf("qXfer:features:read:target.xml:%x,100", text.Len()))
		more = part[0] == 'm'
		text.WriteString(part[1:])
	}
	var target struct {
		Architecture string `xml:"architecture"`
		Features     []struct {
			Name string `xml:"name,attr"`
			Regs []struct {
				Name string `xml:"name,attr"`
				Bits int    `xml:"bitsize,attr"`
			} `xml:"reg"`
		} `xml:"feature"`
	}
	if err := xml.Unmarshal([]byte(text.String()), &target); err != nil || target.Architecture != "i386:x86-64" {
		t.Fatalf("%v: %s", err, text.String())
	}
	bytes, names := 0, map[string]int{}
	for _, f := range target.Features {
		for _, r := range f.Regs {
			names[r.Name] = bytes
			bytes += r.Bits / 8
		}
	}
	if n := len(new(Registers).encode()); bytes != n || len(layoutOf().spans) != len(names) {
		t.Errorf("%d bytes of %d registers are described, %d of %d are sent", bytes, len(names), n, len(layoutOf().spans))
	}
	r := Registers{RIP: 0x0102030405060708, FSBase: 0x1112, System: System{EFER: 0x2122}}
	b := r.encode()
	for name, want := range map[string]byte{"rip": 8, "fs_base": 0x12, "efer": 0x22} {
		if got := b[names[name]]; got != want {
			t.Errorf("%s begins with %#x, want %#x", name, got, want)
		}
	}
}

func TestRegisters(t *testing.T) {
	f := newFake()
	p := connect(t, f)
	p.want("p0", "7766554433221100")
	p.want("Hg2", "OK")
	p.want("p0", "7866554433221100")
	p.want("P0=0100000000000000", "OK")
	p.want("p38", "xxxxxxxx") // mxcsr
	p.want("P38=00000000", "OK")
	if f.regs[1].General[RAX] != 1 || f.regs[0].General[RAX] == 1 {
		t.Errorf("RAX %#x and %#x", f.regs[0].General[RAX], f.regs[1].General[RAX])
	}
	all := p.ask("g")
	if len(all) != 2*len(f.regs[1].encode()) {
		t.Errorf("%d digits", len(all))
	}
	f.regs[1].General[RAX] = 0
	p.want("G"+all, "OK")
	if f.regs[1].General[RAX] != 1 {
		t.Error("not all registers were written")
	}
	for _, bad := range []string{"p", "pzz", "pfff", "P0", "P0=01", "P0=zz00000000000000", "Pfff=00", "G00", "G", "Gzz"} {
		p.want(bad, "E16")
	}
}

func TestMemory(t *testing.T) {
	f := newFake()
	p := connect(t, f)
	p.want("m1000,2", "0001")
	p.want("m103e,8", "3e3f") // as far as there is memory
	p.want("m5000,1", "E0e")
	p.want("m1000,0", "")
	p.want("M1000,2:aabb", "OK")
	p.want("X1002,3:}\x03}]\x00", "OK") // '#', '}' and zero
	p.want("X1000,0:", "OK")
	if got := hex.EncodeToString(f.memory[:6]); got != "aabb237d0005" {
		t.Errorf("memory is %s", got)
	}
	for _, bad := range []string{"m", "m1000", "mzz,1", "m1000,", "M1000,2:aa", "M1000,1:zz", "X1000,1:", "X1000,1:}", "m11112222333344445,1"} {
		p.want(bad, "E16")
	}
	p.want("M5000,1:aa", "E0e")
	if got := p.ask("m1000,ffffffffffffffff"); got == "" || got[0] == 'E' {
		t.Errorf("a read of more than there is: %q", got)
	}
}

func TestBreakpoints(t *testing.T) {
	f := newFake()
	p := connect(t, f)
	for packet, b := range map[string]Breakpoint{
		"0,1000,1": {Software, 0x1000, 1}, "1,1001,1": {Hardware, 0x1001, 1}, "2,1008,8": {WatchWrite, 0x1008, 8}, "4,1010,4": {WatchAccess, 0x1010, 4},
		"0,1000,1;X3,220027": {Software, 0x1000, 1},
	} {
		p.want("Z"+packet, "OK")
		if !f.breaks[b] || len(f.breaks) != 1 {
			t.Errorf("Z%s: %v", packet, f.breaks)
		}
		p.want("z"+packet, "OK")
		if len(f.breaks) != 0 {
			t.Errorf("z%s: %v", packet, f.breaks)
		}
	}
	p.want("Z3,1000,1", "") // there is no kind for reads alone
	p.want("Z9,1000,1", "")
	p.want("Z0,5000,1", "E0e")
	for _, bad := range []string{"Z", "Z0", "Z0,", "Z0,1000", "Z01000,1"} {
		p.want(bad, "E16")
	}
}

// TestMonitor has a text that takes several packets.
func TestMonitor(t *testing.T) {
	p := connect(t, newFake())
	command := strings.Repeat("x", 200)
	p.write(string(appendPacket(nil, []byte("qRcmd,"+hex.EncodeToString([]byte(command))))))
	var says strings.Builder
	packets := 0
	for {
		a := p.answer()
		if a == "OK" {
			break
		}
		text, err := hex.DecodeString(strings.TrimPrefix(a, "O"))
		if err != nil || len(a) > maxPacket {
			t.Fatalf("%d bytes, %v", len(a), err)
		}
		says.Write(text)
		packets++
	}
	if says.String() != strings.Repeat("0: "+command+"\n", 200) || packets < 2 {
		t.Errorf("%d bytes in %d packets", says.Len(), packets)
	}
	p.want("qRcmd,z", "E16")
}

// TestFraming holds what is sent again, what is passed over, and what ends a connection.
func TestFraming(t *testing.T) {
	p := connect(t, newFake())
	p.write("+junk$?#00") // a wrong sum
	p.read("-")
	p.write("$?#3f")
	p.read("+$T02thread:1;#d4")
	p.write("-")
	p.read("$T02thread:1;#d4")
	p.write("$qC$?#3f") // the end of the first was lost
	p.read("+$T02thread:1;#d4")
	p.write("\x03$?#3f") // it stands still already
	p.read("+$T02thread:1;#d4")

	for name, bytes := range map[string]string{
		"junk":        strings.Repeat("x", maxJunk+1),
		"too long":    "$" + strings.Repeat("x", maxPacket+1),
		"half":        "$m1000",
		"broken sums": strings.Repeat("$?#00", maxFaults+1),
		"nothing":     "",
	} {
		f := newFake()
		p := connect(t, f)
		go func() { _, _ = io.Copy(io.Discard, p.r) }()
		_, _ = p.conn.Write([]byte("$qC#b4" + bytes))
		if name == "half" || name == "nothing" {
			p.conn.Close()
		}
		if err := <-p.err; err == nil || f.detached != 1 {
			t.Errorf("%s: %v, detached %d times", name, err, f.detached)
		}
	}
}

// TestNoDebugger holds that a request of a web browser's is none of a debugger's, whatever a page has put into it.
func TestNoDebugger(t *testing.T) {
	f := newFake()
	p := connect(t, f)
	go func() { _, _ = io.Copy(io.Discard, p.r) }()
	packets := appendPacket(appendPacket(nil, []byte("M1000,1:ff")), []byte("D"))
	_, _ = p.conn.Write(append([]byte("POST / HTTP/1.1\r\nHost: 127.0.0.1:1234\r\n\r\n"), packets...))
	if err := <-p.err; !errors.Is(err, errJunk) || f.memory[0] == 0xff {
		t.Errorf("%v, memory %x", err, f.memory[:1])
	}
}

// TestSilent holds that one who connects and says nothing, such as a probe of the port, neither stops the machine nor lets it go.
func TestSilent(t *testing.T) {
	for _, says := range []string{"", "+", "$qSup", "x"} {
		f := newFake()
		p := connect(t, f)
		p.write(says)
		p.conn.Close()
		if err := <-p.err; err == nil || f.paused != 0 || f.detached != 0 {
			t.Errorf("%q: %v, paused %d times, let go %d times", says, err, f.paused, f.detached)
		}
	}
	f := newFake()
	p := connect(t, f)
	close(f.end)
	if err := p.end(); err != nil {
		t.Errorf("at the machine's end: %v", err)
	}
}

// TestDetachFails holds that it is told when the machine could not be left as it was.
func TestDetachFails(t *testing.T) {
	p := connect(t, undetachable{newFake()})
	p.want("D", "OK")
	if err := p.end(); !errors.Is(err, EIO) {
		t.Error(err)
	}
}

type undetachable struct{ *fake }

func (undetachable) Detach() error { return EIO }

func TestKill(t *testing.T) {
	for _, packet := range []string{"k", "vKill;1"} {
		f := newFake()
		p := connect(t, f)
		p.write(string(appendPacket(nil, []byte(packet))))
		go func() { _, _ = io.Copy(io.Discard, p.r) }()
		if err := <-p.err; err != nil || !f.killed {
			t.Errorf("%s: %v, %v", packet, err, f.killed)
		}
	}
}

func TestEndWhileStill(t *testing.T) {
	f := newFake()
	p := connect(t, f)
	p.want("qC", "QC1")
	close(f.end)
	if err := p.end(); err != nil {
		t.Error(err)
	}
}

func TestErrors(t *testing.T) {
	if number(errors.New("x")) != EIO || number(ENOSPC) != ENOSPC {
		t.Error("numbers of errors")
	}
	if (&EndError{Signal: 11}).Error() == (&EndError{}).Error() {
		t.Error("one end is told as another")
	}
}
