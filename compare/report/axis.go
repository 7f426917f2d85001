package report

import (
	"fmt"
	"math"

	"gonum.org/v1/plot"
)

// timeAxis makes X logarithmic where times differ much.
func (p *picture) timeAxis(least, most float64) {
	x := &p.plot.X
	x.Label.Text = "time"
	if most > 4*least {
		x.Label.Text += " (logarithmic)"
		x.Scale = plot.LogScale{}
		x.Min, x.Max = least/1.1, most*1.1
		x.Tick.Marker = logTicks(Seconds, x.Min, x.Max)
		return
	}
	x.Min, x.Max = 0, most*1.05
	x.Tick.Marker = unitTicks(Seconds)
}

// logTicks marks 1, 2 and 5 of each decade, or the decades alone if there are many.
func logTicks(u Unit, from, to float64) plot.ConstantTicks {
	var ticks plot.ConstantTicks
	wide := to/from > 500
	for e := math.Floor(math.Log10(from)); e <= math.Ceil(math.Log10(to)); e++ {
		for m := 1.0; m < 10; m++ {
			v := m * math.Pow(10, e)
			if v < from || v > to {
				continue
			}
			label := ""
			if m == 1 || !wide && (m == 2 || m == 5) {
				label = u.round(v)
			}
			ticks = append(ticks, plot.Tick{Value: v, Label: label})
		}
	}
	return ticks
}

// round writes a value that is round in its scale.
func (u Unit) round(v float64) string {
	s := u.scale(v)
	return fmt.Sprintf("%.4g%s", v/s.size, s.name)
}

// unitTicks marks some five round values from nothing on, in the multiple of the unit that the largest is in.
func unitTicks(u Unit) plot.Ticker {
	return plot.TickerFunc(func(_, to float64) []plot.Tick {
		s := u.scale(to)
		step := roundStep(to / s.size / 6)
		if u == Count {
			step = max(step, 1)
		}
		var ticks []plot.Tick
		for i := 0.0; i*step*s.size <= to && i < 20; i++ {
			ticks = append(ticks, plot.Tick{Value: i * step * s.size, Label: fmt.Sprintf("%.4g%s", i*step, s.name)})
		}
		return ticks
	})
}

// roundStep is the least of 1, 2 and 5 and their multiples by powers of ten that is no less than v.
func roundStep(v float64) float64 {
	power := math.Pow(10, math.Floor(math.Log10(v)))
	for _, m := range []float64{1, 2, 5} {
		if m*power >= v {
			return m * power
		}
	}
	return 10 * power
}
