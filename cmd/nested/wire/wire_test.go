package wire

import (
	"bytes"
	"errors"
	"io"
	"reflect"
	"strings"
	"testing"
)

func TestFrames(t *testing.T) {
	var b bytes.Buffer
	w := NewWriter(&b)
	type frame struct {
		kind    Kind
		payload []byte
	}
	frames := []frame{
		{Hello, []byte{}},
		{Stdout, []byte("out\x00\xff\r\n")},
		{Stdin, []byte{}},
		{Exit, []byte{200}},
	}
	for _, f := range frames {
		if err := w.WriteFrame(f.kind, f.payload); err != nil {
			t.Fatal(err)
		}
	}
	r := NewReader(&b)
	for _, want := range frames {
		kind, payload, err := r.ReadFrame()
		if err != nil || kind != want.kind || !bytes.Equal(payload, want.payload) {
			t.Fatalf("got kind %d, %q, %v; want kind %d, %q", kind, payload, err, want.kind, want.payload)
		}
	}
	if _, _, err := r.ReadFrame(); err != io.EOF {
		t.Errorf("after the last frame: %v, want EOF", err)
	}
}

func TestReadFrameErrors(t *testing.T) {
	for name, test := range map[string]struct {
		in   string
		want string
	}{
		"half a header":  {"\x01\x00", io.ErrUnexpectedEOF.Error()},
		"no payload":     {"\x04\x03\x00\x00\x00", io.ErrUnexpectedEOF.Error()},
		"half a payload": {"\x04\x03\x00\x00\x00ab", io.ErrUnexpectedEOF.Error()},
		"kind zero":      {"\x00\x00\x00\x00\x00", "unknown kind 0"},
		"kind unknown":   {"\x80\x00\x00\x00\x00", "unknown kind 128"},
		"too long":       {"\x04\xff\xff\xff\xff", "the limit is"},
	} {
		_, _, err := NewReader(strings.NewReader(test.in)).ReadFrame()
		if err == nil || !strings.Contains(err.Error(), test.want) {
			t.Errorf("%s: %v, want %q", name, err, test.want)
		}
	}
}

func TestWriteFrameTooLong(t *testing.T) {
	var b bytes.Buffer
	if err := NewWriter(&b).WriteFrame(Stdout, make([]byte, MaxPayload+1)); err == nil || b.Len() > 0 {
		t.Errorf("%v, and %d bytes written", err, b.Len())
	}
}

func TestStreamSplits(t *testing.T) {
	var b bytes.Buffer
	data := bytes.Repeat([]byte("0123456789abcdef"), MaxPayload/16+1)
	n, err := NewWriter(&b).Stream(Stderr).Write(data)
	if n != len(data) || err != nil {
		t.Fatal(n, err)
	}
	r := NewReader(&b)
	var got []byte
	for range 2 {
		kind, payload, err := r.ReadFrame()
		if kind != Stderr || err != nil {
			t.Fatal(kind, err)
		}
		got = append(got, payload...)
	}
	if !bytes.Equal(got, data) {
		t.Error("the two frames do not add up to what was written")
	}
}

func TestStreamError(t *testing.T) {
	want := errors.New("full")
	if n, err := NewWriter(failing{want}).Stream(Stdout).Write([]byte("x")); n != 0 || err != want {
		t.Errorf("%d, %v", n, err)
	}
}

type failing struct{ err error }

func (f failing) Write([]byte) (int, error) { return 0, f.err }

func TestJob(t *testing.T) {
	job := Job{
		Args:     []string{"printf", "%s", "\xff\xfe", ""},
		Env:      []string{"A=\x80"},
		Dir:      "/a b",
		Terminal: &Size{Rows: 24, Cols: 300},
		Shares:   []string{"/x,y"},
	}
	data, err := EncodeJob(job)
	if err != nil {
		t.Fatal(err)
	}
	got, err := DecodeJob(data)
	if err != nil || !reflect.DeepEqual(got, job) {
		t.Errorf("%+v, %v; want %+v", got, err, job)
	}
	if _, err := DecodeJob(data[:len(data)/2]); err == nil {
		t.Error("half a job was decoded")
	}
}

func TestSize(t *testing.T) {
	want := Size{Rows: 1000, Cols: 2}
	if got, err := ParseSize(want.Bytes()); got != want || err != nil {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := ParseSize([]byte{1, 2, 3}); err == nil {
		t.Error("three bytes were a size")
	}
}

func FuzzReadFrame(f *testing.F) {
	f.Add([]byte("\x01\x00\x00\x00\x00\x04\x02\x00\x00\x00hi"))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bytes.NewReader(data)
		var again bytes.Buffer
		r, w := NewReader(in), NewWriter(&again)
		for {
			kind, payload, err := r.ReadFrame()
			if err != nil {
				break
			}
			if err := w.WriteFrame(kind, payload); err != nil {
				t.Fatal(err)
			}
		}
		if !bytes.HasPrefix(data, again.Bytes()) {
			t.Errorf("frames read from %x are written as %x", data, again.Bytes())
		}
	})
}
