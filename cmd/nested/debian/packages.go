package debian

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// RemedySetup is the command that gets what the nested test host needs.
const RemedySetup = "go run ./cmd/nested setup"

// run starts a program in dir, its messages in English, and returns its
// standard output. The error has the last line of its standard error.
func run(ctx context.Context, dir string, args ...string) (string, error) {
	if _, err := exec.LookPath(args[0]); err != nil {
		return "", fmt.Errorf("%s is not there: kernels are fetched with Debian's apt and dpkg", args[0])
	}
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "LC_ALL=C")
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("%s: %w: %s", strings.Join(args, " "), err, lastLine(stderr.String()))
	}
	return stdout.String(), nil
}

func lastLine(s string) string {
	s = strings.TrimSpace(s)
	return s[strings.LastIndexByte(s, '\n')+1:]
}

// HasProgram reports whether a program is installed, for a user or for root only. A name with
// a slash is the path of a file of any kind.
func HasProgram(name string) bool {
	if strings.Contains(name, "/") {
		_, err := os.Stat(name)
		return err == nil
	}
	if _, err := exec.LookPath(name); err == nil {
		return true
	}
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if _, err := exec.LookPath(filepath.Join(dir, name)); err == nil {
			return true
		}
	}
	return false
}

// Missing returns the packages, by their names in Debian, without which the
// test host does not start.
func Missing() []string {
	var missing []string
	if _, err := exec.LookPath("qemu-system-x86_64"); err != nil {
		missing = append(missing, "qemu-system-x86")
	}
	if _, err := exec.LookPath("xz"); err != nil {
		missing = append(missing, "xz-utils")
	}
	// QEMU's own copy, or what other distributions make of the package.
	for _, bios := range []string{"/usr/share/seabios/bios-256k.bin", "/usr/share/qemu/bios-256k.bin", "/usr/share/qemu-kvm/bios-256k.bin"} {
		if _, err := os.Stat(bios); err == nil {
			return missing
		}
	}
	return append(missing, "seabios")
}

// ErrNoApt tells that packages have to be installed by hand.
var ErrNoApt = errors.New("this system has no apt-get")

// Install installs packages, as root or with sudo, after fetching the package
// lists: with old ones apt looks for files that are no longer there. What apt says goes to out.
func Install(ctx context.Context, packages []string, out io.Writer) error {
	if _, err := exec.LookPath("apt-get"); err != nil {
		return ErrNoApt
	}
	if len(packages) == 0 {
		return nil
	}
	// One source of many that does not answer makes this fail, and may not matter.
	updateErr := asRoot(ctx, out, "apt-get", "-q", "update")
	args := append([]string{"apt-get", "-q", "install", "-y", "--no-install-recommends"}, packages...)
	if err := asRoot(ctx, out, args...); err != nil {
		return errors.Join(err, updateErr)
	}
	return nil
}

func asRoot(ctx context.Context, out io.Writer, args ...string) error {
	if os.Geteuid() != 0 {
		if _, err := exec.LookPath("sudo"); err != nil {
			return fmt.Errorf("run as root: %s", strings.Join(args, " "))
		}
		args = append([]string{"sudo"}, args...)
	}
	cmd := exec.CommandContext(ctx, args[0], args[1:]...)
	cmd.Env = append(os.Environ(), "DEBIAN_FRONTEND=noninteractive")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = os.Stdin, out, out
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("%s: %w", strings.Join(args, " "), err)
	}
	return nil
}
