package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"govmm/bootimage/kernelcache"
)

func newImageCommand() *cobra.Command {
	c := &cobra.Command{
		Use:   "image",
		Short: "look after the kernels that govmm keeps unpacked",
		Long: `Kernels that govmm boot unpacked are kept in the user's cache directory, so that the next boot
is faster and guests share their pages. They take at most 1 GiB; those not used for the longest
time go first. Removing them costs the next boot some time, and no running guest anything.`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error { return c.Help() },
	}
	c.AddCommand(newImageListCommand(), newImagePruneCommand())
	return c
}

// imageInfo is an unpacked kernel as the commands print it.
type imageInfo struct {
	Version string    `json:"version"` // empty if the kernel does not say
	Size    int64     `json:"size"`    // bytes
	Used    time.Time `json:"used"`
	Sum     string    `json:"sha256"` // of the file that it was unpacked from
	Path    string    `json:"path"`
}

// openImages gives the user's cache and what is in it.
func openImages() (*kernelcache.Dir, []imageInfo, error) {
	dir := kernelCache()
	if dir == nil {
		return nil, nil, errors.New("there is no cache directory; set HOME or XDG_CACHE_HOME")
	}
	list, err := dir.List()
	if err != nil {
		return nil, nil, err
	}
	infos := make([]imageInfo, 0, len(list)) // not nil: JSON has a list also when it is empty
	for _, i := range list {
		// One that cannot be read has no version, and is checked when it is used.
		version, _ := i.Version()
		infos = append(infos, imageInfo{version, i.Size, i.Used.UTC().Truncate(time.Second), i.Sum, i.Path})
	}
	return dir, infos, nil
}

func newImageListCommand() *cobra.Command {
	var asJSON bool
	c := &cobra.Command{
		Use:   "list",
		Short: "list the unpacked kernels, the last used first",
		Args:  noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, list, err := openImages()
			if err != nil {
				return err
			}
			return printImages(c.OutOrStdout(), list, asJSON)
		},
	}
	c.Flags().BoolVar(&asJSON, "json", false, "write the list as JSON")
	return c
}

func newImagePruneCommand() *cobra.Command {
	var (
		asJSON bool
		keep   size
	)
	c := &cobra.Command{
		Use:   "prune",
		Short: "remove unpacked kernels",
		Example: `  govmm image prune
  govmm image prune --keep 200M`,
		Args: noArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			// What they are can be told only while they are there.
			dir, list, err := openImages()
			if err != nil {
				return err
			}
			removed, err := dir.Prune(int64(min(uint64(keep), 1<<62)))
			list = slices.DeleteFunc(list, func(i imageInfo) bool {
				return !slices.ContainsFunc(removed, func(r kernelcache.Info) bool { return r.Sum == i.Sum })
			})
			return errors.Join(err, printImages(c.OutOrStdout(), list, asJSON))
		},
	}
	c.Flags().Var(&keep, "keep", "keep the last used ones up to this size, with a suffix of K, M or G")
	c.Flags().BoolVar(&asJSON, "json", false, "write what was removed as JSON")
	return c
}

func printImages(w io.Writer, list []imageInfo, asJSON bool) error {
	if asJSON {
		e := json.NewEncoder(w)
		e.SetIndent("", "  ")
		return e.Encode(list)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	fmt.Fprintln(t, "KERNEL\tMiB\tUSED\tSHA256")
	var total int64
	for _, i := range list {
		version := i.Version
		if version == "" {
			version = "-"
		}
		fmt.Fprintf(t, "%s\t%.1f\t%s\t%.12s\n", version, mebibytes(i.Size), i.Used.Local().Format(time.DateTime), i.Sum)
		total += i.Size
	}
	fmt.Fprintf(t, "%d in all\t%.1f\t\t\n", len(list), mebibytes(total))
	return t.Flush()
}

func mebibytes(n int64) float64 { return float64(n) / (1 << 20) }
