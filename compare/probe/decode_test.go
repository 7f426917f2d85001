package probe

import (
	"strings"
	"testing"
)

func TestDecode(t *testing.T) {
	const good = " {\"units\":1,\"nanoseconds\":2}\r\n"
	if w, err := Decode[Work]([]byte(good)); err != nil || w != (Work{Units: 1, Nanoseconds: 2}) {
		t.Errorf("%+v, %v", w, err)
	}
	for _, bad := range []string{
		"", "null", "[]", "1", good + "x", good + good, `{"units":1`, `{"units":-1}`, `{"units":"1"}`, `{"more":1}`, `{"result":"` + strings.Repeat("x", MaxLine) + `"}`,
	} {
		if w, err := Decode[Work]([]byte(bad)); err == nil || w != (Work{}) {
			t.Errorf("%.40q: %+v, %v", bad, w, err)
		}
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"kernel":{"release":"6.12"},"mounts":[{"target":"/"}]}`))
	f.Add([]byte(`{"samples":[1,2]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		_, _ = Decode[Facts](b)
		if w, err := Decode[Work](b); err != nil && w != (Work{}) {
			t.Errorf("%+v with %v", w, err)
		}
	})
}
