// Package docs holds no code. Its tests keep the documents true.
package docs

import (
	"bufio"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "govmm"

// readRules reads the import rules from architecture.md: the lines of the block that
// follows "## Who imports whom", "package: what it may import of ours".
// A name that ends in /... stands for every package below it.
func readRules(t *testing.T) map[string][]string {
	t.Helper()
	f, err := os.Open("architecture.md")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	rules := make(map[string][]string)
	section, block := false, false
	for s := bufio.NewScanner(f); s.Scan(); {
		line := s.Text()
		switch {
		case strings.HasPrefix(line, "## "):
			section = line == "## Who imports whom"
		case section && strings.HasPrefix(line, "```"):
			block = !block
		case section && block:
			pkg, allowed, ok := strings.Cut(line, ":")
			if !ok {
				t.Fatalf("rule %q has no colon", line)
			}
			rules[strings.TrimSpace(pkg)] = strings.Fields(allowed)
		}
	}
	if len(rules) == 0 {
		t.Fatal("architecture.md has no import rules")
	}
	return rules
}

// matches reports whether pkg is one of patterns.
func matches(pkg string, patterns []string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		base, below := strings.CutSuffix(p, "/...")
		if below {
			return strings.HasPrefix(pkg, base+"/")
		}
		return pkg == p
	})
}

// ruleFor finds the rule with the longest name that covers pkg.
func ruleFor(rules map[string][]string, pkg string) (name string, ok bool) {
	for n := range rules {
		if matches(pkg, []string{n}) && len(n) > len(name) {
			name, ok = n, true
		}
	}
	return name, ok
}

// sources gives the imports of every Go file of the main module, tests apart.
func sources(t *testing.T, visit func(file, pkg string, imports []string)) {
	t.Helper()
	err := filepath.WalkDir("..", func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, modErr := os.Stat(filepath.Join(file, "go.mod"))
			if file != ".." && (modErr == nil || strings.HasPrefix(d.Name(), ".") || d.Name() == "testdata") {
				return filepath.SkipDir
			}
			return nil
		}
		if !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return nil
		}
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.ImportsOnly)
		if err != nil {
			return err
		}
		var imports []string
		for _, i := range f.Imports {
			p, err := strconv.Unquote(i.Path.Value)
			if err != nil {
				return err
			}
			imports = append(imports, p)
		}
		rel, err := filepath.Rel("..", file)
		if err != nil {
			return err
		}
		visit(rel, path.Dir(filepath.ToSlash(rel)), imports)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestImports(t *testing.T) {
	rules := readRules(t)
	used := make(map[string]bool)
	sources(t, func(file, pkg string, imports []string) {
		name, ok := ruleFor(rules, pkg)
		if !ok {
			t.Errorf("%s: architecture.md has no rule for package %s", file, pkg)
			return
		}
		used[name] = true
		for _, i := range imports {
			ours, ok := strings.CutPrefix(i, module+"/")
			if ok && !matches(ours, rules[name]) {
				t.Errorf("%s imports %s, which architecture.md does not allow", file, ours)
			}
		}
	})
	for name := range rules {
		if !used[name] && !strings.HasSuffix(name, "/...") {
			t.Errorf("architecture.md has a rule for %s, which does not exist", name)
		}
	}
}

// TestUnsafe holds that unsafe stays in files that say so in their names.
func TestUnsafe(t *testing.T) {
	sources(t, func(file, _ string, imports []string) {
		if slices.Contains(imports, "unsafe") && !strings.Contains(filepath.Base(file), "_unsafe") {
			t.Errorf("%s imports unsafe; only files named *_unsafe.go do", file)
		}
	})
}

// TestNoCgo holds that the product needs no C compiler.
func TestNoCgo(t *testing.T) {
	sources(t, func(file, _ string, imports []string) {
		if slices.Contains(imports, "C") {
			t.Errorf("%s uses cgo", file)
		}
	})
}
