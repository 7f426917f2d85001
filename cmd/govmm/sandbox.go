package main

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"govmm/devices/virtio/netif/resolvconf"
	"govmm/devices/virtio/netif/usernet"
	"govmm/machine"
	"govmm/sandbox"
)

// sandboxMode is the value of --sandbox.
type sandboxMode int

const (
	sandboxOn sandboxMode = iota
	sandboxStrict
	sandboxOff
)

func addSandboxFlag(c *cobra.Command, mode *sandboxMode) {
	addChoice(c, mode, "sandbox", "HOW", "what this process may still do once the guest runs: on (as little as this host lets it be told), strict (the same, but do not start where the host lacks something), off (all that its user may)",
		word[sandboxMode]{"on", sandboxOn}, word[sandboxMode]{"strict", sandboxStrict}, word[sandboxMode]{"off", sandboxOff})
}

// prepare is called before anything is done. It refuses what strict cannot have.
func (mode sandboxMode) prepare() error {
	_ = sandbox.FinishEntry() // a layer is missing then
	// The log tells the time in UTC: to find out the zone takes files, which would have to be read before.
	time.Local = time.UTC
	if mode != sandboxStrict {
		return nil
	}
	return mode.refuse(sandbox.Missing())
}

// refuse is the error of a sandbox that lacks something, if it may lack nothing.
func (mode sandboxMode) refuse(missing []sandbox.Layer) error {
	if mode != sandboxStrict || len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("--sandbox=strict: %s; %s", lacks(missing), missing[0].Remedy)
}

// lacks says what is missing, in one line.
func lacks(missing []sandbox.Layer) string {
	var texts []string
	for _, l := range missing {
		texts = append(texts, fmt.Sprintf("no %s (%s)", l.Name, l.Detail))
	}
	return strings.Join(texts, ", ")
}

// mostFiles is how many descriptors a machine without ordinary sockets may have: 32 devices with as many queues as they can
// have take fewer.
const mostFiles = 4096

// enter puts the process into the sandbox. All that the run opens must be open.
func (mode sandboxMode) enter(nets []backend, debugger bool) error {
	if mode == sandboxOff {
		return nil
	}
	p := policy(nets)
	p.Debugger = debugger
	eol := "\n"
	if terminalIsRaw() {
		eol = "\r\n"
	}
	p.Complaint = "govmm: the sandbox ended this virtual machine: the monitor made the system call "
	p.Ending = ", which it never does by itself; if it was not the guest that made it do so, --sandbox=off helps until that is mended" + eol
	missing, err := sandbox.Apply(p)
	if err != nil {
		return fmt.Errorf("sandbox: %w; --sandbox=off does without", err)
	}
	if err := mode.refuse(missing); err != nil {
		return err
	}
	if len(missing) > 0 {
		fmt.Fprintf(logOutput(), "govmm: the sandbox is weaker than it could be: %s; %s\n", lacks(missing), missing[0].Remedy)
	}
	return nil
}

// start is the last step before the guest runs: all that the run opens is open, and what is left to do of the machine's start is done first. It has the memory given
// back that only the start needed; the shedder can do that again.
func (mode sandboxMode) start(m *machine.Machine, nets []backend, gdb *gdbServer) (*shedder, error) {
	s := newShedder()
	m.FinishLoading()
	if err := gdb.connect(m); err != nil {
		return nil, err
	}
	if err := mode.enter(nets, gdb != nil); err != nil {
		return nil, err
	}
	go s.shed()
	return s, nil
}

// policy is what is left to a machine with these networks.
func policy(nets []backend) sandbox.Policy {
	p := sandbox.Policy{Files: mostFiles}
	for _, n := range nets {
		switch n.(type) {
		case *usernet.Backend:
			p.Sockets, p.Files = sandbox.NewSockets, 0
			p.Readable, p.Links = resolverFiles(resolvconf.Path, os.Geteuid() == 0)
		case *guardedTap:
			p.Sockets = max(p.Sockets, sandbox.OpenSockets) // that of its DHCP server
		}
	}
	return p
}

// resolverFiles is where the name servers of the host are read from, given the name of their file, and the link by which they are found there. A file that is replaced
// is another, so its directory must be readable for changes to be seen; where that is /etc and the user is root, it has secrets, and the name servers stay those of the start. Where the link leads is found out once.
func resolverFiles(name string, root bool) (files []string, links map[string]string) {
	path, err := filepath.EvalSymlinks(name)
	if err != nil {
		return []string{name}, nil // it may be looked for
	}
	if path != name {
		links = map[string]string{name: path}
	}
	switch dir := filepath.Dir(path); {
	case dir != filepath.Dir(name):
		return []string{dir}, links
	case root:
		return []string{path}, links
	default:
		return []string{dir}, nil // the link, if it is one, lies in it
	}
}

// closeStrays closes descriptors that whoever started this program has left open for it, but for those that flags name. All that
// Go opens is closed by execve(2), which is how they are told apart.
func closeStrays(nets []string) error {
	dir, err := os.Open("/proc/self/fd")
	if errors.Is(err, os.ErrNotExist) {
		return closeAnyStrays(nets)
	}
	if err != nil {
		return err
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if fd, err := strconv.Atoi(name); err == nil {
			closeStray(nets, fd)
		}
	}
	return nil
}

// closeAnyStrays does so where /proc does not tell what is open. Go's own descriptors are far below mostTried, and so must be those that flags name.
func closeAnyStrays(nets []string) error {
	for fd := range mostTried {
		closeStray(nets, fd)
	}
	err := unix.CloseRange(mostTried, math.MaxInt32, 0)
	if errors.Is(err, unix.ENOSYS) { // before Linux 5.9
		return nil
	}
	return os.NewSyscallError("close_range", err)
}

// mostTried is how many are looked at one by one, which takes milliseconds.
const mostTried = 1 << 16

func closeStray(nets []string, fd int) {
	if fd <= unix.Stderr {
		return
	}
	if flags, err := unix.FcntlInt(uintptr(fd), unix.F_GETFD, 0); err == nil && flags&unix.FD_CLOEXEC == 0 && !named(nets, fd) {
		unix.Close(fd)
	}
}

func named(nets []string, fd int) bool {
	for _, text := range nets {
		if n, err := parseNetwork(text); err == nil && n.kind == "fd" && n.fd == fd {
			return true
		}
	}
	return false
}
