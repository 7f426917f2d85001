package guest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestLookUser(t *testing.T) {
	dir := t.TempDir()
	files := userFiles{filepath.Join(dir, "passwd"), filepath.Join(dir, "group")}
	for path, text := range map[string]string{
		files.passwd: "root:x:0:0:root:/root:/bin/sh\nbroken\nann:x:1000:100:Ann:/home/ann:/bin/sh\n",
		files.group:  "root:x:0:\nusers:x:100:ann\naudio:x:29:bob,ann\n",
	} {
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	for text, want := range map[string]string{
		"":               "{0 0 [] /root} <nil>",
		"ann":            "{1000 100 [100 29] /home/ann} <nil>",
		"1000":           "{1000 100 [100 29] /home/ann} <nil>",
		"ann:audio":      "{1000 29 [] /home/ann} <nil>",
		"5:6":            "{5 6 [] /} <nil>",
		"eve":            `{0 0 [] /} user "eve" is not in the guest's /etc/passwd`,
		"ann:wheel":      `{1000 100 [100 29] /home/ann} group "wheel" is not in the guest's /etc/group`,
		"-1":             `{0 0 [] /} user "-1" is not in the guest's /etc/passwd`,
		"99999999999999": `{0 0 [] /} user "99999999999999" is not in the guest's /etc/passwd`,
	} {
		u, err := files.look(text)
		if got := fmt.Sprint(u, err); got != want {
			t.Errorf("%q: %s, want %s", text, got, want)
		}
	}
}
