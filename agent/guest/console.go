package guest

import (
	"os"
	"sync"

	"golang.org/x/sys/unix"

	"govmm/agent"
)

// A console is the device by which frames come and go.
type console struct {
	file *os.File

	mu  sync.Mutex
	buf []byte

	flow sync.RWMutex
	room *credit
}

// openConsole opens the device as one that changes no byte.
func openConsole() (*console, error) {
	// The kernel mounts it itself, but not on an initramfs.
	if err := mount("devtmpfs", "/dev", "devtmpfs", 0, ""); err != nil {
		return nil, err
	}
	fd, err := unix.Open(agent.ConsoleDevice, unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, &contextError{agent.ConsoleDevice + " (the kernel needs CONFIG_VIRTIO_CONSOLE=y)", err}
	}
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS)
	if err != nil {
		return nil, &contextError{agent.ConsoleDevice, err}
	}
	t.Iflag, t.Oflag, t.Lflag = 0, 0, 0
	t.Cflag = t.Cflag&^unix.CSIZE&^unix.PARENB | unix.CS8
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if err := unix.IoctlSetTermios(fd, unix.TCSETS, t); err != nil {
		return nil, &contextError{agent.ConsoleDevice, err}
	}
	return &console{file: os.NewFile(uintptr(fd), agent.ConsoleDevice), room: newCredit()}, nil
}

// send sends a frame. It may be called from any number of goroutines.
func (c *console) send(kind agent.Kind, p []byte) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.buf = agent.AppendFrame(c.buf[:0], kind, p)
	_, err := c.file.Write(c.buf)
	return err
}

// fail says why the command does not run.
func (c *console) fail(status byte, why error) error {
	text := why.Error()
	return c.send(agent.Failure, append([]byte{status}, text[:min(len(text), 1000)]...))
}

// copyOut sends what a source gives until it ends. Between reading and sending it holds flow, so that who has all of flow knows that
// what was read was sent. What the host has no room for stays with the command.
func (c *console) copyOut(from *source) {
	p := make([]byte, agent.MaxPayload)
	for awaitInput(from.file) == nil {
		if !c.copyPiece(from, p[:c.room.reserve(len(p))]) {
			return
		}
	}
}

func (c *console) copyPiece(from *source, p []byte) (more bool) {
	c.flow.RLock()
	defer c.flow.RUnlock()
	n, err := from.file.Read(p)
	c.room.add(len(p) - max(0, n))
	if n > 0 && c.send(from.kind, p[:n]) != nil {
		return false
	}
	from.sent.Add(int64(max(0, n)))
	return err == nil // of a terminal, EIO when its last user has gone
}

// awaitInput waits until a read does not block.
func awaitInput(r *os.File) error {
	fds := []unix.PollFd{{Fd: int32(r.Fd()), Events: unix.POLLIN}}
	for {
		if _, err := unix.Poll(fds, -1); err != unix.EINTR {
			return err
		}
	}
}
