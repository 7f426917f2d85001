package sandbox

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
	"syscall"

	"golang.org/x/sys/unix"
)

// keepOwners says to entry that the program will ask for owners of files. An entry of another's sets it before.
var keepOwners uint32

// owners guards the socket to the process that entry has left outside of the user namespace, and whether it is open.
var owners struct {
	mu     sync.Mutex
	closed bool
}

var errOwner = errors.New("the user namespace does not show whose it is; --sandbox=off does without")

// Owners gives what tells whose an open file is, whose descriptor may be one of O_PATH, in a user namespace of entry's, which does not show other users than its own. Outside of
// one it is nil. What it gives works until ForgetOwners.
func Owners() func(fd int) (uid, gid uint32, err error) {
	if entered.step != entryUser {
		return nil
	}
	return askOwner
}

func askOwner(fd int) (uid, gid uint32, err error) {
	owners.mu.Lock()
	defer owners.mu.Unlock()
	if entered.teller == 0 || owners.closed {
		return 0, 0, errOwner
	}
	if err := unix.Sendmsg(int(entered.socket), []byte{0}, unix.UnixRights(fd), nil, unix.MSG_NOSIGNAL); err != nil {
		return 0, 0, fmt.Errorf("%w (%w)", errOwner, err)
	}
	var answer [8]byte
	for have := 0; have < len(answer); {
		n, err := unix.Read(int(entered.socket), answer[have:])
		if n == 0 && err == nil {
			err = io.ErrUnexpectedEOF
		}
		if err != nil && err != unix.EINTR {
			return 0, 0, fmt.Errorf("%w (%w)", errOwner, err)
		}
		have += max(n, 0)
	}
	return binary.NativeEndian.Uint32(answer[:]), binary.NativeEndian.Uint32(answer[4:]), nil
}

// ForgetOwners ends the process outside, which Apply does, too. It may be called again.
func ForgetOwners() {
	owners.mu.Lock()
	defer owners.mu.Unlock()
	if entered.teller == 0 || owners.closed {
		return
	}
	owners.closed = true
	unix.Close(int(entered.socket))
	for {
		if _, err := unix.Wait4(int(entered.teller), nil, unix.WALL, nil); err != syscall.EINTR {
			return
		}
	}
}
