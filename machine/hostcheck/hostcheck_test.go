package hostcheck

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// TestOpenFault holds that each way in which the device cannot be opened names what to do.
func TestOpenFault(t *testing.T) {
	for _, tt := range []struct {
		err    error
		remedy string
	}{
		{fs.ErrNotExist, "modprobe kvm"},
		{unix.ENODEV, "modprobe kvm"},
		{unix.EACCES, "as root"},
		{unix.EPERM, "--device"},
		{unix.ENOTTY, "path of a KVM device"},
	} {
		detail, remedy := openFault("/dev/kvm", fmt.Errorf("open: %w", tt.err))
		if detail == "" || !strings.Contains(remedy, tt.remedy) {
			t.Errorf("%v: %q, remedy %q; want %q in it", tt.err, detail, remedy, tt.remedy)
		}
	}
}

// TestCheckWithout looks at hosts on which there is no KVM.
func TestCheckWithout(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, path := range []string{"/nonexistent/kvm", file, "/dev/null"} {
		r := Check(path)
		if r.CanBoot {
			t.Errorf("%s: Linux is said to boot", path)
		}
		first := r.Items[0]
		if first.Name != path || first.Status != Missing || first.Remedy == "" {
			t.Errorf("%s: %+v", path, first)
		}
		if len(r.Items) < 3 {
			t.Errorf("%s: the rest of the host was not looked at", path)
		}
	}
}

func TestReportJSON(t *testing.T) {
	b, err := json.Marshal(Report{Items: []Item{{Name: "n", Status: OK, Detail: "d"}}, CanBoot: true})
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"items":[{"name":"n","status":"ok","detail":"d"}],"can_boot":true}`; string(b) != want {
		t.Errorf("%s, want %s", b, want)
	}
}
