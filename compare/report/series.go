package report

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A series is what one subject showed in one variant of a measurement.
type series struct {
	Label   string
	Subject int // its place in the report, which chooses the colour
	Variant int // among those of the subject, which chooses marker and dashes
	Points  []point
}

type point struct{ X, Y float64 }

// drawable says that v can be placed in a picture: floating point has room for its neighbours.
func drawable(v float64) bool { return !math.IsNaN(v) && math.Abs(v) < 1e15 }

const (
	mostPoints = 400 // of a series: more are not to be told apart in the picture
	mostSeries = 24  // of a picture: more are not to be told apart by anyone
)

// distributions gives for each row "startup/NAME" and each subject how many of the samples (Y, up to 1) are X or less. Times of other rows are of
// one thing each, which nobody would compare in a picture.
func distributions(c *Claim, subjects []Subject) []series {
	var list []series
	for i, s := range subjects {
		variant := 0
		for j := range c.Rows {
			row := &c.Rows[j]
			cell, _ := row.Cell(s.ID)
			if row.Unit != Seconds || !strings.HasPrefix(row.ID, "startup/") || cell.Figure == nil {
				continue
			}
			points := cumulate(cell.Figure.Samples)
			if len(points) == 0 {
				continue
			}
			list = append(list, series{Label: s.Title + ", " + row.Title, Subject: i, Variant: variant, Points: points})
			variant++
		}
	}
	return list[:min(len(list), mostSeries)]
}

// cumulate is the empirical distribution of positive samples.
func cumulate(samples []float64) []point {
	var sorted []float64
	for _, v := range samples {
		if drawable(v) && v > 1e-12 {
			sorted = append(sorted, v)
		}
	}
	slices.Sort(sorted)
	var points []point
	for i, v := range sorted {
		if n := len(sorted); n > mostPoints && i*mostPoints/n == (i+1)*mostPoints/n {
			continue
		}
		points = append(points, point{v, float64(i+1) / float64(len(sorted))})
	}
	return points
}

// lines gives for each subject and each NAME of rows "NAME/N" in bytes the medians against N.
func lines(c *Claim, subjects []Subject) []series {
	var list []series
	for i, s := range subjects {
		var names []string
		first := len(list)
		for j := range c.Rows {
			row := &c.Rows[j]
			name, n, ok := instances(row)
			cell, _ := row.Cell(s.ID)
			if !ok || cell.Figure == nil || !drawable(cell.Figure.Median) {
				continue
			}
			k := slices.Index(names, name)
			if k < 0 {
				k = len(names)
				names = append(names, name)
				list = append(list, series{Label: s.Title, Subject: i, Variant: k})
			}
			list[first+k].Points = append(list[first+k].Points, point{float64(n), cell.Figure.Median})
		}
		for k, name := range names {
			p := list[first+k].Points
			slices.SortFunc(p, func(a, b point) int { return cmp.Compare(a.X, b.X) })
			if len(names) > 1 {
				list[first+k].Label += ", " + clean(name[strings.LastIndex(name, "/")+1:])
			}
		}
	}
	return list[:min(len(list), mostSeries)]
}

// instances reads the number at the end of a row's ID, if the row is of that kind.
func instances(row *Row) (name string, n int, ok bool) {
	i := strings.LastIndex(row.ID, "/")
	if row.Unit != Bytes || i < 0 {
		return "", 0, false
	}
	n, err := strconv.Atoi(row.ID[i+1:])
	return row.ID[:i], n, err == nil && n >= 0 && n < 1e9
}

// fitLine is the line of least squares. There is none through a single X.
func fitLine(points []point) (start, slope float64, ok bool) {
	var n, x, y, xx, xy float64
	for _, p := range points {
		n, x, y, xx, xy = n+1, x+p.X, y+p.Y, xx+p.X*p.X, xy+p.X*p.Y
	}
	d := n*xx - x*x
	if n < 2 || d <= 0 {
		return 0, 0, false
	}
	slope = (n*xy - x*y) / d
	return (y - slope*x) / n, slope, true
}
