package testhost

import (
	"bytes"
	"errors"
	"io"
	"log/slog"
	"strings"
	"syscall"
	"testing"

	"govmm/cmd/nested/wire"
)

// A fakeInit is the other end of a session.
type fakeInit struct {
	out   *wire.Writer
	in    *wire.Reader
	input *wire.Reader
	close func()
}

// runSession runs a session of cfg against the given init.
func runSession(t *testing.T, cfg *Config, init func(*fakeInit)) (int, error) {
	t.Helper()
	cfg.Log = slog.New(slog.DiscardHandler)
	control, controlPeer, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	input, inputPeer, err := socketPair()
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		init(&fakeInit{
			out:   wire.NewWriter(controlPeer),
			in:    wire.NewReader(controlPeer),
			input: wire.NewReader(inputPeer),
			close: func() { _ = controlPeer.Close() },
		})
	}()
	s := &session{cfg: cfg, out: wire.NewWriter(control), in: wire.NewReader(control), input: wire.NewWriter(input)}
	status, err := s.run()
	<-done
	for _, f := range []io.Closer{control, controlPeer, input, inputPeer} {
		_ = f.Close()
	}
	return status, err
}

// expect reads a frame and fails the test unless it is of the given kind.
func (f *fakeInit) expect(t *testing.T, r *wire.Reader, want wire.Kind) []byte {
	kind, payload, err := r.ReadFrame()
	if err != nil || kind != want {
		t.Errorf("frame of kind %d, %v; want kind %d", kind, err, want)
	}
	return payload
}

func (f *fakeInit) send(t *testing.T, kind wire.Kind, payload string) {
	if err := f.out.WriteFrame(kind, []byte(payload)); err != nil {
		t.Error(err)
	}
}

func TestSession(t *testing.T) {
	var stdout, stderr bytes.Buffer
	signals := make(chan syscall.Signal, 1)
	signals <- syscall.SIGQUIT
	cfg := &Config{
		Job:     wire.Job{Args: []string{"cmd"}, Dir: "/d"},
		Stdin:   strings.NewReader("typed"),
		Stdout:  &stdout,
		Stderr:  &stderr,
		Signals: signals,
	}
	status, err := runSession(t, cfg, func(init *fakeInit) {
		init.send(t, wire.Hello, "")
		job, err := wire.DecodeJob(init.expect(t, init.in, wire.Start))
		if err != nil || job.Dir != "/d" {
			t.Errorf("job %+v, %v", job, err)
		}
		if got := init.expect(t, init.input, wire.Stdin); string(got) != "typed" {
			t.Errorf("input %q", got)
		}
		if got := init.expect(t, init.input, wire.Stdin); len(got) != 0 {
			t.Errorf("input %q, want its end", got)
		}
		if got := init.expect(t, init.in, wire.Signal); !bytes.Equal(got, []byte{byte(syscall.SIGQUIT)}) {
			t.Errorf("signal %v", got)
		}
		init.send(t, wire.Stdout, "one ")
		init.send(t, wire.Stderr, "other\n")
		init.send(t, wire.Stdout, "two\n")
		init.send(t, wire.Exit, "\xfe")
	})
	if status != 254 || err != nil {
		t.Errorf("status %d, %v", status, err)
	}
	if stdout.String() != "one two\n" || stderr.String() != "other\n" {
		t.Errorf("stdout %q, stderr %q", &stdout, &stderr)
	}
}

func TestSessionFailures(t *testing.T) {
	for name, test := range map[string]struct {
		init func(*fakeInit)
		want string
	}{
		"dies at once":     {func(i *fakeInit) { i.close() }, "EOF"},
		"fails before":     {func(i *fakeInit) { i.send(t, wire.Fail, "no 9p") }, "no 9p"},
		"wrong first word": {func(i *fakeInit) { i.send(t, wire.Stdout, "") }, "began with a frame of kind"},
		"fails after": {func(i *fakeInit) {
			i.send(t, wire.Hello, "")
			i.expect(t, i.in, wire.Start)
			i.send(t, wire.Fail, "no such directory")
		}, "no such directory"},
		"exit of no status": {func(i *fakeInit) {
			i.send(t, wire.Hello, "")
			i.expect(t, i.in, wire.Start)
			i.send(t, wire.Exit, "")
		}, "exit frame of 0 bytes"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := runSession(t, &Config{}, test.init)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("%v, want %q", err, test.want)
			}
		})
	}
}

func TestKernelLog(t *testing.T) {
	var also bytes.Buffer
	l := &kernelLog{also: &also}
	for range 3 {
		if _, err := l.Write(bytes.Repeat([]byte("x"), maxLog-1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := l.Write([]byte("end")); err != nil {
		t.Fatal(err)
	}
	got := l.Bytes()
	if len(got) != maxLog || !bytes.HasSuffix(got, []byte("xend")) {
		t.Errorf("%d bytes kept, want the last %d", len(got), maxLog)
	}
	if also.Len() != 3*(maxLog-1)+3 {
		t.Errorf("%d bytes passed on", also.Len())
	}
}

func TestErrorUnwraps(t *testing.T) {
	cause := errors.New("cause")
	if err := error(&Error{Err: cause}); !errors.Is(err, cause) || err.Error() != "cause" {
		t.Errorf("%v does not lead to its cause", err)
	}
}
