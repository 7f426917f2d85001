package agent

import (
	"reflect"
	"testing"
)

func TestSpecEncoding(t *testing.T) {
	for _, want := range []*Spec{
		{Args: []string{"true"}},
		{Args: []string{"sh", "", "a=b\n\xff"}, Env: []string{"A=b=c", "B="}, Dir: "/w", User: "ann:users", Hostname: "h", Terminal: true},
		{Args: []string{"x"}, Network: &Network{Address: "10.0.2.15/24", Gateway: "10.0.2.2"}},
		{Args: []string{"x"}, Network: new(Network)},
	} {
		text, err := want.Encode()
		if err != nil {
			t.Fatal(err)
		}
		if got, err := DecodeSpec(text); err != nil || !reflect.DeepEqual(got, want) {
			t.Errorf("%q is decoded as %+v, error %v", text, got, err)
		}
	}
}

func TestSpecRefuses(t *testing.T) {
	if _, err := (&Spec{Args: []string{"a\x00b"}}).Encode(); err == nil {
		t.Error("a zero byte was encoded")
	}
	for _, text := range []string{"arg", "arg\x00", "arg=x", "other=x\x00", "=\x00"} {
		if s, err := DecodeSpec([]byte(text)); err == nil {
			t.Errorf("%q is decoded as %+v", text, s)
		}
	}
}
