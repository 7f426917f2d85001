package sandbox

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"golang.org/x/sys/unix"
)

// linkedTest makes this test once more, linked as programs with namespaces are, where others may run it. The command go test has no flags for one package.
var linkedTest = sync.OnceValues(func() (path string, err error) {
	dir, err := os.MkdirTemp("", "govmm-sandbox-")
	if err != nil {
		return "", err
	}
	linkedDir = dir
	path = filepath.Join(dir, "linked")
	c := exec.Command("go", "test", "-c", "-ldflags", "-E govmm/sandbox.entry", "-o", path, ".")
	if text, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, text)
	}
	return path, os.Chmod(dir, 0o755)
})

// linkedDir is removed when all tests have run.
var linkedDir string

// A user is who runs a program. Root's is a mount namespace only.
type user struct {
	name       string
	credential *syscall.Credential
}

// users are those that this process can be.
func users() []user {
	if os.Geteuid() != 0 {
		return []user{{"this user", nil}}
	}
	return []user{{"root", nil}, {"another", &syscall.Credential{Uid: 1000, Gid: 1000}}, {"of groups", &syscall.Credential{Uid: 1001, Gid: 1002, Groups: []uint32{1003}}}}
}

func (u user) privileged() bool { return u.credential == nil && os.Geteuid() == 0 }

// linkedDeed is the command for a deed that begins in namespaces. Tests in the test host hold that there are some (cmd/govmm); a host that refuses them is told.
func linkedDeed(t *testing.T, u user, name string) *exec.Cmd {
	t.Helper()
	path, err := linkedTest()
	if err != nil {
		t.Fatal(err)
	}
	command := func(name string) *exec.Cmd {
		c := exec.CommandContext(t.Context(), path)
		c.Env = append(os.Environ(), deedVariable+"="+name)
		c.Dir = "/"
		c.SysProcAttr = &syscall.SysProcAttr{Credential: u.credential}
		return c
	}
	why, err := command("namespaces: which").Output()
	if err != nil {
		t.Fatal(err)
	}
	if len(why) > 0 {
		t.Skipf("%s cannot have namespaces here: %s", u.name, why)
	}
	return command(name)
}

// TestNamespaces looks at processes that have begun in namespaces from outside: they have numbers of their own, an empty root directory, and no capabilities, and
// belong to the user to whom they belonged.
func TestNamespaces(t *testing.T) {
	for _, u := range users() {
		t.Run(u.name, func(t *testing.T) {
			c := linkedDeed(t, u, "wait")
			startWaiting(t, c)
			dir := fmt.Sprintf("/proc/%d", c.Process.Pid)
			for name, own := range map[string]bool{"mnt": true, "user": !u.privileged(), "net": false, "pid": false} {
				was, err1 := os.Readlink("/proc/self/ns/" + name)
				is, err2 := os.Readlink(dir + "/ns/" + name)
				if err := errors.Join(err1, err2); err != nil || (was != is) != own {
					t.Errorf("the %s namespace is %s, and was %s (%v)", name, is, was, err)
				}
			}
			if root, err := os.Readlink(dir + "/root"); !strings.HasSuffix(root, "/fdinfo") {
				t.Errorf("the root directory is %s, %v", root, err)
			}
			uid := os.Geteuid()
			if u.credential != nil {
				uid = int(u.credential.Uid)
			}
			for _, status := range threads(t, dir) {
				matchAll(t, status, fmt.Sprintf(`Uid:\s%d\s%[1]d\s%[1]d\s%[1]d\n`, uid), `NoNewPrivs:\s1\n`, `Seccomp:\s2\n`, `CapPrm:\s0+\n`, `CapEff:\s0+\n`, `CapInh:\s0+\n`)
			}
		})
	}
}

// TestInNamespaces has deeds done by processes that have begun in namespaces.
func TestInNamespaces(t *testing.T) {
	for _, u := range users() {
		for _, name := range []string{"live", "readable: a file below", "namespaces: whose", "namespaces: modes", "namespaces: unseen", "namespaces: a file and a link"} {
			if name == "namespaces: modes" && u.privileged() {
				continue // who may do everything
			}
			t.Run(u.name+": "+name, func(t *testing.T) {
				c := linkedDeed(t, u, name)
				var stderr bytes.Buffer
				c.Stderr = &stderr
				if err := c.Run(); err != nil {
					t.Errorf("%v, %s", err, stderr.String())
				}
			})
		}
	}
}

