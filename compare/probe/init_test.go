package probe

import (
	"bytes"
	"strings"
	"testing"
)

func consoleOf(t testing.TB, facts ...Facts) []byte {
	b := bytes.NewBufferString("[    0.0] Linux\r\n")
	for _, f := range facts {
		b.WriteString(consoleMarker)
		if err := say(b, f); err != nil {
			t.Fatal(err)
		}
	}
	b.WriteString("[    1.0] reboot: Power down\r\n")
	return b.Bytes()
}

func TestFromConsole(t *testing.T) {
	want := Facts{CPUs: 3, Hostname: "h"}
	text := consoleOf(t, want, want)
	broken := bytes.Replace(text, []byte(`"cpus":3`), []byte("[ 1.0] message\r\n\"cpus\":3"), 1)
	for _, output := range [][]byte{text, bytes.ReplaceAll(text, []byte("}\n"), []byte("}\r\n")), broken, append([]byte(consoleMarker), text...)} {
		if f, err := FromConsole(output); err != nil || f.CPUs != 3 || f.Hostname != "h" {
			t.Errorf("%+v, %v in %q", f, err, output)
		}
	}
	for _, output := range []string{"", consoleMarker, consoleMarker + "{}x", "{}", strings.Repeat(consoleMarker, 3)} {
		if f, err := FromConsole([]byte(output)); err == nil {
			t.Errorf("%+v in %q", f, output)
		}
	}
}

func FuzzFromConsole(f *testing.F) {
	f.Add(consoleOf(f, Facts{CPUs: 3}))
	f.Add([]byte(consoleMarker + "{" + consoleMarker + "{}\n"))
	f.Fuzz(func(t *testing.T, b []byte) {
		if facts, err := FromConsole(b); err != nil && facts.CPUs != 0 {
			t.Errorf("%+v with %v", facts, err)
		}
	})
}
