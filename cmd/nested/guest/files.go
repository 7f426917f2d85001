package guest

import (
	"errors"
	"fmt"
	"os"
	"syscall"

	"golang.org/x/sys/unix"

	"govmm/cmd/nested/wire"
)

// files are the two ends of the command's standard files.
type files struct {
	command [3]*os.File
	pty     bool

	stdin  *os.File
	stdout *os.File
	stderr *os.File // nil with a terminal: it has one output
}

// openFiles makes three pipes or, given a size, a terminal.
func openFiles(size *wire.Size) (*files, error) {
	if size != nil {
		return openTerminal(*size)
	}
	var f files
	var errs [3]error
	f.command[0], f.stdin, errs[0] = os.Pipe()
	f.stdout, f.command[1], errs[1] = os.Pipe()
	f.stderr, f.command[2], errs[2] = os.Pipe()
	return &f, errors.Join(errs[:]...)
}

func openTerminal(size wire.Size) (*files, error) {
	master, err := os.OpenFile("/dev/pts/ptmx", os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	// Not Fd, which would take the file out of the poller.
	conn, err := master.SyscallConn()
	if err != nil {
		return nil, err
	}
	var number int
	var unlockErr, numberErr error
	err = conn.Control(func(fd uintptr) {
		unlockErr = unix.IoctlSetPointerInt(int(fd), unix.TIOCSPTLCK, 0)
		number, numberErr = unix.IoctlGetInt(int(fd), unix.TIOCGPTN)
	})
	if err := errors.Join(err, unlockErr, numberErr); err != nil {
		return nil, fmt.Errorf("new terminal: %w", err)
	}
	slave, err := os.OpenFile(fmt.Sprintf("/dev/pts/%d", number), os.O_RDWR|syscall.O_NOCTTY, 0)
	if err != nil {
		return nil, err
	}
	f := &files{
		command: [3]*os.File{slave, slave, slave},
		pty:     true,
		stdin:   master,
		stdout:  master,
	}
	f.resize(size)
	return f, nil
}

// closeCommand closes what only the command may keep open.
func (f *files) closeCommand() {
	for _, file := range f.command {
		// A terminal is there three times.
		_ = file.Close()
	}
}

// endInput makes the command read the end of its input.
func (f *files) endInput() {
	if f.pty {
		const endOfTransmission = 4 // VEOF as terminals have it at first
		_, _ = f.stdin.Write([]byte{endOfTransmission})
		return
	}
	_ = f.stdin.Close()
}

// resize tells the terminal, if there is one, its size.
func (f *files) resize(size wire.Size) {
	if !f.pty {
		return
	}
	conn, err := f.stdin.SyscallConn()
	if err != nil {
		return
	}
	_ = conn.Control(func(fd uintptr) {
		_ = unix.IoctlSetWinsize(int(fd), unix.TIOCSWINSZ, &unix.Winsize{Row: size.Rows, Col: size.Cols})
	})
}
