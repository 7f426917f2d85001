package child

import (
	"context"
	"os/exec"
	"strings"
	"testing"
	"time"
)

func TestLastLine(t *testing.T) {
	for text, want := range map[string]string{
		"": "", "one": "one", "one\ntwo\n\n": "two", "a\x1b[1m\x00b\u009bc": "a[1mbc",
		strings.Repeat("é", maxLine): strings.Repeat("é", maxLine/2), "\xff" + "x": "x",
	} {
		if got := LastLine([]byte(text)); got != want {
			t.Errorf("%q: %q, want %q", text, got, want)
		}
	}
}

func TestHead(t *testing.T) {
	h := &Head{Limit: 4}
	for _, p := range []string{"ab", "cde", "f"} {
		if n, err := h.Write([]byte(p)); n != len(p) || err != nil {
			t.Error(n, err)
		}
	}
	if string(h.Bytes()) != "abcd" {
		t.Errorf("%q", h.Bytes())
	}
}

// TestBind has a command's child hold the output open when the context has ended.
func TestBind(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	cmd := exec.CommandContext(ctx, "sh", "-c", "sleep 1000 & sleep 1000")
	Bind(cmd)
	cmd.Stdout = &Head{Limit: 1}
	if err := cmd.Run(); err == nil {
		t.Error("it ended by itself")
	}
}
