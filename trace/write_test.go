package trace

import (
	"bytes"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"
)

var update = flag.Bool("update", false, "write the golden files")

var sampleLabels = Labels{
	Title:     `1 vCPU, "64" MiB`,
	Devices:   []string{"no device", "serial", "virtio0 block"},
	Reason:    func(r uint8) string { return fmt.Sprintf("REASON_%d", r) },
	Operation: func(o uint8) string { return fmt.Sprintf("operation %d", o) },
	About:     []About{{"monitor", "a \\ test"}},
}

// sample records a little of everything.
func sample(t *testing.T, records int) (*Recorder, Labels) {
	t.Helper()
	start := time.Now()
	r := newRecorder(t, Config{CPUs: 2, Records: records, Start: start})
	us := time.Microsecond
	for i, e := range []Record{
		{Start: 20 * us, Duration: 1500, Direction: Out, Reason: 2, Device: 1, Addr: 0x3f8, Width: 1, Size: 1, Data: 'A'},
		{Start: 30 * us, Duration: 2 * us, Direction: In, Reason: 6, Device: 0, Addr: 0xffff_ffff_ffff_fff8, Size: 8, Data: 0xffff_ffff_ffff_ffff},
		{Start: 40 * us, Duration: 2 * us, Direction: Out, Reason: 2, Device: 1, Addr: 0x3f8, Width: 1, Size: 9, Data: 0x6867_6665_6463_6261},
		{Start: 50 * us, Duration: 1, Reason: 10},
	} {
		r.CPU(i % 2).Add(&e)
	}
	for _, e := range []Record{
		{Kind: Interrupt, Start: 21 * us, Device: 1, Queue: NoVector, Data: 4},
		{Kind: Doorbell, Start: 60 * us, Device: 2, Queue: 1},
		// They end in another order than they begin, and two of three overlap.
		{Kind: Request, Start: 62 * us, Duration: 3 * us, Device: 2, Queue: 1, Operation: 2, Addr: 512, Size: 4096},
		{Kind: Request, Start: 61 * us, Duration: 5 * us, Device: 2, Queue: 1, Operation: 1, Addr: 1 << 40, Size: 512, Status: 1},
		{Kind: Interrupt, Start: 66 * us, Device: 2, Queue: 2, Addr: 0xfee0_0000, Data: 0x22},
		{Kind: Request, Start: 66 * us, Duration: us, Device: 2, Operation: 3},
	} {
		r.Add(&e)
	}
	l := sampleLabels
	l.Phases = []Phase{{"process start", start}, {"first guest instruction", start.Add(19 * us)}, {"end", start.Add(70 * us)}}
	return r, l
}

// TestGolden compares a small trace with the file that it was when someone looked at it. go test ./trace -update writes it.
func TestGolden(t *testing.T) {
	var got bytes.Buffer
	r, l := sample(t, 16)
	if err := r.Write(&got, l); err != nil {
		t.Fatal(err)
	}
	const name = "testdata/small.json"
	if *update {
		if err := os.WriteFile(name, got.Bytes(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got.Bytes(), want) {
		t.Errorf("not as in %s; if it is to be so, run: go test ./trace -update\n%s", name, &got)
	}
	checkFormat(t, got.Bytes())
}

// TestLost holds that the file tells of what was overwritten.
func TestLost(t *testing.T) {
	var b bytes.Buffer
	r, l := sample(t, 1)
	if err := r.Write(&b, l); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`"lost exits":"2"`, `"lost events of devices":"5"`, `"records of each ring":"1"`} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("no %s in\n%s", want, &b)
		}
	}
	checkFormat(t, b.Bytes())
}

// A broken writer takes a few bytes.
type broken struct{ room int }

var errFull = errors.New("no space left")

func (b *broken) Write(p []byte) (int, error) {
	if b.room -= len(p); b.room < 0 {
		return 0, errFull
	}
	return len(p), nil
}

func TestWriteError(t *testing.T) {
	r, l := sample(t, 16)
	if err := r.Write(&broken{100}, l); !errors.Is(err, errFull) {
		t.Errorf("%v", err)
	}
}

// checkFormat holds a file against the description of the Trace Event format ("Trace Event Format", sections "JSON Object Format" and "Event
// Descriptions"): the keys that each phase needs, their types, and that the slices of each thread nest.
func checkFormat(t *testing.T, file []byte) {
	t.Helper()
	var trace struct {
		Other  map[string]string `json:"otherData"`
		Events []map[string]any  `json:"traceEvents"`
	}
	d := json.NewDecoder(bytes.NewReader(file))
	d.DisallowUnknownFields()
	if err := d.Decode(&trace); err != nil {
		t.Fatal(err)
	}
	named := make(map[float64]bool)
	slicesOf := make(map[float64][][2]float64)
	for _, e := range trace.Events {
		tid, ok := e["tid"].(float64)
		if _, isNumber := e["pid"].(float64); !ok || !isNumber {
			t.Errorf("%v lacks pid or tid", e)
		}
		if name, ok := e["name"].(string); !ok || name == "" {
			t.Errorf("%v has no name", e)
		}
		if _, ok := e["args"].(map[string]any); !ok {
			t.Errorf("%v has no args", e)
		}
		ts, hasTime := e["ts"].(float64)
		if phase := e["ph"]; phase != "M" {
			if _, ok := e["cat"].(string); !ok || !hasTime || !named[tid] {
				t.Errorf("%v lacks cat, ts, or a name of its thread", e)
			}
		}
		switch e["ph"] {
		case "M":
			named[tid] = named[tid] || e["name"] == "thread_name"
		case "X":
			dur, ok := e["dur"].(float64)
			if !ok || dur < 0 {
				t.Errorf("%v lacks dur", e)
			}
			slicesOf[tid] = append(slicesOf[tid], [2]float64{ts, ts + dur})
		case "i":
			if s := e["s"]; s != "t" && s != "p" && s != "g" {
				t.Errorf("%v has no scope", e)
			}
		default:
			t.Errorf("%v has a phase that is not used here", e)
		}
	}
	for tid, list := range slicesOf {
		slices.SortFunc(list, func(a, b [2]float64) int { return slices.Compare(a[:], b[:]) })
		for i, s := range list[1:] {
			if before := list[i]; s[0] < before[1]-1e-6 {
				t.Errorf("slices of thread %v overlap: %v and %v", tid, before, s)
			}
		}
	}
}
