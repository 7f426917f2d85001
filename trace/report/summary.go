package report

import (
	"io"
	"slices"
	"strconv"
	"time"
)

// A Summary is what a trace has, added up. Durations are in nanoseconds in JSON.
type Summary struct {
	Title string            `json:"title"`
	About map[string]string `json:"about"`

	Begin time.Duration `json:"begin_ns"` // of the first event, on the trace's clock
	End   time.Duration `json:"end_ns"`   // of the last one

	Phases     []Phase `json:"phases"`
	CPUs       []CPU   `json:"cpus"`
	Reasons    []Row   `json:"exits_by_reason"`
	Devices    []Row   `json:"exits_by_device"`
	Addresses  []Row   `json:"exits_by_address"`
	Requests   []Row   `json:"requests"`
	Doorbells  []Row   `json:"doorbells"`
	Interrupts []Row   `json:"interrupts"`

	LostExits  uint64 `json:"lost_exits"`  // older ones, overwritten
	LostEvents uint64 `json:"lost_events"` // of devices
}

// A Phase is a part of the machine's start.
type Phase struct {
	Stage string        `json:"stage"` // that ended it
	Begin time.Duration `json:"begin_ns"`
	Took  time.Duration `json:"took_ns"`
}

// A CPU is what one vCPU did.
type CPU struct {
	Name    string        `json:"name"`
	Exits   uint64        `json:"exits"`
	Run     time.Duration `json:"run_ns"`     // in KVM_RUN between exits: the guest, KVM itself, and halted
	Monitor time.Duration `json:"monitor_ns"` // answering them
}

// maxPhases bounds the phases that are kept; there are ten at most.
const maxPhases = 64

// A counter makes a Summary, event by event.
type counter struct {
	sum     Summary
	some    bool
	names   map[int]string // of threads
	cpus    map[int]*CPU
	reasons table
	devices table
	places  table
	served  table
	bells   table
	irqs    table
}

func newCounter() *counter {
	return &counter{
		sum:   Summary{Phases: []Phase{}, CPUs: []CPU{}}, // lists in JSON, as the others
		names: make(map[int]string), cpus: make(map[int]*CPU), reasons: make(table), devices: make(table),
		places: make(table), served: make(table), bells: make(table), irqs: make(table),
	}
}

// Summarize reads a trace.
func Summarize(from io.Reader) (*Summary, error) {
	c := newCounter()
	about, err := read(from, func(e *event) error { c.add(e); return nil })
	if err != nil {
		return nil, err
	}
	return c.result(about), nil
}

func (c *counter) add(e *event) {
	switch e.Category {
	case phaseEvent:
		if len(c.sum.Phases) < maxPhases {
			c.sum.Phases = append(c.sum.Phases, Phase{Stage: e.Args.Stage, Begin: e.begin(), Took: e.took()})
		}
	case exitEvent:
		c.exit(e)
	case doorbellEvent:
		c.bells.get(e.Args.Device).add(0, 0)
	case interruptEvent:
		c.irqs.get(e.Args.Device).add(0, 0)
	case requestEvent:
		name := e.Args.Device + ": " + e.Name
		if e.Args.Status != 0 {
			name += ", failed"
		}
		c.served.get(name).add(e.took(), e.Args.Size)
	default:
		c.metadata(e)
		return
	}
	if !c.some || e.begin() < c.sum.Begin {
		c.sum.Begin = e.begin()
	}
	if !c.some || e.end() > c.sum.End {
		c.sum.End = e.end()
	}
	c.some = true
}

// metadata takes the names of threads.
func (c *counter) metadata(e *event) {
	switch e.Name {
	case "process_name":
		c.sum.Title = e.Args.Name
	case "thread_name":
		if len(c.names) < maxNames {
			c.names[e.Thread] = e.Args.Name
		}
	}
}

func (c *counter) exit(e *event) {
	cpu := c.cpus[e.Thread]
	if cpu == nil {
		if len(c.cpus) == maxNames {
			return
		}
		cpu = new(CPU) // its name may come later
		c.cpus[e.Thread] = cpu
	}
	cpu.Exits++
	cpu.Monitor += e.took()
	if e.Args.Run != nil {
		cpu.Run += e.Args.Run.duration()
	}
	c.reasons.get(e.Args.Reason).add(e.took(), 0)
	if e.Args.Device != "" {
		c.devices.get(e.Args.Device).add(e.took(), 0)
	}
	if e.Args.Addr != "" {
		c.places.get(e.place()).add(e.took(), 0)
	}
}

// place is the access of an exit, without its data.
func (e *event) place() string {
	where := "memory "
	if e.Args.Reason == "KVM_EXIT_IO" {
		where = "port "
	}
	return where + e.Args.Addr + " " + e.Args.Dir + " (" + e.Args.Device + ")"
}

func (c *counter) result(about map[string]string) *Summary {
	s := &c.sum
	s.About = about
	s.LostExits, _ = strconv.ParseUint(about["lost exits"], 10, 64)
	s.LostEvents, _ = strconv.ParseUint(about["lost events of devices"], 10, 64)
	var ids []int
	for id := range c.cpus {
		ids = append(ids, id)
	}
	slices.Sort(ids)
	for _, id := range ids {
		cpu := *c.cpus[id]
		cpu.Name = c.names[id]
		s.CPUs = append(s.CPUs, cpu)
	}
	s.Reasons, s.Devices, s.Addresses = c.reasons.rows(), c.devices.rows(), c.places.rows()
	s.Requests, s.Doorbells, s.Interrupts = c.served.rows(), c.bells.rows(), c.irqs.rows()
	return s
}
