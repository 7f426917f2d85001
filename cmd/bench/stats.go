package main

import "slices"

// summary is what the page says of samples.
type summary struct {
	N                int
	Median, Min, Max float64
}

// summarize wants at least one sample.
func summarize(samples []float64) summary {
	s := slices.Sorted(slices.Values(samples))
	n := len(s)
	median := s[n/2]
	if n%2 == 0 {
		median = (s[n/2-1] + s[n/2]) / 2
	}
	return summary{N: n, Median: median, Min: s[0], Max: s[n-1]}
}
