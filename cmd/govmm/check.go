package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"govmm/machine/hostcheck"
)

func newCheckCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "check",
		Short: "show what this host offers for virtual machines",
		Long: `Show what this host offers: the KVM device, the capabilities that govmm needs and those that
it likes, hardware or software virtualization, huge pages, tun, and what the sandbox is made of. The exit status is 0
only if Linux can boot here, otherwise 1.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			r := hostcheck.Check("/dev/kvm")
			print := printReport
			if asJSON {
				print = printReportJSON
			}
			if err := print(c.OutOrStdout(), r); err != nil {
				return err
			}
			if !r.CanBoot {
				return errors.New("Linux cannot boot here; see what is missing above")
			}
			return nil
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "write the report as JSON")
	return c
}

func printReport(w io.Writer, r *hostcheck.Report) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, i := range r.Items {
		fmt.Fprintf(t, "%s\t%s\t%s\n", i.Name, i.Status, i.Detail)
		if i.Remedy != "" {
			fmt.Fprintf(t, "\t\t-> %s\n", i.Remedy)
		}
	}
	return t.Flush()
}

func printReportJSON(w io.Writer, r *hostcheck.Report) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	return e.Encode(r)
}
