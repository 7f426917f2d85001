package main

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A colour of the sources, and what it is where the reader's screen is dark.
type colour struct{ light, dark string }

var colours = []colour{
	{"#ffffff", "#0d1117"}, {"#f6f8fa", "#161b22"}, {"#8c959f", "#6e7681"}, // the page; lanes and frames
	{"#e4edfb", "#14294d"}, {"#2f5fb3", "#6ea0f5"}, // govmm
	{"#fff1dc", "#3d2a0c"}, {"#b26a00", "#d9973b"}, // the guest
	{"#e0f1e5", "#12351f"}, {"#2e7d4f", "#4fb37a"}, // KVM
	{"#eceef1", "#262c34"}, {"#6b7280", "#9aa4af"}, // all else
	{"#57606a", "#9da7b1"}, // arrows and small print
}

// The widths that Graphviz takes are Arial's, which the first three have in common. It is also what the charts of docs/comparison.md have.
const (
	fonts     = `Arial,Liberation Sans,Helvetica,sans-serif`
	ink       = "#1b1f24"
	inkInDark = "#e6edf3"
)

var (
	dispensable = regexp.MustCompile(`(?s)^.*?<svg|<!--.*?-->\n|<title>.*?</title>\n|<text[^>]*>\s*</text>\n| xmlns:xlink="[^"]*"| font-family="Arial"`)
	fontSize    = regexp.MustCompile(`font-size="([0-9.]+)"`)
	painted     = regexp.MustCompile(`(?:fill|stroke)="([^"]*)"`)
)

// finish takes what readers do not need out of Graphviz's output, and adds the colours for dark screens. It fails if the picture has a
// colour or a font for which there is no rule.
func finish(svg, source string) (string, error) {
	svg = dispensable.ReplaceAllStringFunc(svg, func(s string) string {
		if strings.HasSuffix(s, "<svg") {
			return fmt.Sprintf("<!-- Made by \"make pictures\" from %s. -->\n<svg font-family=\"%s\"", source, fonts)
		}
		return ""
	})
	if strings.Contains(svg, "font-family=\"") && strings.Count(svg, "font-family=\"") > 1 {
		return "", fmt.Errorf("a font other than Arial: say fontname=\"Arial\" for graph, node and edge")
	}
	for _, m := range painted.FindAllStringSubmatch(svg, -1) {
		known := func(c colour) bool { return c.light == m[1] }
		if m[1] != "none" && m[1] != "transparent" && !slices.ContainsFunc(colours, known) {
			return "", fmt.Errorf("colour %q has none for dark screens", m[1])
		}
	}
	svg = fontSize.ReplaceAllStringFunc(svg, drawnSize)
	head := strings.Index(svg, ">\n<g ") + len(">\n")
	return svg[:head] + style() + svg[head:], nil
}

// drawnSize makes letters a tenth smaller than the boxes were made for, so that a reader's font may be wider than Arial, as DejaVu Sans is, and still fits.
func drawnSize(attribute string) string {
	points, err := strconv.ParseFloat(fontSize.FindStringSubmatch(attribute)[1], 64)
	if err != nil {
		return attribute
	}
	return fmt.Sprintf(`font-size="%.1f"`, points*0.9)
}

// style is the rules for dark screens. Without them, as in a viewer that knows no CSS, the picture is one for light screens.
func style() string {
	var b strings.Builder
	fmt.Fprintf(&b, "<style>text:not([fill]){fill:%s}@media screen and (prefers-color-scheme:dark){text:not([fill]){fill:%s}", ink, inkInDark)
	for _, c := range colours {
		fmt.Fprintf(&b, `[fill="%s"]{fill:%s}[stroke="%s"]{stroke:%s}`, c.light, c.dark, c.light, c.dark)
	}
	b.WriteString("}</style>\n")
	return b.String()
}
