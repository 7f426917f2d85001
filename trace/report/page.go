package report

import (
	"bytes"
	"crypto/sha256"
	_ "embed"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"html"
	"io"
	"strings"
)

// The page is one file: its parts are put into page.html where that names them. It takes nothing from the network, and its policy says so.
//
//go:embed page/page.html
var pageHTML string

//go:embed page/page.css
var pageCSS string

//go:embed page/timeline.js
var timelineJS string

//go:embed page/page.js
var pageJS string

// pageData is what the page's program reads.
type pageData struct {
	Summary    *Summary      `json:"summary"`
	Tracks     []*track      `json:"tracks"`
	Names      []string      `json:"names"`
	Details    []string      `json:"details"`
	Merged     bool          `json:"merged"` // a mark may stand for several events
	Events     int           `json:"events"`
	Histograms []histogramOf `json:"histograms"`
}

// WriteHTML reads a trace and writes it as a page that needs nothing else. Of a trace of many events it merges those that are close, so the
// page stays small; the tables count all of them. It keeps the events in memory, and fails if there are more than MaxEvents.
func WriteHTML(to io.Writer, from io.Reader) error {
	c, t := newCounter(), newTimeline()
	about, err := read(from, func(e *event) error {
		c.add(e)
		return t.add(e)
	})
	if err != nil {
		return err
	}
	data := pageData{Summary: c.result(about), Events: t.events, Histograms: t.histograms()}
	data.Merged = t.merge(mostMarks, data.Summary.Begin, data.Summary.End)
	data.Tracks, data.Names, data.Details = t.encode()
	const mostRows = 50
	data.Summary.Addresses = data.Summary.Addresses[:min(len(data.Summary.Addresses), mostRows)]
	text, err := json.Marshal(data) // with < and > escaped, so that it ends no element
	if err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	return writePage(to, data.Summary.Title, text)
}

// writePage puts the page together.
func writePage(to io.Writer, title string, data []byte) error {
	script := timelineJS + pageJS
	sum := sha256.Sum256([]byte(script))
	parts := strings.NewReplacer(
		"{{title}}", html.EscapeString(title),
		"{{hash}}", base64.StdEncoding.EncodeToString(sum[:]),
		"{{css}}", pageCSS,
		"{{js}}", script,
	)
	head, tail, _ := strings.Cut(pageHTML, "{{data}}")
	var b bytes.Buffer
	_, _ = parts.WriteString(&b, head)
	b.Write(data)
	_, _ = parts.WriteString(&b, tail)
	_, err := to.Write(b.Bytes())
	return err
}
