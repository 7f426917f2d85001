package report

import (
	"math"
	"reflect"
	"strings"
	"testing"
)

func TestJSON(t *testing.T) {
	r := sample(t)
	again, err := ReadJSON(strings.NewReader(write(t, r, "JSON")))
	if err != nil || !reflect.DeepEqual(r, again) {
		t.Fatalf("came back otherwise: %v", err)
	}
	odd := &Report{Host: Host{CPU: "\u009b\U000e0001\u202e"}}
	again, err = ReadJSON(strings.NewReader(write(t, odd, "JSON")))
	if err != nil || again.Host.CPU != odd.Host.CPU || again.Version != Version || odd.Version != 0 {
		t.Errorf("came back as %+v, %v", again, err)
	}
}

func TestReadJSONErrors(t *testing.T) {
	for text, want := range map[string]string{
		"":                             "end of JSON",
		`{}`:                           "version 0",
		`{"version":2,"claims":"new"}`: "version 2, where this govmm knows 1",
		`{"version":1,"claims":"new"}`: "claims",
		`{"version":1}{}`:              "after top-level value",
		`{"version":1` + strings.Repeat(" ", mostJSON) + "}": "larger than 32.0 MiB",
	} {
		if _, err := ReadJSON(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%.40s: %v, want %q", text, err, want)
		}
	}
}

func TestWriteJSONNaN(t *testing.T) {
	r := &Report{Seconds: math.NaN()}
	if err := r.WriteJSON(new(strings.Builder)); err == nil {
		t.Error("wrote what JSON has no way to write")
	}
}
