package acpi

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// acpica runs a tool of ACPICA, the implementation of ACPI that Linux has in it,
// and returns what it prints.
func acpica(t *testing.T, tool string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(tool)
	if err != nil {
		t.Fatalf("no %s to check the tables with: apt-get install acpica-tools", tool)
	}
	out, err := exec.Command(path, args...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", tool, strings.Join(args, " "), err, out)
	}
	return string(out)
}

// iasl disassembles every table, and compiles the result to the same table
// again, without a warning either way.
func TestIASL(t *testing.T) {
	large := testConfig(300, 64)
	large.Serial = append(large.Serial, Serial{Port: 0x2f8, Size: 8, IRQ: 3})
	for _, c := range []Config{testConfig(1, 0), testConfig(16, 4), pciConfig(2), large} {
		t.Run(fmt.Sprintf("%dcpu-%dvirtio", len(c.APICIDs), len(c.VirtioMMIO)), func(t *testing.T) {
			for _, table := range follow(t, c, mustBuild(t, c)) {
				if table.name == "RSDP" {
					continue // no table for iasl: it has no common header
				}
				checkWithIASL(t, table)
			}
		})
	}
}

func checkWithIASL(t *testing.T, table foundTable) {
	t.Helper()
	aml := filepath.Join(t.TempDir(), table.name+".aml")
	dsl := strings.TrimSuffix(aml, ".aml") + ".dsl"
	if err := os.WriteFile(aml, table.data, 0o666); err != nil {
		t.Fatal(err)
	}
	out := acpica(t, "iasl", "-d", aml)
	source, err := os.ReadFile(dsl)
	if err != nil {
		t.Fatalf("%s was not disassembled: %v\n%s", table.name, err, out)
	}
	for _, bad := range []string{"Warning", "Error", "Invalid", "Unknown"} {
		if strings.Contains(out, bad) || strings.Contains(string(source), bad) {
			t.Errorf("disassembling %s: %s\n%s\n%s", table.name, bad, out, source)
		}
	}

	out = acpica(t, "iasl", "-oa", dsl) // -oa: no optimizations, which shorten names
	if !strings.Contains(out, "0 Errors, 0 Warnings, 0 Remarks") {
		t.Errorf("compiling %s:\n%s", table.name, out)
	}
	again, err := os.ReadFile(aml)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(anonymous(table), anonymous(foundTable{table.name, 0, again})) {
		t.Errorf("%s: iasl read the table as\n%s\nwhich is not what we wrote", table.name, source)
	}
}

// anonymous returns the table without what iasl changes in a header: the creator
// and the checksum over it.
func anonymous(table foundTable) []byte {
	data := bytes.Clone(table.data)
	if table.name != "FACS" {
		data[9] = 0
		clear(data[28:36])
	}
	return data
}

// acpiexec runs ACPICA's interpreter, so it loads the DSDT as Linux does.
func TestACPIExec(t *testing.T) {
	c := testConfig(2, 2)
	c.PCI = pciConfig(2).PCI
	dsdt := follow(t, c, mustBuild(t, c))[4]
	aml := filepath.Join(t.TempDir(), "dsdt.aml")
	if err := os.WriteFile(aml, dsdt.data, 0o666); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		command string
		want    []string
	}{
		{`evaluate \_S5`, []string{"Contains 4 Elements", "[Integer] = 0000000000000005"}},
		{`resources \_SB.COM1`, []string{"I/O Resource", "03F8", "IRQ Resource"}},
		{`resources \_SB.PCI0`, []string{"WORD Address Space", "Bus Number Range", "0CF8", "DWORD Address Space", "CFFFFFFF"}},
		{`resources \_SB.V001`, []string{"D0001000", "00001000", "Extended IRQ", "Edge", "ActiveHigh", "Exclusive"}},
	}
	for _, tt := range tests {
		out := acpica(t, "acpiexec", "-b", tt.command, aml)
		for _, want := range tt.want {
			if !strings.Contains(out, want) {
				t.Errorf("%s: no %q in\n%s", tt.command, want, out)
			}
		}
		for _, bad := range []string{"Error", "Warning", "Exception"} {
			if strings.Contains(out, bad) {
				t.Errorf("%s: %s in\n%s", tt.command, bad, out)
			}
		}
	}
}
