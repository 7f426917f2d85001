package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
)

// attribute is the name of the attributes that are figures.
const attribute = "reliability"

// A figure is what a test has reported.
type figure struct {
	Value string `json:"value"`
	Test  string `json:"test"`
	Date  string `json:"date"`
	Host  string `json:"host,omitempty"`
}

// figures are figures by their keys.
type figures map[string]figure

// load reads the figures of earlier runs, which need not be there.
func load(path string) (figures, error) {
	all := figures{}
	data, err := os.ReadFile(path)
	if errors.Is(err, fs.ErrNotExist) {
		return all, nil
	}
	if err == nil {
		err = json.Unmarshal(data, &all)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return all, nil
}

func (all figures) save(path string) error {
	data, err := json.MarshalIndent(all, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(path, append(data, '\n'), 0o644)
}

// read adds the figures of a log. A test that failed, or a log without an end, is an error.
func (all figures) read(log io.Reader) error {
	ended := false
	var fuzzed fuzzLog
	s := bufio.NewScanner(log)
	s.Buffer(nil, 16<<20)
	for s.Scan() {
		line := s.Text()
		switch {
		case strings.HasPrefix(strings.TrimSpace(line), "--- FAIL: "):
			return errors.New(strings.TrimSpace(line))
		case line == "PASS":
			ended = true
		case strings.HasPrefix(line, "=== ATTR "):
			all.add(line)
		default:
			fuzzed.read(line, all)
		}
	}
	if err := s.Err(); err != nil {
		return err
	}
	if !ended && len(all) > 0 {
		return errors.New("the tests did not come to their end: there is no line PASS")
	}
	return nil
}

// add takes a line "=== ATTR  TEST reliability KEY=VALUE". Keys may have spaces.
func (all figures) add(line string) {
	words := strings.SplitN(strings.Join(strings.Fields(line), " "), " ", 5)
	if len(words) < 5 || words[3] != attribute {
		return
	}
	if key, value, ok := strings.Cut(words[4], "="); ok {
		all[key] = figure{Value: value, Test: words[2]}
	}
}
