package compare

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"govmm/bootimage/rootfs"
	"govmm/compare/oci"
	"govmm/compare/probe"
	"govmm/compare/report"
)

// Options say what is compared.
type Options struct {
	Govmm   string // the program, by its path
	Version string // of govmm, for the report
	Kernel  string // of the virtual machines; empty if there is none, which is told in the report
	Others  []string
	Memory  string // of the virtual machines, as govmm run takes it

	Rootfs  string   // directory or tar archive
	Command []string // run for start-up and system calls
	Probe   []byte   // the program cmd/compareprobe

	Runtimes  []*oci.Runtime
	Runs      int           // of each start-up; other figures take a part of them
	Instances []int         // how many at a time for memory, ascending
	Only      []string      // keys of claims; all if empty
	Timeout   time.Duration // of each command, to its end; 0 for two minutes
	Missing   []string      // what the caller has found missing, for the report

	// Progress is told in a few words what is being done. It may be nil.
	Progress func(string)
}

// A comparison is one run.
type comparison struct {
	Options
	dir       string  // removed at the end
	root      string  // directory with the root file system
	probeRoot string  // the same, and the probe
	places    []place // the host, the virtual machine, containers
	vm        *vm
	facts     map[string]*probe.Facts // by subject
	factsErr  map[string]error
	report    *report.Report
}

// Run compares, and returns what was found. When ctx ends before, its cause is the error. Nothing that was made for it is left in either case; what could not be
// removed is in the error.
func Run(ctx context.Context, o Options) (r *report.Report, err error) {
	dir, err := os.MkdirTemp("", "govmm-compare-")
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, removeAll(dir)) }()
	c := &comparison{Options: o, dir: dir, facts: make(map[string]*probe.Facts), factsErr: make(map[string]error)}
	begun := time.Now()
	if err := c.stage(); err != nil {
		return nil, err
	}
	c.findPlaces(ctx)
	if err := c.begin(begun); err != nil {
		return nil, err
	}
	if err := c.tryPlaces(ctx); err != nil {
		return nil, err
	}
	for _, k := range c.chosen() {
		c.report.Claims = append(c.report.Claims, c.look(ctx, k))
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
	}
	c.report.Seconds = time.Since(begun).Seconds()
	return c.report, nil
}

// host is the place that the others are compared with, guests are those others, and containers those of them that are no virtual machine.
func (c *comparison) host() place         { return c.places[0] }
func (c *comparison) guests() []place     { return c.places[1:] }
func (c *comparison) containers() []place { return c.places[2:] }

func (c *comparison) tell(format string, args ...any) {
	if c.Progress != nil {
		c.Progress(fmt.Sprintf(format, args...))
	}
}

// stage makes the directories that commands have as their root.
func (c *comparison) stage() error {
	c.tell("root file system")
	c.root, c.probeRoot = filepath.Join(c.dir, "root"), filepath.Join(c.dir, "probe-root")
	for _, root := range []string{c.root, c.probeRoot} {
		if err := os.Mkdir(root, 0o755); err != nil {
			return err
		}
		if _, err := rootfs.Extract(root, c.Rootfs, rootfs.Options{}); err != nil {
			return fmt.Errorf("--rootfs: %w", err)
		}
		// The directories that a container has its mounts on.
		for _, name := range []string{"proc", "sys", "dev"} {
			if err := os.Mkdir(filepath.Join(root, name), 0o755); err != nil && !errors.Is(err, os.ErrExist) {
				return err
			}
		}
	}
	return c.addProbe()
}

// addProbe puts the probe, and what a disk is mounted on, into the root file system, in place of what has their names there, and wherever that leads. A container's root is
// read-only, so what is mounted on must be there.
func (c *comparison) addProbe() error {
	root, err := os.OpenRoot(c.probeRoot)
	if err != nil {
		return err
	}
	defer root.Close()
	for _, name := range []string{probeName, containerDisk[1:]} {
		if err := root.RemoveAll(name); err != nil {
			return err
		}
	}
	if err := root.Mkdir(containerDisk[1:], 0o755); err != nil {
		return err
	}
	f, err := root.OpenFile(probeName, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o755)
	if err != nil {
		return err
	}
	_, err = f.Write(c.Probe)
	return errors.Join(err, f.Close())
}

