package guest

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"govmm/cmd/nested/wire"
)

// Exit statuses as shells give them to what never ran.
const (
	statusNotExecutable = 126
	statusNotFound      = 127
	statusSignal        = 128 // plus the signal's number
)

// drainTime is how long output may still come from processes that the command
// left behind.
const drainTime = time.Second

// A session is the connection to the host.
type session struct {
	out   *wire.Writer
	in    *wire.Reader
	input *wire.Reader
}

// run runs the job's command and returns its exit status. The error is one of
// init's own.
func (s *session) run(job wire.Job) (uint8, error) {
	if err := surround(job); err != nil {
		return 0, err
	}
	path, err := exec.LookPath(job.Args[0])
	if err != nil {
		return s.refuse(job, err)
	}
	files, err := openFiles(job.Terminal)
	if err != nil {
		return 0, err
	}
	proc, err := os.StartProcess(path, job.Args, &os.ProcAttr{
		Env:   job.Env,
		Files: files.command[:],
		// A group of its own, so that a signal reaches all of the command but not init.
		Sys: &syscall.SysProcAttr{Setsid: true, Setctty: files.pty},
	})
	if err != nil {
		return s.refuse(job, err)
	}
	files.closeCommand()

	var outputs sync.WaitGroup
	outputs.Go(func() { s.copyOutput(wire.Stdout, files.stdout) })
	if files.stderr != nil {
		outputs.Go(func() { s.copyOutput(wire.Stderr, files.stderr) })
	}
	go s.copyInput(files)
	go s.obey(proc.Pid, files)

	status := reap(proc.Pid)
	drained := make(chan struct{})
	go func() { outputs.Wait(); close(drained) }()
	select {
	case <-drained:
	case <-time.After(drainTime):
	}
	return status, nil
}

// refuse tells on the command's standard error why it does not run.
func (s *session) refuse(job wire.Job, err error) (uint8, error) {
	status := uint8(statusNotExecutable)
	if errors.Is(err, exec.ErrNotFound) || errors.Is(err, fs.ErrNotExist) {
		status = statusNotFound
	}
	var perr *fs.PathError
	var eerr *exec.Error
	switch {
	case errors.As(err, &perr):
		err = perr.Err
	case errors.As(err, &eerr):
		err = eerr.Err
	}
	return status, s.out.WriteFrame(wire.Stderr, []byte("nested: "+job.Args[0]+": "+err.Error()+"\n"))
}

// surround makes what the command expects of a host that was there before it.
func surround(job wire.Job) error {
	if err := unix.Sethostname([]byte("nested")); err != nil {
		return err
	}
	if err := loopbackUp(); err != nil {
		return err
	}
	// What a login on Debian gets: the kernel's own hard limit is 4096.
	if err := syscall.Setrlimit(syscall.RLIMIT_NOFILE, &syscall.Rlimit{Cur: 1024, Max: 1 << 20}); err != nil {
		return err
	}
	// For LookPath.
	for _, kv := range job.Env {
		if path, ok := strings.CutPrefix(kv, "PATH="); ok {
			if err := os.Setenv("PATH", path); err != nil {
				return err
			}
		}
	}
	return os.Chdir(job.Dir)
}

// loopbackUp brings the interface lo up.
func loopbackUp() error {
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer unix.Close(fd)
	req, err := unix.NewIfreq("lo")
	if err != nil {
		return err
	}
	req.SetUint16(unix.IFF_UP)
	return os.NewSyscallError("SIOCSIFFLAGS", unix.IoctlIfreq(fd, unix.SIOCSIFFLAGS, req))
}

// reap waits for every process there is, as the first process has to, until pid
// has ended, and returns the exit status of pid.
func reap(pid int) uint8 {
	for {
		var ws unix.WaitStatus
		got, err := unix.Wait4(-1, &ws, 0, nil)
		switch {
		case err != nil || got != pid:
			// EINTR, or an orphan. ECHILD cannot be: pid is waited for only here.
		case ws.Signaled():
			return statusSignal + uint8(ws.Signal())
		case ws.Exited():
			return uint8(ws.ExitStatus())
		}
	}
}

// copyOutput sends what the command writes until all its writers are gone.
func (s *session) copyOutput(kind wire.Kind, from io.Reader) {
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 && s.out.WriteFrame(kind, buf[:n]) != nil {
			return
		}
		if err != nil {
			return
		}
	}
}

// copyInput gives the command what the host has for it.
func (s *session) copyInput(f *files) {
	for {
		kind, data, err := s.input.ReadFrame()
		if err != nil || kind != wire.Stdin {
			return
		}
		if len(data) == 0 {
			f.endInput()
			return
		}
		// A command that has closed its input does not stop the host from sending.
		_, _ = f.stdin.Write(data)
	}
}

// obey does what the host says while the command runs.
func (s *session) obey(pid int, f *files) {
	for {
		kind, payload, err := s.in.ReadFrame()
		if err != nil {
			return
		}
		switch kind {
		case wire.Signal:
			if len(payload) == 1 {
				_ = unix.Kill(-pid, syscall.Signal(payload[0]))
			}
		case wire.Resize:
			if size, err := wire.ParseSize(payload); err == nil {
				f.resize(size)
			}
		}
	}
}
