package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	tracereport "govmm/trace/report"
)

func newTraceCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "trace",
		Short: "show what govmm boot --trace has recorded",
		Long: `Show what is in a trace, a file that govmm boot --trace FILE or govmm run --trace FILE has written: exits with their reasons, addresses and
times, doorbells, interrupts, and requests of disks and networks. Perfetto (ui.perfetto.dev) and chrome://tracing open such a file as it is.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newTraceSummaryCommand(), newTraceHTMLCommand())
	return c
}

// oneTrace is the Args of a command that takes a trace.
func oneTrace(c *cobra.Command, args []string) error {
	if len(args) != 1 {
		return fmt.Errorf("%s takes one FILE, a trace; see %[1]s --help", c.CommandPath())
	}
	return nil
}

func newTraceSummaryCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:     "summary [flags] FILE",
		Short:   "count exits and add up their times by reason, device and address",
		Example: "  govmm boot --trace boot.json vmlinuz initramfs.cpio && govmm trace summary boot.json",
		Args:    oneTrace,
		RunE: func(c *cobra.Command, args []string) error {
			s, err := summarize(args[0])
			if err != nil {
				return err
			}
			if !asJSON {
				return s.WriteText(c.OutOrStdout())
			}
			e := json.NewEncoder(c.OutOrStdout())
			e.SetIndent("", "  ")
			return e.Encode(s)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "write JSON, with all addresses and times in nanoseconds")
	return c
}

func summarize(path string) (*tracereport.Summary, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	s, err := tracereport.Summarize(bufio.NewReader(f))
	if err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	return s, nil
}

func newTraceHTMLCommand() *cobra.Command {
	var out string
	c := &cobra.Command{
		Use:   "html [flags] FILE",
		Short: "make a page of a trace, with a timeline, for a browser",
		Long: `Make one page of a trace, which needs nothing else: a timeline to zoom into, the phases of the start, a histogram of how long exits took, and the
tables of govmm trace summary.`,
		Args: oneTrace,
		RunE: func(c *cobra.Command, args []string) error {
			if out == "" {
				out = strings.TrimSuffix(args[0], filepath.Ext(args[0])) + ".html"
			}
			return writeTracePage(args[0], out, c.OutOrStdout())
		},
	}
	c.Flags().StringVarP(&out, "output", "o", "", "write to `OUT`, - for standard output (default FILE with the ending .html)")
	return c
}

// writeTracePage makes the page whole before it touches what there is at out.
func writeTracePage(path, out string, stdout io.Writer) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if out != "-" && isFile(f, out) {
		return errors.New("the page would be written over its trace; name another file with -o")
	}
	var page bytes.Buffer
	if err := tracereport.WriteHTML(&page, bufio.NewReader(f)); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	if out == "-" {
		_, err := page.WriteTo(stdout)
		return err
	}
	return os.WriteFile(out, page.Bytes(), 0o600) // as the trace
}

// isFile reports whether path leads to f, by whichever name.
func isFile(f *os.File, path string) bool {
	at, err := os.Stat(path)
	if err != nil {
		return false
	}
	is, err := f.Stat()
	return err == nil && os.SameFile(is, at)
}