// removeAll removes a directory, also where an ordinary user has made directories in it that cannot be written, as many root file systems have.
func removeAll(dir string) error {
	if err := os.RemoveAll(dir); err == nil {
		return nil
	}
	err := filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			return os.Chmod(path, 0o700) // before it is read
		}
		return err
	})
	if again := os.RemoveAll(dir); again != nil {
		return errors.Join(again, err)
	}
	return nil
}

// findPlaces makes the places, also those in which nothing can run, so that the report has their columns.
func (c *comparison) findPlaces(ctx context.Context) {
	c.vm = &vm{program: c.Govmm, kernel: c.Kernel, version: c.Version, memory: c.Memory, missing: c.vmMissing()}
	c.places = []place{host{}, c.vm}
	for _, r := range c.Runtimes {
		version, err := r.Version(ctx)
		if err != nil {
			c.Missing = append(c.Missing, err.Error())
		}
		c.places = append(c.places, newContainer(r, c.newID(r.Name()), version, c.dir))
	}
}

// newID makes a name for a place that no other has.
func (c *comparison) newID(name string) string {
	taken := func(id string) bool {
		return slices.ContainsFunc(c.places, func(p place) bool { return p.subject().ID == id })
	}
	id := name
	for n := 2; taken(id); n++ {
		id = fmt.Sprintf("%s-%d", name, n)
	}
	return id
}

// vmMissing says why there can be no virtual machine.
func (c *comparison) vmMissing() error {
	if c.Kernel == "" {
		return errors.New("no kernel for virtual machines; build one with make kernel, or give --kernel FILE")
	}
	return nil
}

// tryPlaces looks at each place once, and tells of those in which nothing can run.
func (c *comparison) tryPlaces(ctx context.Context) error {
	if f, err := c.factsOf(ctx, c.host()); err == nil {
		c.report.Notes = notes(f)
	}
	for _, p := range c.places {
		c.tell("trying the %s", p.subject().Title)
		if _, err := c.factsOf(ctx, p); err != nil {
			c.report.Missing = append(c.report.Missing, p.subject().Title+": "+oneLine(err))
		}
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
	}
	return nil
}

// begin makes the report.
func (c *comparison) begin(begun time.Time) error {
	h, err := describeHost()
	if err != nil {
		return err
	}
	c.report = &report.Report{Version: report.Version, Start: begun, Command: c.Command, Host: h, Missing: c.Missing}
	for _, p := range c.places {
		c.report.Subjects = append(c.report.Subjects, p.subject())
	}
	return nil
}

// chosen gives the claims that --only names, or all.
func (c *comparison) chosen() []claim {
	if len(c.Only) == 0 {
		return allClaims()
	}
	return slices.DeleteFunc(allClaims(), func(k claim) bool { return !slices.Contains(c.Only, k.key) })
}

// look looks at one claim. Whatever goes wrong is the claim's finding: the others are looked at nevertheless.
func (c *comparison) look(ctx context.Context, k claim) report.Claim {
	c.tell("%d of %d: %s", k.number, len(allClaims()), k.key)
	found := report.Claim{Number: k.number, Key: k.key, Title: k.title, How: k.how, Limits: k.limits}
	if err := k.probe(c, ctx, &found); err != nil {
		found.Verdict, found.Finding = report.NotMeasured, oneLine(err)
		return found
	}
	if found.Verdict == "" {
		found.Verdict = judge(found.Checks)
	}
	return found
}

// judge makes a verdict of checks.
func judge(checks []report.Check) report.Verdict {
	holding := 0
	for _, c := range checks {
		if c.Holds {
			holding++
		}
	}
	switch {
	case len(checks) == 0:
		return report.NotMeasured
	case holding == len(checks):
		return report.Holds
	case holding == 0:
		return report.Fails
	}
	return report.Partly
}

func oneLine(err error) string { return strings.ReplaceAll(err.Error(), "\n", "; ") }