// linkedForRoot is linkedTest for what takes root to arrange.
func linkedForRoot(t *testing.T) string {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can arrange this: sudo go test ./sandbox")
	}
	path, err := linkedTest()
	if err != nil {
		t.Fatal(err)
	}
	return path
}

// TestRefusedNamespaces has users without privileges begin where namespaces cannot be had, or would do harm: the process begins without them, and says why.
func TestRefusedNamespaces(t *testing.T) {
	path := linkedForRoot(t)
	plain := copyOfTest(t, filepath.Dir(path))
	const as = "exec setpriv --clear-groups --reuid 1000 --regid 1000 "
	for _, test := range []struct{ name, arrange, want string }{
		{"nobody", "exec setpriv --clear-groups --reuid 65534 --regid 1000 ", "user or group 65534 stands for all others in them; run govmm as another user"},
		{"nogroup", "exec setpriv --clear-groups --reuid 1000 --regid 65534 ", "user or group 65534 stands for all others in them; run govmm as another user"},
		{"some privileges", "exec setpriv --bounding-set -sys_admin --inh-caps -sys_admin ", "there are privileges, but not CAP_SYS_ADMIN; run govmm without privileges, or give the container that this runs in CAP_SYS_ADMIN"},
		{"no privileges", "exec setpriv --bounding-set -all --inh-caps -all ", "root without capabilities cannot have them; run govmm as another user"},
		{"read-only /proc", "mount -o remount,ro,bind /proc; " + as, "/proc/self/uid_map: read-only file system; mount /proc for reading and writing"},
		{"no /proc", "mount -t tmpfs none /proc; " + as, "/proc/self/uid_map: no such file or directory; mount /proc for reading and writing"},
		{"another root directory", "mount --rbind / /mnt; exec chroot --userspec 1000:1000 --groups= /mnt ", "unshare: operation not permitted; let the container, service or chroot that this runs in use unshare; on a host of Debian's, as root: sysctl -w kernel.unprivileged_userns_clone=1"},
		{"AppArmor", appArmor("unconfined") + as, "restricted by AppArmor; as root: sysctl -w kernel.apparmor_restrict_unprivileged_userns=0, or give govmm a profile with userns"},
		{"AppArmor with a profile", appArmor("govmm (unconfined)") + as, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			for deed, program := range map[string]string{"namespaces: which": path, "namespaces: offered": plain} {
				c := exec.CommandContext(t.Context(), "unshare", "-m", "sh", "-e", "-c", test.arrange+program)
				c.Env = append(os.Environ(), deedVariable+"="+deed)
				text, err := c.CombinedOutput()
				if err != nil || strings.TrimSpace(string(text)) != test.want {
					t.Errorf("%s: %v, %q; want %q", deed, err, text, test.want)
				}
			}
		})
	}
}

// TestRefusedMap has the map of users refused when the process is in the namespace already, as a security module may: it goes on, and knows that it does not know whose files are.
func TestRefusedMap(t *testing.T) {
	path := linkedForRoot(t)
	c := exec.CommandContext(t.Context(), "unshare", "-m", "sh", "-e", "-c", "mount --bind /dev/full /proc/$$/setgroups; exec setpriv --clear-groups --reuid 1000 --regid 1000 "+path)
	c.Env = append(os.Environ(), deedVariable+"=namespaces: which")
	text, err := c.CombinedOutput()
	if want := "owners unknown\n/proc/self/setgroups: no space left on device; --sandbox=off does without\n"; err != nil || string(text) != want {
		t.Errorf("%v, %q; want %q", err, text, want)
	}
}

