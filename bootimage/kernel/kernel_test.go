package kernel

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func mustNew(t *testing.T, extra ...string) Config {
	t.Helper()
	c, err := New(extra...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFragments(t *testing.T) {
	files, err := fragments.ReadDir(".")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	// Each option in one place, so that no fragment takes back what another one of the base says.
	seen := make(map[string]string)
	for _, name := range base {
		var c Config
		c.values = make(map[string]string)
		if err := c.readOwn(name); err != nil {
			t.Fatal(err)
		}
		for _, option := range c.names {
			if other, ok := seen[option]; ok {
				t.Errorf("%s is in %s and in %s", option, other, name)
			}
			seen[option] = name
		}
	}
	for _, f := range files {
		mustNew(t, strings.TrimSuffix(f.Name(), extension))
	}
}

func TestOwnFragment(t *testing.T) {
	file := filepath.Join(t.TempDir(), "mine.config")
	text := "# CONFIG_SMP is not set\n\n# a comment\nCONFIG_NEW=\"a = b\"\nCONFIG_HZ=7\n"
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	c := mustNew(t, file)
	s := "\n" + c.String()
	for _, want := range []string{"\n# CONFIG_SMP is not set\n", "\nCONFIG_NEW=\"a = b\"\n", "\nCONFIG_HZ=7\n", "\nCONFIG_64BIT=y\n"} {
		if !strings.Contains(s, want) {
			t.Errorf("no %q in %s", want, s)
		}
	}
	if strings.Contains(s, "CONFIG_SMP=y") {
		t.Error("the base says otherwise still")
	}
	if got := Label("debug", file); got != "tiny-debug-mine" {
		t.Errorf("label %q", got)
	}
}

func TestFaultyFragments(t *testing.T) {
	for name, text := range map[string]string{
		"word":     "CONFIG_A=y\nfast\n",
		"no value": "CONFIG_A=\n",
		"no name":  "A=y\n",
	} {
		file := filepath.Join(t.TempDir(), "f.config")
		if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
		if _, err := New(file); err == nil || !strings.Contains(err.Error(), file+":") {
			t.Errorf("%s: %v", name, err)
		}
	}
	for _, name := range []string{"nothing", "/nonexistent.config", "../kernel"} {
		if _, err := New(name); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestCheck(t *testing.T) {
	c := Config{values: make(map[string]string)}
	if err := c.add("x", "CONFIG_A=y\n# CONFIG_B is not set\n# CONFIG_C is not set\nCONFIG_D=5\nCONFIG_E=\"x\"\n"); err != nil {
		t.Fatal(err)
	}
	if err := c.Check("CONFIG_E=\"x\"\nCONFIG_D=5\n# CONFIG_B is not set\nCONFIG_A=y\nCONFIG_OTHER=y\n"); err != nil {
		t.Error(err)
	}
	err := c.Check("CONFIG_B=y\nCONFIG_D=6\nCONFIG_E=\"x\"\n")
	if err == nil {
		t.Fatal("no error")
	}
	want := "CONFIG_A=y has become n\nCONFIG_B=n has become y\nCONFIG_D=5 has become 6"
	if err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}
