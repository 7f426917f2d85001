//go:build lessonstest

package lessons

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// commandLimit is for one command. The emulated test host is slow.
const commandLimit = 5 * time.Minute

// TestCommands runs the commands of all pages, in the repository's directory as a reader does, and compares what they print. With -update the page gets
// what was printed in place of what does not match; the author then puts … where it is not the same each time.
func TestCommands(t *testing.T) {
	for _, p := range pages(t) {
		t.Run(strings.TrimSuffix(p.name, ".md"), func(t *testing.T) {
			changed := false
			for _, c := range slices.Backward(p.commands) { // so that an update does not move those still to come
				t.Run(c.text, func(t *testing.T) {
					got := runCommand(t, c)
					if matches(c.want, got) {
						return
					}
					t.Errorf("%s:%d: $ %s\n--- the page shows\n%s\n--- it prints\n%s\n--- the first line that is not as the page shows it\n%s",
						p.name, c.first, c.text, strings.Join(c.want, "\n"), strings.Join(got, "\n"), firstMissing(c.want, got))
					p.lines = slices.Replace(p.lines, c.first, c.first+len(c.want), got...)
					changed = true
				})
			}
			if *update && changed {
				if err := os.WriteFile(p.name, []byte(strings.Join(p.lines, "\n")+"\n"), 0o644); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

func runCommand(t *testing.T, c command) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), commandLimit)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-c", c.text)
	cmd.Env = environment(t)
	cmd.Dir = root
	cmd.WaitDelay = 5 * time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		t.Fatalf("not done in %v\n%s", commandLimit, out)
	}
	if (err != nil) != c.fails {
		t.Errorf("$ %s\n%s\nends with %v; a block whose commands fail is one of the language \"console fails\"", c.text, out, err)
	}
	return lines(string(out))
}

// environment is the reader's. Without a /dev/kvm it is what lesson 1 says then: go run and go test run what they have built in the test host.
func environment(t *testing.T) []string {
	t.Helper()
	if f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0); err == nil {
		f.Close()
		return os.Environ()
	}
	nested, err := filepath.Abs(filepath.Join(root, "bin/nested"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(nested); err != nil {
		t.Fatalf("%v (make setup)", err)
	}
	return append(os.Environ(), "GOFLAGS="+os.Getenv("GOFLAGS")+" -exec="+nested)
}
