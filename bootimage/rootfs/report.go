package rootfs

import (
	"fmt"
	"strings"
)

// A Report tells what Write did.
type Report struct {
	Entries int   // names that were added, directories included
	Bytes   int64 // data of the files that were added; that of several names counts once

	// Skipped is what was left out, by reason, in the order in which the reasons came up.
	Skipped []Skipped
}

// Skipped is what was left out for one reason.
type Skipped struct {
	Reason string   // "device nodes", "sockets" or "entries of unknown type"
	Count  int      // at least 1
	Names  []string // the first few, relative to the root
}

const (
	devices = "device nodes"
	sockets = "sockets"
	unknown = "entries of unknown type"

	namesTold = 3
)

// Warning tells in one line, without its end, what was left out. It is empty if nothing was.
func (r Report) Warning() string {
	if len(r.Skipped) == 0 {
		return ""
	}
	var parts []string
	for _, s := range r.Skipped {
		var names []string
		for _, n := range s.Names {
			names = append(names, quote(n))
		}
		list := strings.Join(names, ", ")
		if more := s.Count - len(s.Names); more > 0 {
			list += fmt.Sprintf(" and %d more", more)
		}
		parts = append(parts, fmt.Sprintf("%s (%s)", s.Reason, list))
	}
	return "left out: " + strings.Join(parts, ", ")
}

func (r *Report) skip(reason, name string) {
	for i := range r.Skipped {
		if s := &r.Skipped[i]; s.Reason == reason {
			s.Count++
			if len(s.Names) < namesTold {
				s.Names = append(s.Names, name)
			}
			return
		}
	}
	r.Skipped = append(r.Skipped, Skipped{Reason: reason, Count: 1, Names: []string{name}})
}

// quote makes a name fit for one line, whatever is in it.
func quote(name string) string {
	const most = 200
	if len(name) > most {
		return fmt.Sprintf("%q...", name[:most])
	}
	return fmt.Sprintf("%q", name)
}
