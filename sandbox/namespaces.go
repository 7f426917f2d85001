package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// A process enters a user namespace only while it has one thread (unshare(2)), and Go's runtime has made others before the first line of a program runs. So entry,
// which is in assembly, is where a program that wants namespaces begins: it is linked with -ldflags "-E govmm/sandbox.entry", or with an entry of its own that jumps
// to this one. A user without privileges gets a user namespace, which gives the right to a mount namespace and to another root directory; a privileged process, which has
// that right and may need others before Apply, gets the mount namespace only. Apply gives all of it up.
func entry()

// linked tells whether the program began at entry, or might have. The entry of a command of ours sets it, too (cmd/govmm/entry_amd64.s).
var linked uint32

// Values of linked.
const (
	linkedPlain = iota // no
	linkedCould        // it has another entry, which has not gone on to this one
	linkedOff          // the same, because an option says so
	linkedEntry        // yes
)

// entered is what entry has found and done.
var entered entryState

type entryState struct {
	step     uint32
	errno    uint32 // of a call that failed
	uid, gid uint32 // before

	teller, socket uint32 // who tells of owners (owners.go): its number, and how it is reached
}

// Steps at which entry ends.
const (
	entryNone         = iota // it was not asked for
	entryCapabilities        // capget fails
	entryUnprivileged        // some capabilities, but not CAP_SYS_ADMIN
	entryPowerless           // root without capabilities, who may not map himself
	entryNobody              // the user has the number by which a user namespace shows all others
	entryMap                 // the map of users cannot be written
	entryAppArmor            // AppArmor restricts user namespaces of programs without a profile
	entryRefused             // unshare fails
	entryMount               // in a mount namespace
	entryUser                // in a user and a mount namespace
)

// For entry: bits of capabilities, and the number of users and groups that are not mapped (user_namespaces(7)).
const (
	sysAdmin         = 1 << unix.CAP_SYS_ADMIN
	keptCapabilities = sysAdmin | 1<<unix.CAP_SYS_CHROOT
	overflowID       = 65534
)

// Files that entry looks at, whose names end as C's strings do, and how the name of no profile begins.
var (
	uidMap            = "/proc/self/uid_map\x00"
	appArmorRestricts = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns\x00"
	appArmorProfile   = "/proc/self/attr/current\x00"
	unconfined        = "unconfin" // of 8 bytes
)

// unmapped is why FinishEntry has failed.
var unmapped error

// FinishEntry maps the user and his group into the namespace that the entry has put the process into, if it has, so that both have the numbers that they had. It is
// called first thing in main, before anything asks whose a file is. After an error all files seem to belong to one user, who is this process's, and the namespaces are a
// layer that is missing.
func FinishEntry() error {
	if entered.step != entryUser {
		return nil
	}
	for _, m := range []struct{ file, text string }{
		{"/proc/self/setgroups", "deny"}, // without which gid_map is not for users without privileges
		{"/proc/self/uid_map", fmt.Sprintf("%d %[1]d 1", entered.uid)},
		{"/proc/self/gid_map", fmt.Sprintf("%d %[1]d 1", entered.gid)},
	} {
		if err := write(m.file, m.text); err != nil {
			unmapped = fmt.Errorf("%s: %w", m.file, err)
			return unmapped
		}
	}
	return nil
}

// OwnersKnown tells whether FinishEntry has left the process able to tell whose files are.
func OwnersKnown() bool { return unmapped == nil }

