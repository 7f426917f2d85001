package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// A terminal that stays raw is useless to its owner, and a process that is killed, or that the Go
// runtime ends, cannot put it back. So while the terminal is raw a second process, the
// guard, holds its settings and waits: for a byte, when all went well, or for the
// end of the pipe, when govmm died. It costs nothing but on a terminal.
const guardCommand = "guard-terminal"

// guard is the guard as govmm sees it.
type guard struct{ *keeper }

// startGuard starts a guard that puts tty back to its settings of now.
func startGuard(tty *os.File) (*guard, error) {
	saved, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		return nil, err
	}
	k, err := startKeeper(tty, guardCommand)
	if err != nil {
		return nil, err
	}
	// The guard may still be starting, and will not look at the terminal before it is raw.
	if err := binary.Write(k.pipe, binary.NativeEndian, saved); err != nil {
		_ = k.release()
		return nil, err
	}
	return &guard{k}, nil
}

// release tells the guard that the terminal is as it should be, and waits for its end.
func (g *guard) release() {
	if g == nil {
		return
	}
	_, _ = g.pipe.Write([]byte{0})
	_ = g.keeper.release()
}

// newGuardCommand is the guard's own side: standard input is the terminal, descriptor 3 the pipe.
func newGuardCommand() *cobra.Command {
	return &cobra.Command{
		Use:    guardCommand,
		Hidden: true,
		Args:   noArgs,
		RunE: func(*cobra.Command, []string) error {
			pipe := keep()
			return guardTerminal(int(os.Stdin.Fd()), pipe)
		},
	}
}

// guardTerminal learns the settings from news, waits, and restores them if no more comes.
func guardTerminal(tty int, news io.Reader) error {
	saved := new(unix.Termios)
	if err := binary.Read(news, binary.NativeEndian, saved); err != nil {
		return fmt.Errorf("%s is for govmm's own use: %w", guardCommand, err)
	}
	if n, _ := news.Read(make([]byte, 1)); n > 0 {
		return nil
	}
	return unix.IoctlSetTermios(tty, unix.TCSETS, saved)
}
