// Command reliability writes docs/reliability.md, a page of what was done to govmm and what it withstood, of the figures that tests report:
//
//	reliability [-dir DIR] [-date DATE] [-host TEXT] [LOG...]
//
// A LOG is what a test binary prints with -test.v; without one it is standard input. A test reports a figure by
//
//	t.Attr("reliability", "KEY=VALUE")
//
// DIR gets reliability.json, with each figure, its test and the date of its run, and reliability.md, which is made from it. What no log
// has is kept from the reliability.json that is there, so that long runs need not be repeated with every short one. If a test of
// a log has failed, nothing is written. Without figures in the logs the page is made again from those that are there.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

const (
	figuresName = "reliability.json"
	pageName    = "reliability.md"
)

func main() {
	if err := run(os.Args[1:], os.Stdin); err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "reliability:", err)
		os.Exit(1)
	}
}

func run(args []string, stdin io.Reader) error {
	f := flag.NewFlagSet("reliability", flag.ContinueOnError)
	dir := f.String("dir", ".", "keep figures and page in `DIR`")
	date := f.String("date", time.Now().UTC().Format(time.DateOnly), "the run's date")
	host := f.String("host", "", "where the tests ran")
	if err := f.Parse(args); err != nil {
		return err
	}
	all, err := load(filepath.Join(*dir, figuresName))
	if err != nil {
		return err
	}
	fresh, err := readLogs(f.Args(), stdin)
	if err != nil {
		return err
	}
	for key, figure := range fresh {
		figure.Date, figure.Host = *date, *host
		all[key] = figure
	}
	page, err := render(all)
	if err != nil {
		return err
	}
	if err := all.save(filepath.Join(*dir, figuresName)); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(*dir, pageName), page, 0o644)
}

// readLogs reads the files of those names, or stdin if there are none.
func readLogs(names []string, stdin io.Reader) (figures, error) {
	all := figures{}
	if len(names) == 0 {
		return all, all.read(stdin)
	}
	for _, name := range names {
		log, err := os.Open(name)
		if err != nil {
			return nil, err
		}
		err = all.read(log)
		log.Close()
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return all, nil
}
