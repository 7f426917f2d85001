package report

import (
	"image/color"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// A bar is a ratio of one subject. Bars of a row lie under its title.
type bar struct {
	Title   string // of the row, when it is its first
	Label   string
	Value   float64
	Subject int
	Line    float64 // where it lies, counted from the top
}

const (
	barLine  = 17 // height of a bar and its space
	mostBars = 100

	// longestBar is the ratio at which bars end, so that one that is very long leaves the others something. Their labels say what they are.
	longestBar = 10
)

// ratios gives the bars of a claim, and how many lines they take.
func ratios(c *Claim, subjects []Subject) (bars []bar, lines float64) {
	for i := range c.Rows {
		row := &c.Rows[i]
		if row.Unit != RatioUnit {
			continue
		}
		title := row.Title
		for j, s := range subjects {
			cell, _ := row.Cell(s.ID)
			if cell.Figure == nil || !drawable(cell.Figure.Median) || cell.Figure.Median < 0 || len(bars) == mostBars {
				continue
			}
			if title != "" {
				lines += 1.4
			}
			bars = append(bars, bar{Title: title, Label: s.Title + "  " + RatioUnit.Format(cell.Figure.Median), Value: cell.Figure.Median, Subject: j, Line: lines})
			lines++
			title = ""
		}
	}
	return bars, lines
}

// drawRatios draws bars with a line at the host, or nothing if the claim has no ratios.
func drawRatios(c *Claim, subjects []Subject) (*picture, error) {
	bars, lines := ratios(c, subjects)
	if len(bars) == 0 {
		return nil, nil
	}
	p := newPicture("Ratios to the host: " + c.Title)
	p.height = vg.Length(lines*barLine) + 60
	p.plot.HideY()
	p.plot.Y.Min, p.plot.Y.Max = -lines-0.2, 0.2
	most := 1.2
	x := &p.plot.X
	x.Label.Text = "times the host's (1x: as the host; more is slower)"
	for i := range bars {
		if bars[i].Value > longestBar {
			bars[i].Value = longestBar
			x.Label.Text = "times the host's (1x: as the host; more is slower; bars end at 10x)"
		}
		most = max(most, bars[i].Value)
	}
	// Behind the longest bar is room for its label.
	x.Min, x.Max = 0, most*1.5
	x.Tick.Marker = unitTicks(RatioUnit)
	p.plot.Add(gridLines(true, false), barPlot{bars})
	return p, nil
}

// A barPlot draws bars and writes beside each what it is, so that no legend and no colour is needed to know.
type barPlot struct{ bars []bar }

// Plot implements plot.Plotter.
func (b barPlot) Plot(c draw.Canvas, p *plot.Plot) {
	x, y := p.Transforms(&c)
	title := p.X.Tick.Label
	title.XAlign, title.YAlign = draw.XLeft, draw.YCenter
	for _, bar := range b.bars {
		top, bottom := y(-bar.Line-0.08), y(-bar.Line-0.92)
		c.FillPolygon(seriesColor(bar.Subject), []vg.Point{{X: x(0), Y: bottom}, {X: x(bar.Value), Y: bottom}, {X: x(bar.Value), Y: top}, {X: x(0), Y: top}})
	}
	one := draw.LineStyle{Color: ink, Width: 1.2, Dashes: []vg.Length{4, 3}}
	c.StrokeLine2(one, x(1), c.Min.Y, x(1), c.Max.Y)
	for _, bar := range b.bars {
		middle := y(-bar.Line - 0.5)
		label(c, title, ink, x(max(bar.Value, 1))+5, middle, bar.Label)
		if bar.Title != "" {
			label(c, title, quiet, x(0), y(-bar.Line+0.6), bar.Title)
		}
	}
}

// label writes on paper of its own, so that lines behind do not cross it.
func label(c draw.Canvas, style draw.TextStyle, clr color.Color, x, y vg.Length, text string) {
	style.Color = clr
	text = within(text, style, c.Max.X-x)
	w := style.Width(text)
	c.FillPolygon(paper, []vg.Point{{X: x - 2, Y: y - 7}, {X: x + w + 2, Y: y - 7}, {X: x + w + 2, Y: y + 7}, {X: x - 2, Y: y + 7}})
	c.FillText(style, vg.Point{X: x, Y: y}, text)
}
