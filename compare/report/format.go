package report

import (
	"fmt"
	"math"
	"strconv"
	"strings"
)

// A scale shows values of a unit in a multiple of it.
type scale struct {
	name string // with what divides it from the number: " ms", "x"
	size float64
}

// Format writes a value of the unit as people read it: "12.3 ms", "35.2 MiB", "1.04x".
func (u Unit) Format(v float64) string {
	s := u.scale(v)
	return s.number(u, v) + s.name
}

// hold is a space at which no line is broken. clean leaves none in what others wrote.
const hold = "\u00a0"

// figure writes the median, and the tail where there is one. The tail of fewer than a hundred samples is their largest and called so.
func (u Unit) figure(f *Figure) string {
	s := u.scale(f.Median)
	median, tail := s.number(u, f.Median), s.number(u, f.P99)
	shown := median + strings.ReplaceAll(s.name, " ", hold)
	switch n := len(f.Samples); {
	case n < 2 || tail == median:
		return shown
	case n < 100:
		return fmt.Sprintf("%s (max%s%s)", shown, hold, tail)
	default:
		return fmt.Sprintf("%s (p99%s%s)", shown, hold, tail)
	}
}

// scale chooses the multiple in which v has one to three digits before the point.
func (u Unit) scale(v float64) scale {
	switch u {
	case Seconds:
		return pick(v, scale{" ns", 1e-9}, scale{" µs", 1e-6}, scale{" ms", 1e-3}, scale{" s", 1})
	case Bytes:
		return pick(v, scale{" bytes", 1}, scale{" KiB", 1 << 10}, scale{" MiB", 1 << 20}, scale{" GiB", 1 << 30}, scale{" TiB", 1 << 40})
	case BytesPerS:
		return pick(v, scale{" B/s", 1}, scale{" kB/s", 1e3}, scale{" MB/s", 1e6}, scale{" GB/s", 1e9})
	case PerSecond:
		return scale{"/s", 1}
	case RatioUnit:
		return scale{"x", 1}
	case PercentCPU:
		return scale{"%", 1}
	}
	return scale{"", 1}
}

// pick gives the largest of the scales that v reaches. Nothing reaches none: that is in the unit itself.
func pick(v float64, scales ...scale) scale {
	if v == 0 {
		for _, s := range scales {
			if s.size == 1 {
				return s
			}
		}
	}
	best := scales[0]
	for _, s := range scales[1:] {
		// What rounds up to the next multiple belongs to it.
		if math.Abs(v) >= s.size*0.9995 {
			best = s
		}
	}
	return best
}

// number writes v in the scale, with three digits, or whole if the unit is of things that are counted.
func (s scale) number(u Unit, v float64) string {
	v /= s.size
	size := math.Abs(v)
	switch whole := size == math.Trunc(size); {
	case math.IsNaN(v) || math.IsInf(v, 0) || size >= 1e15:
		return strconv.FormatFloat(v, 'g', 3, 64)
	case u == RatioUnit && size < 100:
		return strconv.FormatFloat(v, 'f', 2, 64)
	case size >= 99.95, whole && (u == Count || u == Text || u == PerSecond || s.size == 1 && u == Bytes), size == 0:
		return thousands(strconv.FormatFloat(v, 'f', 0, 64))
	case size >= 9.995:
		return strconv.FormatFloat(v, 'f', 1, 64)
	case size >= 0.01:
		return strconv.FormatFloat(v, 'f', 2, 64)
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// thousands sets the thousands of a whole number apart, if it has more than four digits.
func thousands(s string) string {
	sign := ""
	if strings.HasPrefix(s, "-") {
		sign, s = "-", s[1:]
	}
	if len(s) > 4 {
		for i := len(s) - 3; i > 0; i -= 3 {
			s = s[:i] + "," + s[i:]
		}
	}
	return sign + s
}
