package trace

import (
	"bufio"
	"encoding/json"
	"strconv"
	"time"
)

// A writer writes the JSON of the Trace Event format: an object whose traceEvents has one event a line. Times are microseconds with a fraction,
// addresses and data are strings of hexadecimal digits, because JSON's numbers have 53 bits in most readers.
type writer struct {
	out      *bufio.Writer
	labels   *Labels
	recorder *Recorder
	scratch  []byte       // the event under way
	threads  map[int]bool // those that have their names
	some     bool         // an event was written
}

func (w *writer) raw(s string) { _, _ = w.out.WriteString(s) } // bufio keeps the error for Flush

// begin writes what stands before the events. There is no displayTimeUnit, because older versions of Perfetto took all times for nanoseconds where it
// said "ns", and later ones ignore it.
func (w *writer) begin() {
	w.threads = make(map[int]bool)
	b := append(w.scratch[:0], `{"otherData":{"format":"govmm trace 1"`...)
	for _, a := range w.labels.About {
		b = append(append(b, ','), quote(a.Name)...)
		b = append(append(b, ':'), quote(a.Value)...)
	}
	b = append(b, `,"records of each ring":"`...)
	b = strconv.AppendInt(b, int64(len(w.recorder.devices.records)), 10)
	b = append(b, `","lost exits":"`...)
	var lost uint64
	for _, r := range w.recorder.cpus {
		lost += r.Lost()
	}
	b = strconv.AppendUint(b, lost, 10)
	b = append(b, `","lost events of devices":"`...)
	b = strconv.AppendUint(b, w.recorder.devices.Lost(), 10)
	w.scratch = append(b, "\"},\n\"traceEvents\":[\n"...)
	_, _ = w.out.Write(w.scratch)
	w.metadata("process_name", 0, "name", quote("govmm: "+w.labels.Title))
}

// quote makes a string of JSON.
func quote(s string) string {
	b, _ := json.Marshal(s) // a string always can be
	return string(b)
}

// metadata names a thread or the process.
func (w *writer) metadata(what string, thread int, name, value string) {
	w.line()
	b := append(w.scratch[:0], `{"name":"`...)
	b = append(append(b, what...), `","ph":"M","pid":1,"tid":`...)
	b = strconv.AppendInt(b, int64(thread), 10)
	b = append(append(append(b, `,"args":{"`...), name...), `":`...)
	w.scratch = append(append(b, value...), "}}"...)
	_, _ = w.out.Write(w.scratch)
}

// line begins an event.
func (w *writer) line() {
	if w.some {
		w.raw(",\n")
	}
	w.some = true
}

// thread gives a thread its name and place, the first time.
func (w *writer) thread(id int, name string) {
	if w.threads[id] {
		return
	}
	w.threads[id] = true
	w.metadata("thread_name", id, "name", quote(name))
	w.metadata("thread_sort_index", id, "sort_index", strconv.Itoa(id))
}

// named names the thread of a device's lane.
func (w *writer) named(device, lane int) {
	name := w.labels.Devices[device]
	if lane > 0 {
		name += " (" + strconv.Itoa(lane+1) + ")"
	}
	w.thread(deviceThread+device*lanes+lane, name)
}

// event writes the beginning of an event, up to its arguments. Without a duration it is an instant.
func (w *writer) event(name, category string, thread int, start, duration time.Duration, instant bool) {
	w.line()
	b := append(append(w.scratch[:0], `{"name":`...), quoted(name)...)
	b = append(append(b, `,"cat":"`...), category...)
	if instant {
		b = append(b, `","ph":"i","s":"t","ts":`...)
	} else {
		b = append(b, `","ph":"X","ts":`...)
	}
	b = microseconds(b, start)
	if !instant {
		b = microseconds(append(b, `,"dur":`...), duration)
	}
	b = append(b, `,"pid":1,"tid":`...)
	w.scratch = append(strconv.AppendInt(b, int64(thread), 10), `,"args":{`...)
}

// microseconds appends a time with three digits after the point.
func microseconds(b []byte, d time.Duration) []byte {
	n := d.Nanoseconds()
	if n < 0 {
		b, n = append(b, '-'), -n
	}
	b = strconv.AppendInt(b, n/1000, 10)
	rest := n % 1000
	return append(b, '.', byte('0'+rest/100), byte('0'+rest/10%10), byte('0'+rest%10))
}

