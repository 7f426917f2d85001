package testhost

import (
	"errors"
	"fmt"
	"io"
	"time"

	"govmm/cmd/nested/wire"
)

// A session is one connection to the machine's init.
type session struct {
	cfg   *Config
	begin time.Time
	out   *wire.Writer
	in    *wire.Reader
	input *wire.Writer
}

// run starts the job when the machine is up and returns its exit status.
func (s *session) run() (int, error) {
	if err := s.start(); err != nil {
		return 0, err
	}
	over := make(chan struct{})
	defer close(over)
	go s.sendInput()
	go s.sendEvents(over)
	for {
		kind, payload, err := s.in.ReadFrame()
		if err != nil {
			return 0, err
		}
		switch kind {
		case wire.Stdout:
			_, err = s.cfg.Stdout.Write(payload)
		case wire.Stderr:
			_, err = s.cfg.Stderr.Write(payload)
		case wire.Exit:
			if len(payload) != 1 {
				return 0, fmt.Errorf("exit frame of %d bytes", len(payload))
			}
			return int(payload[0]), nil
		case wire.Fail:
			return 0, failure(payload)
		default:
			return 0, fmt.Errorf("unexpected frame of kind %d", kind)
		}
		if err != nil {
			return 0, err
		}
	}
}

// start waits for the machine and hands it the job.
func (s *session) start() error {
	kind, payload, err := s.in.ReadFrame()
	switch {
	case err != nil:
		return err
	case kind == wire.Fail:
		return failure(payload)
	case kind != wire.Hello:
		return fmt.Errorf("init began with a frame of kind %d", kind)
	}
	s.cfg.Log.Debug("test host is up", "after", time.Since(s.begin))
	job, err := wire.EncodeJob(s.cfg.Job)
	if err != nil {
		return err
	}
	if s.cfg.Started != nil {
		s.cfg.Started()
	}
	return s.out.WriteFrame(wire.Start, job)
}

func failure(payload []byte) error {
	return errors.New("the test host's init: " + string(payload))
}

// sendInput sends the standard input until it ends. It may outlive the session,
// for as long as nothing can be read.
func (s *session) sendInput() {
	// A failure is the machine's end, of which the session learns in its own way;
	// input that cannot be read is like none.
	if s.cfg.Stdin != nil {
		_, _ = io.Copy(s.input.Stream(wire.Stdin), s.cfg.Stdin)
	}
	_ = s.input.WriteFrame(wire.Stdin, nil)
}

// sendEvents passes on signals and new terminal sizes.
func (s *session) sendEvents(over <-chan struct{}) {
	for {
		var err error
		select {
		case <-over:
			return
		case size := <-s.cfg.Resizes:
			err = s.out.WriteFrame(wire.Resize, size.Bytes())
		case sig := <-s.cfg.Signals:
			err = s.out.WriteFrame(wire.Signal, []byte{byte(sig)})
		}
		if err != nil {
			return
		}
	}
}
