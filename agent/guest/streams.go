package guest

import (
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"govmm/agent"
)

// streams are the guest's ends of a command's input and output.
type streams struct {
	input    *os.File // to write to
	waiting  inbox    // input for it
	terminal bool     // input is a terminal's
	outputs  []*source
	theirs   []*os.File // the command's ends
}

// A source is one of the command's outputs.
type source struct {
	file *os.File
	kind agent.Kind
	sent atomic.Int64 // bytes
}

// connect gives the command pipes or a terminal, and sends what it writes.
func connect(c *console, cmd *exec.Cmd, spec *agent.Spec, output *sync.WaitGroup) (*streams, error) {
	if spec.Terminal {
		return connectTerminal(c, cmd, spec.Size, output)
	}
	s := &streams{waiting: newInbox()}
	in, input, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	cmd.Stdin, s.input, s.theirs = in, input, []*os.File{in}
	for _, o := range []struct {
		kind agent.Kind
		to   *io.Writer
	}{{agent.Output, &cmd.Stdout}, {agent.Errors, &cmd.Stderr}} {
		r, w, err := os.Pipe()
		if err != nil {
			return nil, err
		}
		*o.to = w
		from := &source{file: r, kind: o.kind}
		s.outputs, s.theirs = append(s.outputs, from), append(s.theirs, w)
		output.Go(func() { c.copyOut(from) })
	}
	// Programs open their own by /dev/stdout and its like.
	for _, f := range s.theirs {
		if err := f.Chown(int(credential(cmd)), -1); err != nil {
			return nil, err
		}
	}
	return s, nil
}

func connectTerminal(c *console, cmd *exec.Cmd, size string, output *sync.WaitGroup) (*streams, error) {
	ours, err := os.OpenFile("/dev/pts/ptmx", os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	fd := int(ours.Fd())
	number, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	if err == nil {
		err = unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0)
	}
	if err != nil {
		return nil, &contextError{"terminal", err}
	}
	theirs, err := os.OpenFile("/dev/pts/"+strconv.Itoa(number), os.O_RDWR|unix.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	cmd.Stdin, cmd.Stdout, cmd.Stderr = theirs, theirs, theirs
	cmd.SysProcAttr.Setctty = true
	if err := theirs.Chown(int(credential(cmd)), -1); err != nil {
		return nil, err
	}
	if cols, rows, ok := agent.ParseSize(size); ok { // before the command looks; changes come as frames
		setSize(ours, cols, rows)
	}
	from := &source{file: ours, kind: agent.Output}
	output.Go(func() { c.copyOut(from) })
	return &streams{input: ours, waiting: newInbox(), terminal: true, outputs: []*source{from}, theirs: []*os.File{theirs}}, nil
}

func credential(cmd *exec.Cmd) uint32 {
	if c := cmd.SysProcAttr.Credential; c != nil {
		return c.Uid
	}
	return 0
}

// started closes what is the command's alone.
func (s *streams) started() {
	for _, f := range s.theirs {
		f.Close()
	}
}

// hear does what the host's frames say, until the stream ends.
func (s *streams) hear(c *console, command *os.Process) {
	d := agent.Decoder{Handle: func(kind agent.Kind, p []byte) error {
		if kind == agent.Passed && len(p) == 4 {
			c.room.add(int(binary.LittleEndian.Uint32(p)))
			return nil
		}
		return s.obey(kind, p, command)
	}}
	_, _ = io.Copy(&d, c.file)
}

// feed writes the input, and says what was taken.
func (s *streams) feed(c *console) {
	last := byte('\n')
	for {
		p, end := s.waiting.take()
		if len(p) > 0 {
			last = p[len(p)-1]
			_, _ = s.input.Write(p) // a command that reads no more loses it
			_ = c.send(agent.Taken, binary.LittleEndian.AppendUint32(nil, uint32(len(p))))
		}
		switch {
		case !end:
		case s.terminal && last != '\n':
			_, _ = s.input.Write([]byte{endOfInput, endOfInput}) // the first gives the command what it has of the line
			return
		case s.terminal:
			_, _ = s.input.Write([]byte{endOfInput})
			return
		default:
			s.input.Close()
			return
		}
	}
}

// endOfInput is what a terminal takes for that at the start of a line.
const endOfInput = 4

func (s *streams) obey(kind agent.Kind, p []byte, command *os.Process) error {
	switch {
	case kind == agent.Input:
		s.waiting.put(p)
	case kind == agent.Signal && len(p) == 1:
		_ = syscall.Kill(-command.Pid, syscall.Signal(p[0])) // its process group
	case kind == agent.Resize && len(p) == 4 && s.terminal:
		setSize(s.input, binary.LittleEndian.Uint16(p), binary.LittleEndian.Uint16(p[2:]))
	}
	return nil
}

func setSize(terminal *os.File, cols, rows uint16) {
	_ = unix.IoctlSetWinsize(int(terminal.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: cols, Row: rows})
}

// patience is how long output of a command that has ended may still come from its children.
const patience = 100 * time.Millisecond

// finish waits until all output of the command is sent. Children that it has left may go on to write, and are not waited for: what the command itself has written lies
// within what can be read now.
func (s *streams) finish(c *console, output *sync.WaitGroup) {
	c.flow.Lock()
	goals := s.goals()
	c.flow.Unlock()
	done := make(chan struct{})
	go func() {
		output.Wait()
		close(done)
	}()
	for reached := false; !reached; {
		select {
		case <-done:
			return
		case <-time.After(patience):
		}
		reached = true
		for i, from := range s.outputs {
			reached = reached && from.sent.Load() >= goals[i]
		}
	}
}

// goals says how much of each output will have been sent when all that can be read now is.
func (s *streams) goals() []int64 {
	var goals []int64
	for _, from := range s.outputs {
		n, _ := unix.IoctlGetInt(int(from.file.Fd()), unix.TIOCINQ)
		goals = append(goals, from.sent.Load()+int64(n))
	}
	return goals
}
