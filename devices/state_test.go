package devices

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"
)

func TestState(t *testing.T) {
	type registers struct {
		Command uint16
		FIFO    []byte
	}
	want := registers{0x1234, []byte("abc")}
	s, err := EncodeState(3, want)
	if err != nil {
		t.Fatal(err)
	}
	var got registers
	if err := DecodeState(s, 3, &got); err != nil {
		t.Fatal(err)
	}
	if got.Command != want.Command || string(got.FIFO) != string(want.FIFO) {
		t.Errorf("got %v back, want %v", got, want)
	}
	for name, s := range map[string]State{
		"version":       {Version: 2, Data: s.Data},
		"empty":         {Version: 3},
		"not JSON":      {Version: 3, Data: json.RawMessage("{")},
		"out of range":  {Version: 3, Data: json.RawMessage(`{"Command":65536}`)},
		"unknown field": {Version: 3, Data: json.RawMessage(`{"Commands":1}`)},
		"two values":    {Version: 3, Data: json.RawMessage(`{} {}`)},
		"too long":      {Version: 3, Data: json.RawMessage(`{}` + strings.Repeat(" ", maxStateSize))},
	} {
		if err := DecodeState(s, 3, new(registers)); !errors.Is(err, ErrState) {
			t.Errorf("%s: error %v", name, err)
		}
	}
}
