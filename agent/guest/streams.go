package guest

import (
	"encoding/binary"
	"io"
	"os"
	"os/exec"
	"strconv"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"govmm/agent"
)

// streams are the guest's ends of a command's input and output.
type streams struct {
	input    *os.File   // to write to
	waiting  inbox      // input for it
	terminal bool       // input is a terminal's
	outputs  []*os.File // to read from
	theirs   []*os.File // the command's ends
}

// connect gives the command pipes or a terminal, and sends what it writes.
func connect(c *console, cmd *exec.Cmd, terminal bool, output *sync.WaitGroup) (*streams, error) {
	if terminal {
		return connectTerminal(c, cmd, output)
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
		s.outputs, s.theirs = append(s.outputs, r), append(s.theirs, w)
		output.Go(func() { c.copyOut(o.kind, r) })
	}
	return s, nil
}

func connectTerminal(c *console, cmd *exec.Cmd, output *sync.WaitGroup) (*streams, error) {
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
	output.Go(func() { c.copyOut(agent.Output, ours) })
	return &streams{input: ours, waiting: newInbox(), terminal: true, outputs: []*os.File{ours}, theirs: []*os.File{theirs}}, nil
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
func (s *streams) hear(r io.Reader, command *os.Process) {
	d := agent.Decoder{Handle: func(kind agent.Kind, p []byte) error { return s.obey(kind, p, command) }}
	_, _ = io.Copy(&d, r)
}

// feed writes the input, and says what was taken.
func (s *streams) feed(c *console) {
	for {
		p, end := s.waiting.take()
		if len(p) > 0 {
			_, _ = s.input.Write(p) // a command that reads no more loses it
			_ = c.send(agent.Taken, binary.LittleEndian.AppendUint32(nil, uint32(len(p))))
		}
		switch {
		case !end:
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
		size := &unix.Winsize{Col: binary.LittleEndian.Uint16(p), Row: binary.LittleEndian.Uint16(p[2:])}
		_ = unix.IoctlSetWinsize(int(s.input.Fd()), unix.TIOCSWINSZ, size)
	}
	return nil
}

// patience is how long output of a command that has ended may still come from its children.
const patience = 100 * time.Millisecond

// finish waits until all output of the command is sent. Children that it has left may go on to write, and are not waited for.
func (s *streams) finish(c *console, output *sync.WaitGroup) {
	done := make(chan struct{})
	go func() {
		output.Wait()
		close(done)
	}()
	for {
		select {
		case <-done:
			return
		case <-time.After(patience):
		}
		c.flow.Lock()
		empty := s.empty()
		c.flow.Unlock()
		if empty {
			return
		}
	}
}

// empty says whether nothing is to be read, at the moment.
func (s *streams) empty() bool {
	var fds []unix.PollFd
	for _, f := range s.outputs {
		fds = append(fds, unix.PollFd{Fd: int32(f.Fd()), Events: unix.POLLIN})
	}
	_, _ = unix.Poll(fds, 0)
	for _, fd := range fds {
		if fd.Revents&unix.POLLIN != 0 {
			return false
		}
	}
	return true
}
