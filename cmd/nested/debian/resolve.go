package debian

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// A source tells how the package of a kernel is found.
type source struct {
	name    string         // the package itself, where its name is known
	meta    string         // package that depends on the kernel's; none means to search
	search  string         // what apt-cache search is asked for
	pattern *regexp.Regexp // what the package's name must look like
}

// Names of the kernels that a Cache provides.
const (
	Full61  = "6.1-full"   // the test host's own: everything is a module, 9p and kvm-amd among them
	Cloud61 = "6.1-cloud"  // a guest: LZ4 payload
	Cloud12 = "6.12-cloud" // a guest: zstd payload
)

// Names lists the kernels that a Cache provides.
func Names() []string { return []string{Full61, Cloud61, Cloud12} }

func sourceOf(name string) (source, error) {
	switch name {
	case Full61:
		return source{
			meta:    "linux-image-amd64",
			pattern: regexp.MustCompile(`^linux-image-6\.1\.[0-9]+-[0-9]+-amd64$`),
		}, nil
	case Cloud61:
		return source{
			meta:    "linux-image-cloud-amd64",
			pattern: regexp.MustCompile(`^linux-image-6\.1\.[0-9]+-[0-9]+-cloud-amd64$`),
		}, nil
	case Cloud12:
		return source{
			search:  `^linux-image-6\.12\..*deb12-cloud-amd64$`,
			pattern: regexp.MustCompile(`^linux-image-6\.12\.[0-9]+\+deb12-cloud-amd64$`),
		}, nil
	}
	return source{}, fmt.Errorf("no kernel %q: there are %s", name, strings.Join(Names(), ", "))
}

// dependency finds in the output of "apt-cache depends META" the first package
// that matches the source.
func (s source) dependency(out string) (string, error) {
	var others []string
	for line := range strings.Lines(out) {
		// Alternatives have a bar before the word.
		name, ok := strings.CutPrefix(strings.TrimLeft(line, " |"), "Depends: ")
		if !ok {
			continue
		}
		name = strings.TrimSpace(name)
		if s.pattern.MatchString(name) {
			return name, nil
		}
		others = append(others, name)
	}
	if len(others) == 0 {
		return "", fmt.Errorf("package %s depends on no kernel", s.meta)
	}
	return "", fmt.Errorf("package %s is %s here: this kernel is one of Debian 12 (bookworm)", s.meta, strings.Join(others, ", "))
}

// newest finds in the output of "apt-cache search" the matching package of the
// highest version.
func (s source) newest(out string) (string, error) {
	var found []string
	for line := range strings.Lines(out) {
		name, _, _ := strings.Cut(strings.TrimSpace(line), " ")
		if s.pattern.MatchString(name) {
			found = append(found, name)
		}
	}
	if len(found) == 0 {
		return "", fmt.Errorf("no package matches %s: this kernel is one of Debian 12 (bookworm)", s.search)
	}
	return slices.MaxFunc(found, compareVersions), nil
}

var digits = regexp.MustCompile(`[0-9]+`)

// compareVersions orders names that differ in their numbers only.
func compareVersions(a, b string) int {
	return slices.CompareFunc(digits.FindAllString(a, -1), digits.FindAllString(b, -1), func(x, y string) int {
		// The numbers were matched as digits; one too long for an int counts as the highest.
		m, _ := strconv.Atoi(x)
		n, _ := strconv.Atoi(y)
		return m - n
	})
}
