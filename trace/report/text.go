package report

import (
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// mostAddresses is how many addresses the text has: those that took most time.
const mostAddresses = 20

// WriteText writes the summary for a person.
func (s *Summary) WriteText(to io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "%s, %s of trace\n", clean(s.Title), milliseconds(s.End-s.Begin))
	if s.LostExits+s.LostEvents > 0 {
		fmt.Fprintf(&b, "the rings were too small: %d exits and %d events of devices before the others are lost; record more with --trace FILE,records=N\n", s.LostExits, s.LostEvents)
	}
	w := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	if len(s.Phases) > 0 {
		fmt.Fprint(w, "\nat ms\ttook ms\t\n")
		for _, p := range s.Phases {
			fmt.Fprintf(w, "%s\t%s\t %s\n", bare(p.Begin), bare(p.Took), "until "+clean(p.Stage))
		}
		w.Flush()
	}
	if len(s.CPUs) > 0 {
		fmt.Fprint(w, "\nexits\tin KVM_RUN\tanswering\t\n")
		for _, c := range s.CPUs {
			fmt.Fprintf(w, "%d\t%s\t%s (%s)\t %s\n", c.Exits, milliseconds(c.Run), milliseconds(c.Monitor), share(c.Monitor, c.Monitor+c.Run), clean(c.Name))
		}
		w.Flush()
	}
	writeRows(w, "exit", s.Reasons)
	writeRows(w, "device that answered", s.Devices)
	writeRows(w, "access", s.Addresses[:min(len(s.Addresses), mostAddresses)])
	writeRows(w, "request", s.Requests)
	writeCounts(w, "doorbell of", s.Doorbells)
	writeCounts(w, "interrupt by", s.Interrupts)
	_, err := io.WriteString(to, b.String())
	return err
}

// writeRows writes a table of what took time.
func writeRows(w *tabwriter.Writer, what string, rows []Row) {
	if len(rows) == 0 {
		return
	}
	bytes := false
	for _, r := range rows {
		bytes = bytes || r.Bytes > 0
	}
	head := "\ncount\ttotal ms\tmean µs\tmedian µs\t99 % µs\tmax µs\t"
	if bytes {
		head += "bytes\t"
	}
	fmt.Fprintf(w, "%s %s\n", head, what)
	for _, r := range rows {
		fmt.Fprintf(w, "%d\t%s\t%s\t%s\t%s\t%s\t", r.Count, bare(r.Total), micro(r.Mean), micro(r.Median), micro(r.P99), micro(r.Max))
		if bytes {
			fmt.Fprintf(w, "%d\t", r.Bytes)
		}
		fmt.Fprintf(w, " %s\n", clean(r.Name))
	}
	w.Flush()
}

// writeCounts writes a table of what took none.
func writeCounts(w *tabwriter.Writer, what string, rows []Row) {
	if len(rows) == 0 {
		return
	}
	fmt.Fprintf(w, "\ncount\t %s\n", what)
	for _, r := range rows {
		fmt.Fprintf(w, "%d\t %s\n", r.Count, clean(r.Name))
	}
	w.Flush()
}

func bare(d time.Duration) string         { return fmt.Sprintf("%.3f", d.Seconds()*1e3) }
func milliseconds(d time.Duration) string { return bare(d) + " ms" }
func micro(d time.Duration) string        { return fmt.Sprintf("%.1f", d.Seconds()*1e6) }

// share is a part of a whole in per cent.
func share(part, whole time.Duration) string {
	if whole <= 0 {
		return "-"
	}
	return fmt.Sprintf("%.1f %%", 100*float64(part)/float64(whole))
}

// clean takes out of a text what a terminal or a table would obey.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f || r >= 0x80 && r < 0xa0 {
			return '?'
		}
		return r
	}, s)
}
