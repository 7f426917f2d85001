// Package guest is the init that runs one command in a guest (package agent): it mounts what a program expects, starts the command with the console's frames as its standard
// input and output, and tells its end. It is the guest's process 1, and the whole of its userland beside the command.
//
// Its inputs are the specification and the host's frames, both of which it trusts, and the root file system, which it does not have to: that is the guest's own.
package guest

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"govmm/agent"
)

// Complaint begins the line by which the init says on the kernel's console what it cannot say by frames.
const Complaint = "govmm init: "

// IsInit says whether this process is the guest's init, and not the monitor.
func IsInit() bool { return os.Getpid() == 1 && len(os.Args) > 0 && os.Args[0] == "/"+agent.InitPath }

// Main runs the command that the specification names, tells its end and powers off. It does not return.
func Main() {
	console, err := openConsole()
	if err == nil {
		err = serve(console)
	}
	if err != nil {
		complain(err)
	}
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	for { // a kernel panics when its process 1 ends
		time.Sleep(time.Hour)
	}
}

// complain says what cannot be said by frames, as an error of the kernel's, which are written to its console at once; what a process writes there
// is lost when the power goes.
func complain(err error) {
	const kernError = "<3>"
	if os.WriteFile("/dev/kmsg", []byte(kernError+Complaint+err.Error()+"\n"), 0) != nil {
		_, _ = os.Stderr.WriteString(Complaint + err.Error() + "\n")
	}
}

// serve does all of it over an open console.
func serve(c *console) error {
	if err := c.send(agent.Ready, nil); err != nil {
		return err
	}
	spec, err := readSpec()
	if err == nil {
		err = prepare(spec)
	}
	if err != nil {
		return c.fail(statusCannot, err)
	}
	return run(c, spec)
}

func readSpec() (*agent.Spec, error) {
	text, err := os.ReadFile("/" + agent.SpecPath)
	if err != nil {
		return nil, err
	}
	spec, err := agent.DecodeSpec(text)
	if err != nil {
		return nil, err
	}
	if len(spec.Args) == 0 {
		return nil, errors.New("there is no command")
	}
	// The command's user sees the same files as under another init.
	return spec, os.RemoveAll("/" + agent.Dir)
}
