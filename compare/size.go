package compare

import (
	"context"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"govmm/compare/report"
)

// size is claim 9.
func (c *comparison) size(ctx context.Context, k *report.Claim) error {
	if c.vm.missing != nil {
		return c.vm.missing
	}
	rootBytes, err := treeSize(c.root)
	if err != nil {
		return err
	}
	info, err := os.Stat(c.Kernel)
	if err != nil {
		return err
	}
	kernelBytes := info.Size()
	kernelOf := func(p place) int64 {
		if p.subject().Kind == report.KindVM {
			return kernelBytes
		}
		return 0
	}
	k.Rows = []report.Row{
		c.row("size/root", "root file system", report.Bytes, func(place) report.Cell { return figure([]float64{float64(rootBytes)}) }),
		c.row("size/kernel", "kernel", report.Bytes, func(p place) report.Cell { return figure([]float64{float64(kernelOf(p))}) }),
		c.row("size/all", "to ship", report.Bytes, func(p place) report.Cell { return figure([]float64{float64(rootBytes + kernelOf(p))}) }),
	}
	check(k, kernelBytes > 0, "a virtual machine ships a kernel too")
	k.Finding = fmt.Sprintf("A virtual machine ships %.1f MiB more, its kernel.", float64(kernelBytes)/(1<<20))
	_, err = c.otherKernels(ctx, k, "size")
	return err
}

// treeSize adds up the sizes of files, each once however many names it has.
func treeSize(dir string) (sum int64, err error) {
	seen := make(map[fileID]bool)
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if id := idOf(info); !seen[id] {
			seen[id] = true
			sum += info.Size()
		}
		return nil
	})
	return sum, err
}
