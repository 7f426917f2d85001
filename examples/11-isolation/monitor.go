package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"os/exec"

	"golang.org/x/sys/unix"

	"govmm/sandbox"
)

// What somebody does who has found a fault in a device and runs code of his own in the monitor's process. A process does one deed, with what it
// is left with.
var deeds = []struct {
	what string
	do   func() error
}{
	{"read /etc/passwd", func() error { _, err := os.ReadFile("/etc/passwd"); return err }},
	{"make a file", func() error { _, err := unix.Creat("/tmp/lesson-11", 0o600); unix.Unlink("/tmp/lesson-11"); return err }},
	{"start a program", func() error { return unix.Exec("/bin/true", []string{"true"}, nil) }},
	{"talk to the network", func() error { _, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM, 0); return err }},
	{"signal another process", func() error { return unix.Kill(parent, 0) }},
	{"bring code of its own", func() error {
		_, err := unix.Mmap(-1, 0, 4096, unix.PROT_WRITE|unix.PROT_EXEC, unix.MAP_PRIVATE|unix.MAP_ANONYMOUS)
		return err
	}},
	{"write to what is open", func() error { _, err := os.Stdout.WriteString("x"); return err }},
}

var parent = os.Getppid()

// compare has each deed done twice.
func compare() {
	fmt.Printf("%-24s %-21s %s\n", "the monitor is to", "without the sandbox", "in the sandbox")
	for _, d := range deeds {
		fmt.Printf("%-24s %-21s %s\n", d.what, outcome(d.what, "free"), outcome(d.what, "sandboxed"))
	}
}

// outcome starts this program again for a deed. A process that is ended by the sandbox is gone, so the deed needs one of its own.
func outcome(what, how string) string {
	var complaint bytes.Buffer
	c := exec.Command("/proc/self/exe", "deed", what, how)
	c.Stderr = &complaint
	err := c.Run()
	switch {
	case err == nil:
		return "done"
	case c.ProcessState.ExitCode() == sandbox.ViolationStatus:
		return "ended at " + complaint.String()
	}
	return complaint.String()
}

// perform does a deed, in the sandbox or not.
func perform(what string, sandboxed bool) {
	if sandboxed {
		missing, err := sandbox.Apply(sandbox.Policy{Files: 100})
		if err != nil {
			log.Fatal(err)
		}
		for _, l := range missing {
			if l.Name == "seccomp" {
				log.Fatal("this host has no seccomp")
			}
		}
	}
	for _, d := range deeds {
		if d.what == what {
			if err := d.do(); err != nil {
				log.Fatal(err)
			}
		}
	}
}
