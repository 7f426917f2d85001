package resolvconf

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

func TestServers(t *testing.T) {
	path := filepath.Join(t.TempDir(), "resolv.conf")
	for _, c := range []struct {
		text string
		want string
	}{
		{"", "[]"},
		{"# nameserver 1.1.1.1\nsearch example.com\n", "[]"},
		{"nameserver 192.0.2.1\nnameserver 2001:db8::1\nnameserver fe80::1%lo\nnameserver 192.0.2.4\n", "[192.0.2.1 2001:db8::1 fe80::1%lo]"},
		{"nameserver\nnameserver x\n\tnameserver\t::ffff:192.0.2.1 # first", "[192.0.2.1]"},
	} {
		if err := os.WriteFile(path, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, err := Servers(path)
		if fmt.Sprint(got) != c.want || err != nil {
			t.Errorf("%q: %s, %v, want %s", c.text, got, err, c.want)
		}
	}
	if got, err := Servers(filepath.Dir(path)); got != nil || err == nil {
		t.Errorf("a directory names %v, %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	f.Add([]byte("nameserver 192.0.2.1\nnameserver fe80::1%lo\n"))
	f.Fuzz(func(t *testing.T, p []byte) {
		if n := len(parse(p)); n > maxServers {
			t.Errorf("%d servers", n)
		}
	})
}
