package main

import (
	"encoding/binary"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"
)

// A terminal that stays raw is useless to its owner, and a process that is killed, or that the Go
// runtime ends, cannot put it back. So while the terminal is raw a second process, the
// guard, holds its settings and waits: for a byte, when all went well, or for the
// end of the pipe, when govmm died. It costs nothing but on a terminal.
const guardCommand = "guard-terminal"

// guard is the guard as govmm sees it.
type guard struct {
	process *exec.Cmd
	pipe    *os.File
}

// startGuard starts a guard that puts tty back to its settings of now.
func startGuard(tty *os.File) (*guard, error) {
	saved, err := unix.IoctlGetTermios(int(tty.Fd()), unix.TCGETS)
	if err != nil {
		return nil, err
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	c := exec.Command("/proc/self/exe", guardCommand) // also when the file was replaced
	c.Stdin = tty
	c.ExtraFiles = []*os.File{r}
	// A group of its own: what kills govmm's group leaves the guard.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		w.Close()
		return nil, err
	}
	// The guard may still be starting, and will not look at the terminal before it is raw.
	if err := binary.Write(w, binary.NativeEndian, saved); err != nil {
		w.Close()
		return nil, err
	}
	return &guard{c, w}, nil
}

// release tells the guard that the terminal is as it should be, and waits for its end.
func (g *guard) release() {
	if g == nil {
		return
	}
	_, _ = g.pipe.Write([]byte{0})
	g.pipe.Close()
	_ = g.process.Wait()
}

// newGuardCommand is the guard's own side: standard input is the terminal, descriptor 3 the pipe.
func newGuardCommand() *cobra.Command {
	return &cobra.Command{
		Use:    guardCommand,
		Hidden: true,
		Args:   noArgs,
		RunE: func(*cobra.Command, []string) error {
			// What ends others must not end the guard. SIGTTOU would stop it when it sets
			// the terminal from the background.
			signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGTTOU)
			return guardTerminal(int(os.Stdin.Fd()), os.NewFile(3, "pipe"))
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
