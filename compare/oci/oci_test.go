package oci

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	specs "github.com/opencontainers/runtime-spec/specs-go"
)

func TestSplit(t *testing.T) {
	for line, want := range map[string][]string{
		"a  b\tc":            {"a", "b", "c"},
		`a 'b c' "d 'e"`:     {"a", "b c", "d 'e"},
		`a"b c"d ''`:         {"ab cd", ""},
		"a $HOME *":          {"a", "$HOME", "*"},
		"":                   nil,
		" 'x{bundle}y'{id} ": {"x{bundle}y{id}"},
	} {
		if got, err := split(line); err != nil || !slices.Equal(got, want) {
			t.Errorf("%q: %q, %v", line, got, err)
		}
	}
	if _, err := split("a 'b"); err == nil {
		t.Error("half a quotation was taken")
	}
}

func TestFind(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	for _, name := range known {
		if _, err := Find(name); err == nil || !strings.Contains(err.Error(), "apt-get install "+name) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if list := Installed(); len(list) != 0 {
		t.Errorf("installed: %v", list)
	}
	if _, err := Find("/nonexistent/runtime"); err == nil {
		t.Error("no error")
	}
}

func TestTemplate(t *testing.T) {
	for _, bad := range []string{"", "true {id}", "true {bundle}", "nonexistent {bundle} {id}", "'true {bundle} {id}"} {
		if _, err := FromTemplate(bad); err == nil || strings.Contains(err.Error(), "\n") {
			t.Errorf("%q: %v", bad, err)
		}
	}
	r, err := FromTemplate("echo -b={bundle} '{id} x'")
	if err != nil {
		t.Fatal(err)
	}
	c, dir := bundle(t, r, "true")
	out, err := c.Command(t.Context()).Output()
	if want := "-b=" + c.bundle() + " " + c.ID() + " x\n"; err != nil || string(out) != want {
		t.Errorf("%q, want %q (%v)", out, want, err)
	}
	remove(t, c, dir)
}

// TestStale has a directory that an earlier process left.
func TestStale(t *testing.T) {
	r, dir := &Runtime{name: "none", path: "/nonexistent"}, t.TempDir()
	first, err := r.New(dir, Config{Root: "/"})
	if err != nil {
		t.Fatal(err)
	}
	containers.Add(-1)
	second, err := r.New(dir, Config{Root: "/"})
	if err != nil || second.ID() == first.ID() {
		t.Errorf("%s again: %v", first.ID(), err)
	}
}

func TestSpecification(t *testing.T) {
	c := Config{Root: "/r", ReadOnly: true, Args: []string{"a"}, Dir: "/", Mounts: []Mount{{"/s", "/t", true}}}
	has := func(s *specs.Spec, kind specs.LinuxNamespaceType) bool {
		return slices.ContainsFunc(s.Linux.Namespaces, func(n specs.LinuxNamespace) bool { return n.Type == kind })
	}
	s := specification(c, "/g", 0, 0)
	if !s.Root.Readonly || s.Linux.CgroupsPath != "/g" || has(s, specs.UserNamespace) || !has(s, specs.NetworkNamespace) || s.Process.Terminal {
		t.Errorf("root's: %+v", s)
	}
	if last := s.Mounts[len(s.Mounts)-1]; last.Destination != "/t" || !slices.Equal(last.Options, []string{"bind", "ro"}) {
		t.Errorf("mount %+v", last)
	}
	c.HostNetwork = true
	s = specification(c, "/g", 1000, 100)
	if s.Linux.CgroupsPath != "" || !has(s, specs.UserNamespace) || has(s, specs.NetworkNamespace) || s.Linux.UIDMappings[0].HostID != 1000 || s.Linux.GIDMappings[0].HostID != 100 {
		t.Errorf("an ordinary user's: %+v", s)
	}
	for _, m := range s.Mounts {
		if m.Type == "sysfs" || m.Destination == "/dev/pts" && slices.Contains(m.Options, "gid=5") {
			t.Errorf("an ordinary user cannot mount %+v", m)
		}
	}
}

func TestConfigIsPrivate(t *testing.T) {
	c, dir := bundle(t, &Runtime{name: "none", path: "/nonexistent"}, "true")
	name := filepath.Join(c.bundle(), "config.json")
	info, err := os.Stat(name)
	if err != nil || info.Mode() != 0o600 {
		t.Errorf("%v, %v", info.Mode(), err)
	}
	text, err := os.ReadFile(name)
	if err != nil || !json.Valid(text) {
		t.Errorf("%s: %v", text, err)
	}
	remove(t, c, dir)
}
