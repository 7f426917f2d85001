package report

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"unicode"
	"unicode/utf8"
)

// mostJSON is what ReadJSON takes: some hundred times what a comparison writes.
const mostJSON = 32 << 20

// WriteJSON writes r in the format of Version, whatever r.Version says. Characters that a terminal could take for commands are escaped.
// It fails if a figure is not a number, or as w does.
func (r *Report) WriteJSON(w io.Writer) error {
	c := *r
	c.Version = Version
	var b bytes.Buffer
	e := json.NewEncoder(&b)
	e.SetIndent("", "\t")
	if err := e.Encode(&c); err != nil {
		return fmt.Errorf("report: %w", err)
	}
	_, err := w.Write(escapeJSON(b.Bytes()))
	return err
}

// escapeJSON escapes what encoding/json leaves: it lets DEL and the controls above ASCII through, one of which begins a terminal's sequences.
func escapeJSON(text []byte) []byte {
	var out []byte
	for len(text) > 0 {
		r, n := utf8.DecodeRune(text)
		switch {
		case r < 0x7f || unicode.IsPrint(r):
			out = append(out, text[:n]...)
		case r > 0xffff:
			r -= 0x10000
			out = fmt.Appendf(out, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			out = fmt.Appendf(out, `\u%04x`, r)
		}
		text = text[n:]
	}
	return out
}

// ReadJSON reads what WriteJSON wrote. It fails if that is of another version, has anything behind it or is larger than any report, or as rd does.
func ReadJSON(rd io.Reader) (*Report, error) {
	text, err := io.ReadAll(io.LimitReader(rd, mostJSON+1))
	if err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	if len(text) > mostJSON {
		return nil, fmt.Errorf("report: larger than %s", Bytes.Format(mostJSON))
	}
	// The version is read alone at first: the fields of another may have other types.
	var v struct{ Version int }
	if err := json.Unmarshal(text, &v); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	if v.Version != Version {
		return nil, fmt.Errorf("report: version %d, where this govmm knows %d", v.Version, Version)
	}
	r := new(Report)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("report: %w", err)
	}
	return r, nil
}
