package docs

import (
	"fmt"
	"go/ast"
	"go/constant"
	"go/parser"
	"go/token"
	"maps"
	"slices"
	"strings"
	"testing"
)

// mapFile has the address map. All its constants are in the picture, or in notAddresses.
const mapFile = "../machine/addressmap.go"

// otherFiles have addresses that it does not have itself.
var otherFiles = []string{"../bootimage/place.go", "../devices/pm/reset.go"}

// An addressRow is what begins at an address: that of the first of its constants. The others are parts of the same thing.
type addressRow struct{ constants, what string }

// An addressRange is rows that answer in the same way.
type addressRange struct {
	answers string
	cell    string // attributes of its cells
	rows    []addressRow
}

const (
	ramCell    = `bgcolor="#fff1dc"`
	deviceCell = `bgcolor="#e4edfb"`
	kvmCell    = `bgcolor="#e0f1e5"`
)

var memoryMap = []addressRange{
	{"RAM: the processor,<br/>without an exit", ramCell, []addressRow{
		{"gdtAddr", "GDT of the first vCPU"},
		{"startInfoAddr", "hvm_start_info (PVH entry)"},
		{"bootParamsAddr", "boot_params (64-bit entry)"},
		{"setupDataAddr", "setup_data (64-bit entry)"},
		{"pageTablesAddr", "page tables (64-bit entry)"},
		{"cmdlineAddr", "the kernel's command line"},
		{"conventionalEnd", "not offered in E820"},
		{"acpiBase", "ACPI tables, the RSDP first"},
		{"highRAM acpiLimit", "the kernel, the initrd,<br/>all that the guest takes"},
	}},
	{"no RAM: an exit to govmm,<br/>MMIO bus, device. Doorbells:<br/>KVM, no exit to govmm", deviceCell, []addressRow{
		{"holeStart pciMemoryBase pciMemorySize", "registers of PCI devices"},
		{"virtioMMIOBase", "virtio-mmio devices, if there<br/>is no PCI bus: a page each"},
		{"ecamBase", "configuration of PCI devices"},
	}},
	{"KVM, no exit to govmm", kvmCell, []addressRow{
		{"ioapicAddr", "I/O APIC"},
		{"localAPICAddr", "local APICs"},
		{"identityMapAddr tssAddr kvmPagesEnd", "pages that KVM needs for real<br/>mode on some processors"},
	}},
	{"RAM: the processor", ramCell, []addressRow{
		{"holeEnd", "the rest of RAM, if there<br/>are more than 3 GiB"},
	}},
}

var portMap = []addressRange{
	{"an exit to govmm,<br/>PIO bus, device", deviceCell, []addressRow{
		{"i8042Port", "keyboard controller: reset"},
		{"rtcPort", "real-time clock"},
		{"debugExitPort", "exit port, if asked for"},
		{"serialPort", "serial port COM1"},
		{"pm1EventPort", "ACPI events"},
		{"pm1ControlPort", "ACPI power-off"},
		{"MarkPort", "marks of --timing"},
		{"pciConfigPort", "PCI configuration"},
		{"ResetPort", "reset, among PCI's ports"},
	}},
	{"the same; doorbells:<br/>KVM, no exit to govmm", deviceCell, []addressRow{
		{"pciPortsBase pciPortsSize", "registers of PCI devices"},
	}},
}

// notAddresses are constants that the picture leaves out.
var notAddresses = []string{"serialIRQ", "sciIRQ", "s5SleepType", "MinMemory", "MaxMemory", "MaxCPUs"}

// TestAddressMapPicture holds that addressmap.dot has the constants' values, and all that mapFile has.
func TestAddressMapPicture(t *testing.T) {
	required := readConstants(t, mapFile)
	values := maps.Clone(required)
	for _, file := range otherFiles {
		maps.Copy(values, readConstants(t, file))
	}
	var b strings.Builder
	b.WriteString(generated("the address map, from machine/addressmap.go and picture_addressmap_test.go"))
	// Both boxes are as high as the higher table, so that the tables begin at one height.
	b.WriteString(`digraph addressmap {
	graph [pad=0.06 nodesep=0.1 bgcolor="#ffffff"]
	node [fontname="Arial" fontsize=11 shape=box style="" color="#8c959f" penwidth=0 margin=0 height=6.7 labelloc=t]

`)
	writeMap(t, &b, "memory", "guest-physical address", memoryMap, values)
	writeMap(t, &b, "ports", "I/O port", portMap, values)
	b.WriteString("}\n")
	checkSource(t, "addressmap.dot", b.String())

	for name := range required {
		if !slices.Contains(notAddresses, name) && !mapped(name) {
			t.Errorf("the picture has no place for %s: add it to memoryMap, portMap or notAddresses", name)
		}
	}
}

func mapped(name string) bool {
	return slices.ContainsFunc(slices.Concat(memoryMap, portMap), func(r addressRange) bool {
		return slices.ContainsFunc(r.rows, func(row addressRow) bool { return slices.Contains(strings.Fields(row.constants), name) })
	})
}

// writeMap writes a node that is a table of ranges, which must ascend.
func writeMap(t *testing.T, b *strings.Builder, name, title string, ranges []addressRange, values map[string]uint64) {
	t.Helper()
	fmt.Fprintf(b, "\t%s [label=<<table border=\"0\" cellborder=\"1\" cellspacing=\"0\" cellpadding=\"5\">\n", name)
	fmt.Fprintf(b, "\t\t<tr><td border=\"0\">%s</td><td border=\"0\">what begins there</td><td border=\"0\">who answers</td></tr>\n", title)
	var last uint64
	for _, r := range ranges {
		for i, row := range r.rows {
			first, _, _ := strings.Cut(row.constants, " ")
			at, ok := values[first]
			if !ok {
				t.Errorf("there is no constant %s", first)
			} else if at <= last {
				t.Errorf("%s does not lie above the row before it", first)
			}
			last = at
			fmt.Fprintf(b, "\t\t<tr><td align=\"right\" border=\"0\">%s</td><td %s>%s</td>", address(at), r.cell, row.what)
			if i == 0 {
				fmt.Fprintf(b, "<td rowspan=\"%d\" %s>%s</td>", len(r.rows), r.cell, r.answers)
			}
			b.WriteString("</tr>\n")
		}
	}
	b.WriteString("\t</table>>]\n")
}

// address writes an address with an underscore between each four digits.
func address(a uint64) string {
	switch {
	case a <= 0xffff:
		return fmt.Sprintf("%#x", a)
	case a <= 0xffff_ffff:
		return fmt.Sprintf("%#x_%04x", a>>16, a&0xffff)
	}
	return fmt.Sprintf("%#x_%04x_%04x", a>>32, a>>16&0xffff, a&0xffff)
}

// readConstants reads the constants of file that are integer literals.
func readConstants(t *testing.T, file string) map[string]uint64 {
	t.Helper()
	f, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	values := make(map[string]uint64)
	ast.Inspect(f, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok {
			return true
		}
		for i, value := range spec.Values {
			if lit, ok := value.(*ast.BasicLit); ok && lit.Kind == token.INT {
				v, _ := constant.Uint64Val(constant.MakeFromLiteral(lit.Value, lit.Kind, 0))
				values[spec.Names[i].Name] = v
			}
		}
		return true
	})
	return values
}
