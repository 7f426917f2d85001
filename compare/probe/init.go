package probe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// facts begins the line with the facts on the console of a kernel that was booted with package image's initramfs.
const factsMark = "BEGIN-FACTS "

// InitName is the program's when it is all of a machine's userland.
const InitName = "/init"

func isInit() bool { return os.Getpid() == 1 && os.Args[0] == InitName }

// initMain says the facts on the console and powers off.
func initMain() {
	for _, m := range []struct{ kind, target string }{{"proc", "/proc"}, {"sysfs", "/sys"}, {"devtmpfs", "/dev"}} {
		if err := os.MkdirAll(m.target, 0o755); err != nil {
			fmt.Println(Name+":", err)
		}
		_ = unix.Mount(m.kind, m.target, m.kind, 0, "") // the kernel may have mounted it, or may not have it
	}
	line, err := json.Marshal(Look())
	if err != nil {
		fmt.Println(Name+":", err)
	}
	// At the beginning of a line, whatever the kernel has said before.
	fmt.Printf("\n%s%s\n", factsMark, line)
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	select {}
}

// FromConsole finds the facts in what a console has printed.
func FromConsole(output []byte) (Facts, error) {
	_, rest, ok := bytes.Cut(output, []byte(factsMark))
	if !ok {
		return Facts{}, errors.New("the kernel did not come to its init")
	}
	line, _, _ := bytes.Cut(rest, []byte("\n"))
	return Decode[Facts](line)
}
