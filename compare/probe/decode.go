package probe

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// MaxLine is the longest line of the probe's that a reader takes, in bytes.
const MaxLine = 1 << 20

// Decode reads the line that a command printed. It takes one JSON object with the fields of T and no others, of at most MaxLine bytes, with nothing behind it but space.
// Strings in it may hold anything.
func Decode[T any](b []byte) (T, error) {
	var v, none T
	b = bytes.TrimSpace(b)
	if len(b) > MaxLine {
		return none, fmt.Errorf("probe: %d bytes are more than a line has", len(b))
	}
	if len(b) == 0 || b[0] != '{' {
		return none, errors.New("probe: not a JSON object")
	}
	if !json.Valid(b) {
		return none, errors.New("probe: not JSON, or more than one object")
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&v); err != nil {
		return none, fmt.Errorf("probe: %w", err)
	}
	return v, nil
}