// write writes to a file as a whole, and does not need the poller.
func write(path, text string) error {
	fd, err := unix.Open(path, unix.O_WRONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	_, err = unix.Write(fd, []byte(text))
	return errors.Join(err, unix.Close(fd))
}

// namespaceLayer tells what the entry has come to.
func namespaceLayer() Layer { return entered.layer() }

func (s entryState) layer() Layer {
	missing := func(detail, remedy string) Layer { return Layer{Name: "namespaces", Detail: detail, Remedy: remedy} }
	errno := syscall.Errno(s.errno)
	switch s.step {
	case entryUser:
		if unmapped != nil {
			return missing(unmapped.Error(), "--sandbox=off does without")
		}
		if errno != 0 {
			return missing("capset: "+errno.Error(), "--sandbox=off does without")
		}
		return Layer{Name: "namespaces", Have: true, Detail: "a user and a mount namespace"}
	case entryMount:
		return Layer{Name: "namespaces", Have: true, Detail: "a mount namespace; users without privileges get a user namespace too"}
	case entryNone:
		return missing(notEntered())
	case entryCapabilities:
		return missing("capget: "+errno.Error(), "let the container that this runs in use capget")
	case entryUnprivileged:
		return missing("there are privileges, but not CAP_SYS_ADMIN", "run govmm without privileges, or give the container that this runs in CAP_SYS_ADMIN")
	case entryPowerless:
		return missing("root without capabilities cannot have them", "run govmm as another user")
	case entryNobody:
		return missing(fmt.Sprintf("user or group %d stands for all others in them", overflowID), "run govmm as another user")
	case entryMap:
		return missing("/proc/self/uid_map: "+errno.Error(), mapRemedy(errno))
	case entryAppArmor:
		return missing("restricted by AppArmor", "as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give govmm a profile with userns")
	}
	return missing("unshare: "+errno.Error(), refusalRemedy(errno))
}

// notEntered says why a program did not come to entry, and what to do.
func notEntered() (detail, remedy string) {
	switch linked {
	case linkedPlain:
		return "this program is linked without the entry that makes them", "build it with make build"
	case linkedOff:
		return "an argument is --sandbox=off", "leave it out"
	}
	return "the first argument is not the command", "put flags behind boot or run"
}

// mapRemedy is what helps where the map of users cannot be written.
func mapRemedy(errno syscall.Errno) string {
	if errno == unix.EACCES {
		return "let the user read govmm's file, and do not have it set its user or group"
	}
	return "mount /proc for reading and writing"
}

// refusalRemedy is what helps where unshare fails.
func refusalRemedy(errno syscall.Errno) string {
	switch errno {
	case unix.ENOSPC:
		return "as root: sysctl -w user.max_user_namespaces=10000 user.max_mnt_namespaces=10000"
	case unix.EINVAL:
		return "a host kernel with CONFIG_USER_NS"
	case unix.EACCES:
		return "let the host's security module (SELinux: user_namespace create) allow it"
	}
	return "let the container, service or chroot that this runs in use unshare; on a host of Debian's, as root: sysctl -w kernel.unprivileged_userns_clone=1"
}

// offeredNamespaces tells what the entry would come to, in a process that has not asked for it.
func offeredNamespaces() Layer {
	if entered.step != entryNone || linked == linkedPlain {
		return namespaceLayer()
	}
	return tryNamespaces().layer()
}

// tryNamespaces has a child enter them that then runs no program.
func tryNamespaces() entryState {
	attr := &syscall.SysProcAttr{Cloneflags: unix.CLONE_NEWNS}
	s := entryState{step: entryMount}
	have, err := capabilities()
	switch {
	case err != nil:
		return failedEntry(entryCapabilities, err)
	case have.any() && !have.effective(unix.CAP_SYS_ADMIN):
		return entryState{step: entryUnprivileged}
	case !have.any() && os.Geteuid() == 0:
		return entryState{step: entryPowerless}
	case !have.any() && (os.Geteuid() == overflowID || os.Getegid() == overflowID):
		return entryState{step: entryNobody}
	case !have.any() && appArmorForbids():
		return entryState{step: entryAppArmor}
	case !have.any():
		if err := unix.Faccessat(unix.AT_FDCWD, strings.TrimRight(uidMap, "\x00"), unix.W_OK, 0); err != nil {
			return failedEntry(entryMap, err)
		}
		s.step = entryUser
		attr.Cloneflags |= unix.CLONE_NEWUSER
		attr.UidMappings = []syscall.SysProcIDMap{{ContainerID: os.Geteuid(), HostID: os.Geteuid(), Size: 1}}
		attr.GidMappings = []syscall.SysProcIDMap{{ContainerID: os.Getegid(), HostID: os.Getegid(), Size: 1}}
	}
	const none = "" // which no file has for a name
	if _, err := syscall.ForkExec(none, nil, &syscall.ProcAttr{Sys: attr}); err != unix.ENOENT {
		return failedEntry(entryRefused, err)
	}
	return s
}

// appArmorForbids is what entry looks at, too: it would let this process write the map of a child's.
func appArmorForbids() bool {
	restricts, _ := os.ReadFile(strings.TrimRight(appArmorRestricts, "\x00"))
	profile, _ := os.ReadFile(strings.TrimRight(appArmorProfile, "\x00"))
	return bytes.HasPrefix(restricts, []byte("1")) && bytes.HasPrefix(profile, []byte(unconfined))
}

func failedEntry(step uint32, err error) entryState {
	s := entryState{step: step}
	if errno, ok := errors.AsType[syscall.Errno](err); ok {
		s.errno = uint32(errno)
	}
	return s
}
