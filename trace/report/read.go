// Package report reads the files that package trace writes, and shows what is in them: in numbers (Summary) and as a page (WriteHTML).
//
// A file is not trusted: it may be cut short, of another program, or made to do harm. What is read of it is bounded, event by event.
package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math"
	"time"
)

const (
	maxValue = 64 << 10 // bytes of an event, and of what stands beside the events
	maxText  = 200      // bytes of a name in an event
	maxTime  = 1e15     // microseconds: 30 years
)

// An event is one of the file's.
type event struct {
	Name     string `json:"name"`
	Category string `json:"cat"`
	Phase    string `json:"ph"`
	Thread   int    `json:"tid"`
	Begin    micros `json:"ts"`
	Took     micros `json:"dur"`
	Args     struct {
		Name   string  `json:"name"` // of a thread or process
		Stage  string  `json:"stage"`
		Reason string  `json:"reason"`
		Device string  `json:"device"`
		Dir    string  `json:"dir"`
		Addr   string  `json:"addr"`
		Data   string  `json:"data"`
		Offset string  `json:"offset"`
		Size   uint64  `json:"size"`
		Queue  *uint64 `json:"queue"`
		Vector *uint64 `json:"vector"`
		GSI    *uint64 `json:"gsi"`
		Status uint64  `json:"status"`
		Run    *micros `json:"run_us"`
	} `json:"args"`
}

// micros is a number of microseconds in the file.
type micros float64

func (m micros) duration() time.Duration { return time.Duration(math.Round(float64(m) * 1000)) }

// begin, took and end are times since the trace's zero.
func (e *event) begin() time.Duration { return e.Begin.duration() }
func (e *event) took() time.Duration  { return e.Took.duration() }
func (e *event) end() time.Duration   { return e.begin() + e.took() }

// Categories of events.
const (
	phaseEvent     = "phase"
	exitEvent      = "exit"
	doorbellEvent  = "doorbell"
	interruptEvent = "interrupt"
	requestEvent   = "request"
)

// check refuses what package trace does not write and later code does not expect.
func (e *event) check() error {
	for _, s := range []string{e.Name, e.Category, e.Phase, e.Args.Name, e.Args.Stage, e.Args.Reason, e.Args.Device, e.Args.Dir, e.Args.Addr, e.Args.Data, e.Args.Offset} {
		if len(s) > maxText {
			return fmt.Errorf("a text of %d bytes", len(s))
		}
	}
	times := []micros{e.Begin, e.Took}
	if e.Args.Run != nil {
		times = append(times, *e.Args.Run)
	}
	for i, t := range times {
		if math.Abs(float64(t)) > maxTime || i > 0 && t < 0 {
			return fmt.Errorf("a time of %g µs", float64(t))
		}
	}
	return nil
}

// limited lets no more through than maxValue bytes for each value, beside what the decoder had read before.
type limited struct {
	from io.Reader
	left int
}

var errLong = fmt.Errorf("an event is longer than %d bytes", maxValue)

func (l *limited) Read(p []byte) (int, error) {
	if l.left == 0 {
		return 0, errLong
	}
	n, err := l.from.Read(p[:min(len(p), l.left)])
	l.left -= n
	return n, err
}

// A reader reads a file from the beginning to its end.
type reader struct {
	limit limited
	d     *json.Decoder
	about map[string]string // what stands beside the events
	count int               // events so far
}

// read calls visit with each event in turn, valid during the call, and returns what else the file says about itself.
func read(from io.Reader, visit func(*event) error) (map[string]string, error) {
	r := &reader{limit: limited{from: from}, about: make(map[string]string)}
	r.d = json.NewDecoder(&r.limit)
	err := r.file(visit)
	switch {
	case errors.Is(err, io.EOF) && r.d.InputOffset() == 0:
		return nil, errors.New("the file is empty: a trace is written when the run has ended, and not if the monitor was killed")
	case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
		return nil, fmt.Errorf("the file ends early, after %d events: it was cut short, or the monitor could not write all of it", r.count)
	case errors.As(err, new(*fs.PathError)):
		return nil, err // of the host
	case errors.As(err, new(*json.UnmarshalTypeError)):
		return nil, fmt.Errorf("not a trace of govmm's: byte %d: %.*s", r.d.InputOffset(), maxText, err) // it has the whole number that did not fit
	case err != nil:
		return nil, fmt.Errorf("not a trace of govmm's: byte %d: %w", r.d.InputOffset(), err)
	}
	return r.about, nil
}

// expect takes a delimiter.
func (r *reader) expect(want json.Delim) error {
	r.limit.left = maxValue
	t, err := r.d.Token()
	if err != nil {
		return err
	}
	if t != want {
		return fmt.Errorf("%s where a %v should be", kind(t), want)
	}
	return nil
}

// kind says what a token is, without its text, which a terminal might obey.
func kind(t json.Token) string {
	switch t := t.(type) {
	case json.Delim:
		return "a " + t.String()
	case string:
		return "a text"
	case float64:
		return "a number"
	}
	return fmt.Sprint(t) // true, false, nil
}

// more reports whether a list or object goes on.
func (r *reader) more() bool {
	r.limit.left = maxValue
	return r.d.More()
}

// value takes a value.
func (r *reader) value(v any) error {
	r.limit.left = maxValue
	return r.d.Decode(v)
}

func (r *reader) file(visit func(*event) error) error {
	if err := r.expect('{'); err != nil {
		return err
	}
	found, about := false, false
	for r.more() {
		key, err := r.d.Token()
		if err != nil {
			return err
		}
		var ignored json.RawMessage
		switch key {
		case "traceEvents":
			found = true
			err = r.events(visit)
		case "otherData":
			if about {
				return errors.New("there is otherData twice") // each would add to what is kept
			}
			about = true
			err = r.value(&r.about)
		default:
			err = r.value(&ignored)
		}
		if err != nil {
			return err
		}
	}
	if err := r.expect('}'); err != nil {
		return err
	}
	if !found {
		return errors.New("there is no traceEvents")
	}
	return nil
}

func (r *reader) events(visit func(*event) error) error {
	if err := r.expect('['); err != nil {
		return err
	}
	var e event
	for r.more() {
		e = event{}
		if err := r.value(&e); err != nil {
			return err
		}
		r.count++
		if err := e.check(); err != nil {
			return fmt.Errorf("event %d: %w", r.count, err)
		}
		if err := visit(&e); err != nil {
			return err
		}
	}
	return r.expect(']')
}
