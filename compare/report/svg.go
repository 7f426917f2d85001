package report

import (
	"bytes"
	"fmt"
	"html"
	"image/color"
	"regexp"
	"strings"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/font"
	"gonum.org/v1/plot/text"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
	"gonum.org/v1/plot/vg/vgsvg"
)

// Pictures are drawn in colours that stand for others: svg puts a custom property of CSS in the place of each, so that day and night differ.
var (
	paper = color.RGBA{R: 1, G: 1, B: 1, A: 255}
	ink   = color.RGBA{R: 2, G: 2, B: 2, A: 255}
	quiet = color.RGBA{R: 3, G: 3, B: 3, A: 255} // text of less weight
	faint = color.RGBA{R: 4, G: 4, B: 4, A: 255} // lines of the grid
)

// paletteSize is how many colours there are for subjects: those of Okabe and Ito, which the colour-blind can tell apart, darker by day.
const paletteSize = 6

// seriesColor is the colour of a subject.
func seriesColor(subject int) color.Color {
	return color.RGBA{R: 16 + uint8(subject%paletteSize), A: 255}
}

const svgStyle = `.plot{--paper:#fff;--ink:#1b1f24;--quiet:#57606a;--faint:#dfe3e8;` +
	`--s0:#6b7280;--s1:#0072b2;--s2:#c74e00;--s3:#007a5a;--s4:#a9447c;--s5:#8a6d00;` +
	`max-width:100%;height:auto;font-family:Arial,"Liberation Sans",Helvetica,sans-serif}` +
	`@media screen and (prefers-color-scheme:dark){.plot{--paper:#0d1117;--ink:#e6edf3;--quiet:#9da7b1;--faint:#2b323b;` +
	`--s0:#9aa4af;--s1:#56b4e9;--s2:#f0883e;--s3:#2bc79a;--s4:#e29bc4;--s5:#f0e442}}`

// A picture is one plot with its legend below.
type picture struct {
	title  string
	plot   *plot.Plot
	legend plot.Legend
	lines  int       // of the legend
	height vg.Length // without it
}

const (
	pictureWidth = 520
	legendLine   = 17
)

// sans is the font. Arial and its like have the same widths as the one that places are computed with.
func sans(size vg.Length) font.Font {
	return font.Font{Typeface: "Liberation", Variant: "Sans", Size: size}
}

// newPicture has axes in the style of all pictures.
func newPicture(title string) *picture {
	p := &picture{title: title, plot: plot.New(), legend: plot.NewLegend(), height: 300}
	p.plot.BackgroundColor = nil
	for _, a := range []*plot.Axis{&p.plot.X, &p.plot.Y} {
		a.Label.TextStyle.Font, a.Label.TextStyle.Color = sans(12), quiet
		a.Tick.Label.Font, a.Tick.Label.Color = sans(12), quiet
		a.LineStyle.Color, a.Tick.LineStyle.Color = quiet, faint
		a.Label.Padding = 4
	}
	p.legend.TextStyle.Font, p.legend.TextStyle.Color = sans(12), ink
	p.legend.Left, p.legend.Top = true, true
	p.legend.ThumbnailWidth, p.legend.Padding = 36, 6
	return p
}

// explain adds a line to the legend, cut to the picture's width.
func (p *picture) explain(label string, thumbs ...plot.Thumbnailer) {
	p.legend.Add(within(label, p.legend.TextStyle, pictureWidth-70), thumbs...)
	p.lines++
}

// within cuts a text to a width. At least the sign that something is cut remains.
func within(s string, style text.Style, width vg.Length) string {
	s = shorten(s, 120) // more than any picture has room for
	for n := len([]rune(s)) - 1; n > 0 && style.Width(s) > width; n-- {
		s = shorten(s, n)
	}
	return s
}

// svg draws it.
func (p *picture) svg() []byte {
	below := vg.Length(p.lines*legendLine + 8)
	if p.lines == 0 {
		below = 0
	}
	height := p.height + below
	c := vgsvg.New(pictureWidth, height)
	all := draw.New(c)
	all.FillPolygon(paper, []vg.Point{{}, {X: pictureWidth}, {X: pictureWidth, Y: height}, {Y: height}})
	p.plot.Draw(draw.Crop(all, 10, -16, below, -12))
	p.legend.Draw(draw.Crop(all, 16, 0, 0, -p.height-4))
	var b bytes.Buffer
	if _, err := c.WriteTo(&b); err != nil {
		panic(err) // a buffer takes everything
	}
	return finish(b.Bytes(), p.title, pictureWidth, height)
}

var (
	svgColor = regexp.MustCompile(`(fill|stroke):#(0[1-4]0[1-4]0[1-4]|1[0-5]0000)\b`)
	svgFont  = regexp.MustCompile(`font-family:[^;"]*;font-variant:[^;"]*;font-weight:normal;font-style:normal;?`)
)

// finish puts an opening of ours in place of the one that was drawn, and the properties in place of colours.
func finish(drawn []byte, title string, w, h vg.Length) []byte {
	_, body, _ := bytes.Cut(drawn, []byte("<svg "))
	_, body, _ = bytes.Cut(body, []byte(">"))
	body = svgFont.ReplaceAll(body, nil)
	body = svgColor.ReplaceAllFunc(body, func(m []byte) []byte {
		property, hex, _ := strings.Cut(string(m), ":#")
		return fmt.Appendf(nil, "%s:var(--%s)", property, colorName(hex))
	})
	var b bytes.Buffer
	fmt.Fprintf(&b, `<svg xmlns="http://www.w3.org/2000/svg" class="plot" role="img" width="%g" height="%g" viewBox="0 0 %g %g">`, w, h, w, h)
	fmt.Fprintf(&b, "\n<title>%s</title>\n<style>%s</style>", html.EscapeString(title), svgStyle)
	b.Write(body)
	return b.Bytes()
}

// colorName is the custom property for a colour that stands for another.
func colorName(hex string) string {
	switch hex {
	case "010101":
		return "paper"
	case "020202":
		return "ink"
	case "030303":
		return "quiet"
	case "040404":
		return "faint"
	}
	return "s" + hex[1:2]
}
