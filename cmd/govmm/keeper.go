package main

import (
	"os"
	"os/exec"
	"os/signal"
	"syscall"
)

// A keeper is a second process that undoes what this one has done to the host when this one is gone, however that has come about: a process that is
// killed, or that the sandbox ends, can undo nothing. It holds the end of a pipe, which tells.
type keeper struct {
	process *exec.Cmd
	pipe    *os.File
}

// startKeeper starts command args of this program with the pipe as descriptor 3.
func startKeeper(stdin *os.File, args ...string) (*keeper, error) {
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer r.Close()
	c := exec.Command("/proc/self/exe", args...) // also when the file was replaced
	c.Stdin, c.Stderr = stdin, os.Stderr
	c.ExtraFiles = []*os.File{r}
	// A group of its own: what kills govmm's group leaves the keeper.
	c.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := c.Start(); err != nil {
		w.Close()
		return nil, err
	}
	return &keeper{c, w}, nil
}

// release lets the keeper do its work, and waits for its end.
func (k *keeper) release() error {
	k.pipe.Close()
	return k.process.Wait()
}

// keep is the keeper's own side: what ends others must not end it. SIGTTOU would stop it when it sets the terminal
// from the background.
func keep() (pipe *os.File) {
	signal.Ignore(syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGQUIT, syscall.SIGTTOU)
	return os.NewFile(3, "pipe")
}
