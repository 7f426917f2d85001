package report

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
	"gonum.org/v1/plot/plotter"
	"gonum.org/v1/plot/vg"
	"gonum.org/v1/plot/vg/draw"
)

// style gives a series its marker and its dashes, which tell it apart without colour.
func (s *series) style() (draw.LineStyle, draw.GlyphStyle) {
	circle, box, pyramid := draw.CircleGlyph{}, draw.BoxGlyph{}, draw.PyramidGlyph{}
	glyphs := []draw.GlyphDrawer{circle, box, pyramid, hollow{circle}, hollow{box}, hollow{pyramid}}
	dashes := [][]vg.Length{nil, {6, 3}, {2, 3}, {9, 3, 2, 3}}
	c := seriesColor(s.Subject)
	// Markers go with the subject too: on paper without colours, those are alike.
	return draw.LineStyle{Color: c, Width: 1.6, Dashes: dashes[s.Variant%len(dashes)]},
		draw.GlyphStyle{Color: c, Radius: 3.2, Shape: glyphs[(s.Subject+2*s.Variant)%len(glyphs)]}
}

// hollow is a marker with an opening, whose edge is as strong as lines are.
type hollow struct{ draw.GlyphDrawer }

// DrawGlyph implements draw.GlyphDrawer.
func (h hollow) DrawGlyph(c *draw.Canvas, style draw.GlyphStyle, at vg.Point) {
	style.Radius *= 1.15
	h.GlyphDrawer.DrawGlyph(c, style, at)
	c.SetColor(paper)
	style.Radius *= 0.5
	h.GlyphDrawer.DrawGlyph(c, style, at)
}

// gridLines are those behind the data.
func gridLines(vertical, horizontal bool) *plotter.Grid {
	g := plotter.NewGrid()
	g.Vertical.Color, g.Horizontal.Color = nil, nil
	line := draw.LineStyle{Color: faint, Width: 0.7}
	if vertical {
		g.Vertical = line
	}
	if horizontal {
		g.Horizontal = line
	}
	return g
}

// drawTimes draws distributions, or nothing if the claim has none.
func drawTimes(c *Claim, subjects []Subject) (*picture, error) {
	list := distributions(c, subjects)
	if len(list) == 0 {
		return nil, nil
	}
	p := newPicture("Distribution of times: " + c.Title)
	p.plot.Add(gridLines(true, true))
	least, most := math.Inf(1), 0.0
	for i := range list {
		points := list[i].Points
		least, most = min(least, points[0].X), max(most, points[len(points)-1].X)
		if err := p.steps(&list[i]); err != nil {
			return nil, err
		}
	}
	p.timeAxis(least, most)
	y := &p.plot.Y
	y.Label.Text, y.Min, y.Max = "runs that took no longer", 0, 1.02
	y.Tick.Marker = plot.ConstantTicks{{Value: 0, Label: "0%"}, {Value: 0.25, Label: "25%"}, {Value: 0.5, Label: "50%"}, {Value: 0.75, Label: "75%"}, {Value: 1, Label: "100%"}}
	return p, nil
}

// steps draws one distribution: a stair that climbs by each sample, with a marker at every tenth.
func (p *picture) steps(s *series) error {
	var stair, marks plotter.XYs
	last, every := 0.0, max(1, len(s.Points)/10)
	for i, q := range s.Points {
		stair = append(stair, plotter.XY{X: q.X, Y: last}, plotter.XY{X: q.X, Y: q.Y})
		last = q.Y
		if i%every == every/2 {
			marks = append(marks, plotter.XY{X: q.X, Y: q.Y})
		}
	}
	return p.add(s, s.Label, stair, marks)
}

// add draws a line and markers in the style of a series, and explains them.
func (p *picture) add(s *series, label string, line, marks plotter.XYs) error {
	l, err := plotter.NewLine(line)
	if err != nil {
		return err
	}
	m, err := plotter.NewScatter(marks)
	if err != nil {
		return err
	}
	l.LineStyle, m.GlyphStyle = s.style()
	p.plot.Add(l, m)
	p.explain(label, l, m)
	return nil
}

// drawLines draws memory against instances, or nothing if the claim has none.
func drawLines(c *Claim, subjects []Subject) (*picture, error) {
	list := lines(c, subjects)
	if len(list) == 0 {
		return nil, nil
	}
	p := newPicture("Memory of several instances: " + c.Title)
	p.plot.Add(gridLines(false, true))
	mostX, mostY := 1.0, 1.0
	for i := range list {
		s := &list[i]
		for _, q := range s.Points {
			mostX, mostY = max(mostX, q.X), max(mostY, q.Y)
		}
		if err := p.fitted(s); err != nil {
			return nil, err
		}
	}
	x, y := &p.plot.X, &p.plot.Y
	x.Label.Text, x.Min, x.Max = "instances", 0, mostX*1.03
	x.Tick.Marker = unitTicks(Count)
	y.Label.Text, y.Min, y.Max = "memory", 0, mostY*1.05
	y.Tick.Marker = unitTicks(Bytes)
	return p, nil
}

// fitted draws points with their line of least squares.
func (p *picture) fitted(s *series) error {
	var marks plotter.XYs
	for _, q := range s.Points {
		marks = append(marks, plotter.XY(q))
	}
	start, slope, ok := fitLine(s.Points)
	if !ok {
		return p.add(s, s.Label, marks, marks)
	}
	from, to := s.Points[0].X, s.Points[len(s.Points)-1].X
	line := plotter.XYs{{X: from, Y: start + slope*from}, {X: to, Y: start + slope*to}}
	return p.add(s, fmt.Sprintf("%s: %s for one more", s.Label, Bytes.Format(slope)), line, marks)
}
