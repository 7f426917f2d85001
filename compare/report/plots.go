package report

import (
	"fmt"
	"strconv"
	"strings"
)

// A Plot is a picture of a claim's figures.
type Plot struct {
	Name  string // good as a file's name, without an end: "startup"; no two of a report are the same
	Title string
	Key   string // of the claim that it belongs to
	SVG   []byte // an svg element, good as a file and within a page; it has both the colours of day and those of night

	claim int // its place in the report
}

// Plots draws what r has figures for: the times of rows "startup/NAME" as distributions, the bytes of rows "NAME/N" against their N, and
// rows of ratios as bars. The same report gives the same bytes. It fails if a picture cannot be drawn.
func (r *Report) Plots() ([]Plot, error) {
	var plots []Plot
	c := r.clean()
	for i := range c.Claims {
		claim := &c.Claims[i]
		for _, k := range []struct {
			name string
			draw func(*Claim, []Subject) (*picture, error)
		}{{"times", drawTimes}, {"memory", drawLines}, {"ratios", drawRatios}} {
			p, err := k.draw(claim, c.Subjects)
			if err != nil {
				return nil, fmt.Errorf("report: plot of claim %d: %w", claim.Number, err)
			}
			if p == nil {
				continue
			}
			plots = append(plots, Plot{Name: unique(plots, fileName(claim.Key), k.name), Title: p.title, Key: r.Claims[i].Key, SVG: p.svg(), claim: i})
		}
	}
	return plots, nil
}

// fileName keeps of a key what is harmless in a path and in a link.
func fileName(key string) string {
	name := strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '-' {
			return r
		}
		return -1
	}, key)
	return name[:min(len(name), 40)]
}

// unique gives the claim's name to its first plot, and one with the kind to others.
func unique(plots []Plot, key, kind string) string {
	taken := func(name string) bool {
		for _, p := range plots {
			if p.Name == name {
				return true
			}
		}
		return name == ""
	}
	if !taken(key) {
		return key
	}
	name := strings.Trim(key+"-"+kind, "-")
	for i := 2; taken(name); i++ {
		name = strings.Trim(key+"-"+kind, "-") + "-" + strconv.Itoa(i)
	}
	return name
}
