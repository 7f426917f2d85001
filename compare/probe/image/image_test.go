package image

import (
	"bytes"
	"testing"

	"govmm/bootimage/initramfs"
)

func TestInitramfs(t *testing.T) {
	var b bytes.Buffer
	if err := Initramfs(&b, []byte("program")); err != nil {
		t.Fatal(err)
	}
	found := false
	for r := initramfs.NewReader(&b); ; {
		h, err := r.Next()
		if err != nil {
			break
		}
		found = found || h.Name == "init" && h.Mode.Perm() == 0o755
	}
	if !found {
		t.Error("there is no init")
	}
}
