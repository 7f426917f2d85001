package docs

import (
	"fmt"
	"maps"
	"path"
	"slices"
	"strings"
	"testing"
)

// A packageGroup is a box of the picture of packages. Sixty boxes would be no picture, so packages of one purpose share one.
type packageGroup struct {
	name, purpose string
	look          look
	lines         []string // packages, as the rules name them: a line of the box each, separated by blanks
}

// packageGroups are all packages that govmm itself is made of, and how they are grouped is the one thing that the picture adds to the rules.
var packageGroups = []packageGroup{
	{"command", "the command", quiet, []string{"cmd/govmm", "machine/hostcheck"}},
	{"comparison", "govmm compare, a program of its own", quiet, []string{
		"cmd/govmm-compare cmd/compareprobe", "compare compare/probe compare/probe/image", "compare/child compare/oci compare/basefs compare/report"}},
	{"machine", "one virtual machine put together", own, []string{"machine machine/memory machine/acpi"}},
	{"debugger", "gdb", own, []string{"machine/debug gdbstub"}},
	{"kvm", "the KVM API", kernel, []string{"kvm"}},
	{"trace", "exits and requests, recorded", own, []string{"trace trace/report"}},
	{"sandbox", "what the process gives up", own, []string{"sandbox"}},
	{"agent", "a command in a guest", inGuest, []string{"agent agent/guest cmd/guestinit"}},
	{"kernels", "kernels", own, []string{"bootimage bootimage/payload", "bootimage/kaslr bootimage/kernelcache"}},
	{"userlands", "file systems and a kernel for guests", own, []string{"bootimage/initramfs bootimage/initramfs/...", "bootimage/rootfs bootimage/kernel"}},
	{"platform", "a PC's devices", own, []string{"devices/serial devices/i8042 devices/cmos", "devices/pm devices/debugexit devices/markport"}},
	{"transports", "how drivers reach virtio devices", own, []string{"devices/virtio/virtiopci devices/virtio/virtiommio"}},
	{"pci", "the PCI bus", own, []string{"devices/pci"}},
	{"virtio", "queues, and what all virtio devices share", own, []string{"devices/virtio"}},
	{"virtiodevices", "virtio devices", own, []string{
		"devices/virtio/blk devices/virtio/netif", "devices/virtio/console devices/virtio/rng devices/virtio/balloon"}},
	{"networks", "networks", own, []string{
		"devices/virtio/netif/tap devices/virtio/netif/tapnet", "devices/virtio/netif/usernet devices/virtio/netif/dhcp", "devices/virtio/netif/resolvconf"}},
	{"throttle", "limits of rates", own, []string{"devices/throttle"}},
	{"devices", "the vocabulary: Bus, Handler, IRQ", own, []string{"devices"}},
	{"waiting", "waiting for the kernel", own, []string{"devices/eventfd devices/wait"}},
}

// undrawn are packages of tests, generators and developers' tools.
var undrawn = []string{
	"kvm/internal/...", "sandbox/internal/...", "devices/virtio/virtiotest", "devices/virtio/netif/tap/nettest", "machine/guesttest",
	"machine/guesttest/...", "cmd/demo", "cmd/bench", "cmd/reliability", "cmd/nested", "cmd/nested/...", "examples/...",
}

// TestPackagesPicture holds that packages.dot shows the import rules.
func TestPackagesPicture(t *testing.T) {
	rules := readRules(t)
	edges := groupEdges(rules, groupsOf(t, rules))
	var b strings.Builder
	b.WriteString(generated("packages and what they import, from architecture.md and picture_packages_test.go"))
	b.WriteString("digraph packages {\n\tgraph [fontname=\"Arial\" nodesep=0.2 ranksep=0.35 pad=0.06 bgcolor=\"#ffffff\"]\n" + nodeStyle + edgeStyle + "\n")
	for _, g := range packageGroups {
		fmt.Fprintf(&b, "\t%s [label=<%s> %s]\n", g.name, g.label(), g.look)
	}
	b.WriteString("\n")
	for _, g := range packageGroups {
		if to := reduced(edges, g.name); len(to) > 0 {
			fmt.Fprintf(&b, "\t%s -> {%s}\n", g.name, strings.Join(to, " "))
		}
	}
	b.WriteString("}\n")
	checkSource(t, "packages.dot", b.String())
}

// label names the packages: the first in full, what lies beside or below it without the path that they share.
func (g packageGroup) label() string {
	label := `<font point-size="10" color="` + quietInk + `">` + g.purpose + `</font>`
	base := ""
	for _, line := range g.lines {
		var names []string
		for p := range strings.FieldsSeq(line) {
			if strings.HasSuffix(p, "/...") {
				continue
			}
			name, below := strings.CutPrefix(p, base+"/")
			if !below {
				if base = path.Dir(p); base == "." {
					base = p
				}
			}
			names = append(names, name)
		}
		label += "<br/>" + strings.Join(names, ", ")
	}
	return label
}

// groupsOf tells the group of each rule's package. Each is in one group, or undrawn.
func groupsOf(t *testing.T, rules map[string][]string) map[string]string {
	t.Helper()
	groups := make(map[string]string)
	for _, g := range packageGroups {
		for p := range strings.FieldsSeq(strings.Join(g.lines, " ")) {
			if _, ok := rules[p]; !ok {
				t.Errorf("the picture has package %s, for which architecture.md has no rule", p)
			}
			if groups[p] != "" {
				t.Errorf("the picture has package %s twice", p)
			}
			groups[p] = g.name
		}
	}
	for p := range rules {
		if groups[p] == "" && !slices.Contains(undrawn, p) && !matches(p, undrawn) {
			t.Errorf("the picture has no place for package %s: add it to packageGroups or undrawn", p)
		}
	}
	return groups
}

// groupEdges tells which groups may import from which others.
func groupEdges(rules map[string][]string, groups map[string]string) map[string]map[string]bool {
	edges := make(map[string]map[string]bool)
	for p, allowed := range rules {
		from := groups[p]
		for imported, to := range groups {
			if from == "" || to == from || !matches(imported, allowed) {
				continue
			}
			if edges[from] == nil {
				edges[from] = make(map[string]bool)
			}
			edges[from][to] = true
		}
	}
	return edges
}

// reduced tells to which groups an arrow of from's is drawn, sorted: to those that no other of its arrows leads to.
func reduced(edges map[string]map[string]bool, from string) []string {
	var drawn []string
	for to := range edges[from] {
		around := func(other string) bool { return other != to && reaches(edges, other, to, map[string]bool{from: true}) }
		if !slices.ContainsFunc(slices.Collect(maps.Keys(edges[from])), around) {
			drawn = append(drawn, to)
		}
	}
	slices.Sort(drawn)
	return drawn
}

func reaches(edges map[string]map[string]bool, from, to string, seen map[string]bool) bool {
	seen[from] = true
	for next := range edges[from] {
		if next == to || !seen[next] && reaches(edges, next, to, seen) {
			return true
		}
	}
	return false
}