// copyOfTest puts this program where others may run it.
func copyOfTest(t *testing.T, dir string) string {
	t.Helper()
	self, err := os.ReadFile("/proc/self/exe")
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(dir, "plain")
	if err := os.WriteFile(path, self, 0o755); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestMountsStay has root's process make itself a root directory where mounts are shared with others, as they are under systemd: nothing of it becomes theirs.
func TestMountsStay(t *testing.T) {
	path := linkedForRoot(t)
	c := exec.CommandContext(t.Context(), "unshare", "-m", "sh", "-e", "-c", "mount --make-rshared /; cat /proc/self/mountinfo; echo; "+path+"; cat /proc/self/mountinfo")
	c.Env = append(os.Environ(), deedVariable+"=namespaces: unseen")
	text, err := c.CombinedOutput()
	before, after, _ := strings.Cut(string(text), "\n\n")
	if err != nil || before == "" || strings.TrimSpace(after) != strings.TrimSpace(before) {
		t.Errorf("%v; before:\n%s\nafter:\n%s", err, before, after)
	}
}

// appArmor gives commands that make what a process sees of AppArmor where user namespaces are restricted.
func appArmor(profile string) string {
	return "mount -t tmpfs none /proc/sys/kernel; echo 1 >/proc/sys/kernel/apparmor_restrict_unprivileged_userns; " +
		"mount -t tmpfs none /mnt; echo '" + profile + "' >/mnt/profile; mount --bind /mnt/profile /proc/$$/attr/current; "
}

func init() {
	deeds["namespaces: which"] = deed{plain: true, do: sayWhich}
	deeds["namespaces: offered"] = deed{plain: true, do: sayOffered}
	deeds["namespaces: whose"] = deed{before: rememberOwner, do: func() error { return firstError }}
	deeds["namespaces: modes"] = deed{before: tryModes, do: func() error { return firstError }}
	deeds["namespaces: unseen"] = deed{policy: readable, do: seeNothingElse}
	deeds["namespaces: a file and a link"] = deed{policy: fileAndLink, do: seeFileByLink}
}

// sayWhich writes why there are no namespaces.
func sayWhich() error {
	if !OwnersKnown() {
		fmt.Println("owners unknown")
	}
	if l := namespaceLayer(); !l.Have {
		fmt.Printf("%s; %s\n", l.Detail, l.Remedy)
	}
	return nil
}

// sayOffered writes what a program that has not come to entry finds out.
func sayOffered() error {
	linked = linkedCould
	if l := offeredNamespaces(); !l.Have {
		fmt.Printf("%s; %s\n", l.Detail, l.Remedy)
	}
	return nil
}

// firstError is what was wrong before the sandbox.
var firstError error

// rememberOwner holds that a new file's owner is this user to this process.
func rememberOwner() {
	f, err := os.CreateTemp("", "govmm-owner-")
	if err != nil {
		firstError = err
		return
	}
	defer os.Remove(f.Name())
	defer f.Close()
	var st unix.Stat_t
	err = unix.Fstat(int(f.Fd()), &st)
	if st.Uid != uint32(os.Geteuid()) || st.Gid != uint32(os.Getegid()) || st.Uid == overflowID {
		firstError = fmt.Errorf("user %d and group %d own a file of user %d and group %d (%v)", st.Uid, st.Gid, os.Geteuid(), os.Getegid(), err)
	}
}

// tryModes holds that the user namespace gives no right to files that their modes do not give.
func tryModes() {
	f, err := os.CreateTemp("", "govmm-mode-")
	if err != nil {
		firstError = err
		return
	}
	defer os.Remove(f.Name())
	f.Close()
	if firstError = os.Chmod(f.Name(), 0o400); firstError != nil {
		return
	}
	if f, err := os.OpenFile(f.Name(), os.O_RDWR, 0); !errors.Is(err, fs.ErrPermission) {
		firstError = fmt.Errorf("a file for reading was opened for writing (%v)", err)
		f.Close()
	}
}

// seeNothingElse holds that not even the existence of what is not readable can be found out.
func seeNothingElse() error {
	for _, path := range []string{"/etc", "/proc", "/root", "/../etc/passwd", "/usr/../etc"} {
		if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
			return fmt.Errorf("%s: %v", path, err)
		}
	}
	_, err := os.Stat("/usr/bin/env")
	return err
}

// fileAndLink leaves a single file, and a link to it.
func fileAndLink() Policy {
	return Policy{Readable: []string{"/etc/passwd"}, Links: map[string]string{"/etc/name": "/etc/passwd", "/run/name": "../etc/name"}}
}

func seeFileByLink() error {
	if _, err := os.Stat("/etc/group"); !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("/etc/group: %v", err)
	}
	for _, path := range []string{"/etc/passwd", "/etc/name", "/run/name"} {
		if err := readSome(path); err != nil {
			return err
		}
	}
	return nil
}