// text adds an argument that is a string.
func (w *writer) text(name, value string) {
	w.scratch = append(append(w.key(name), quoted(value)...), ',')
}

// number adds one that is a small number.
func (w *writer) number(name string, v uint64) {
	w.scratch = append(strconv.AppendUint(w.key(name), v, 10), ',')
}

// hex adds one that is a string of hexadecimal digits.
func (w *writer) hex(name string, v uint64) {
	w.scratch = append(strconv.AppendUint(append(w.key(name), `"0x`...), v, 16), `",`...)
}

// time adds one in microseconds.
func (w *writer) time(name string, d time.Duration) {
	w.scratch = append(microseconds(w.key(name), d), ',')
}

func (w *writer) key(name string) []byte {
	return append(append(append(w.scratch, '"'), name...), `":`...)
}

// end ends the event.
func (w *writer) end() {
	if last := len(w.scratch) - 1; w.scratch[last] == ',' {
		w.scratch = w.scratch[:last]
	}
	w.scratch = append(w.scratch, "}}"...)
	_, _ = w.out.Write(w.scratch)
}

// quoted is quote for names, of which nearly all need nothing but the quotation marks.
func quoted(s string) string {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c == '"' || c == '\\' || c >= 0x7f {
			return quote(s)
		}
	}
	return `"` + s + `"`
}

// phases writes the phases of the start.
func (w *writer) phases() {
	for i, p := range w.labels.Phases {
		if i == 0 {
			w.thread(phasesThread, "start")
			continue
		}
		begin := w.labels.Phases[i-1].At
		w.event("until "+p.Stage, "phase", phasesThread, begin.Sub(w.recorder.start), p.At.Sub(begin), false)
		w.text("stage", p.Stage)
		w.end()
	}
}

// exits writes the exits of a vCPU. Between the end of one and the beginning of the next the vCPU was in KVM_RUN.
func (w *writer) exits(cpu int, ring *Ring) {
	thread := cpuThread + cpu
	w.thread(thread, "vCPU "+strconv.Itoa(cpu))
	var before *Record
	for i := range ring.Len() {
		e := ring.At(i)
		name, device := w.labels.Reason(e.Reason), ""
		if e.Direction != NoData {
			device = w.labels.Devices[min(int(e.Device), len(w.labels.Devices)-1)]
			name = device
		}
		w.event(name, "exit", thread, e.Start, e.Duration, false)
		w.text("reason", w.labels.Reason(e.Reason))
		if e.Direction != NoData {
			w.text("device", device)
			w.access(e)
		}
		if before != nil {
			w.time("run_us", e.Start-before.Start-before.Duration)
		}
		w.end()
		before = e
	}
}

// access adds what an exit for a port or memory has.
func (w *writer) access(e *Record) {
	direction := "read"
	if e.Direction == Out {
		direction = "write"
	}
	w.text("dir", direction)
	w.hex("addr", e.Addr)
	w.number("size", uint64(e.Size))
	if e.Width != 0 && uint32(e.Width) != e.Size {
		w.number("width", uint64(e.Width))
	}
	w.hex("data", e.Data)
}

// deviceEvent writes a doorbell, an interrupt or a request.
func (w *writer) deviceEvent(e *Record, device, lane int) {
	thread := deviceThread + device*lanes + lane
	switch e.Kind {
	case Doorbell:
		w.event("doorbell", "doorbell", thread, e.Start, 0, true)
		w.text("device", w.labels.Devices[device])
		w.number("queue", uint64(e.Queue))
	case Interrupt:
		w.event("interrupt", "interrupt", thread, e.Start, 0, true)
		w.text("device", w.labels.Devices[device])
		w.interrupt(e)
	default:
		w.event(w.labels.Operation(e.Operation), "request", thread, e.Start, e.Duration, false)
		w.text("device", w.labels.Devices[device])
		w.number("queue", uint64(e.Queue))
		w.hex("offset", e.Addr)
		w.number("size", uint64(e.Size))
		w.number("status", uint64(e.Status))
	}
	w.end()
}

// interrupt adds how the guest is interrupted.
func (w *writer) interrupt(e *Record) {
	if e.Queue == NoVector {
		w.number("gsi", e.Data)
		return
	}
	w.number("vector", uint64(e.Queue))
	w.hex("addr", e.Addr)
	w.hex("data", e.Data)
}
