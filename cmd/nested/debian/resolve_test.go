package debian

import (
	"strings"
	"testing"
)

func mustSource(t *testing.T, name string) source {
	t.Helper()
	src, err := sourceOf(name)
	if err != nil {
		t.Fatal(err)
	}
	return src
}

func TestDependency(t *testing.T) {
	for _, test := range []struct{ name, out, want, err string }{
		{
			name: Full61,
			out:  "linux-image-amd64\n  Depends: linux-image-6.1.0-56-amd64\n",
			want: "linux-image-6.1.0-56-amd64",
		},
		{
			name: Cloud61,
			out:  "linux-image-cloud-amd64\n  PreDepends: x\n |Depends: linux-image-6.1.0-9-cloud-amd64\n  Depends: linux-image-6.1.0-9-cloud-amd64-unsigned\n",
			want: "linux-image-6.1.0-9-cloud-amd64",
		},
		{
			name: Full61,
			out:  "linux-image-amd64\n  Depends: linux-image-6.12.57+deb13-amd64\n",
			err:  "linux-image-6.12.57+deb13-amd64 here",
		},
		{name: Full61, out: "linux-image-amd64\n", err: "depends on no kernel"},
	} {
		got, err := mustSource(t, test.name).dependency(test.out)
		if got != test.want || !matches(err, test.err) {
			t.Errorf("%s in %q: %q, %v; want %q, %q", test.name, test.out, got, err, test.want, test.err)
		}
	}
}

// matches reports whether err has the given text, or is nil for none.
func matches(err error, text string) bool {
	if text == "" || err == nil {
		return text == "" && err == nil
	}
	return strings.Contains(err.Error(), text)
}

func TestNewest(t *testing.T) {
	const out = `linux-image-6.12.100+deb12-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)
linux-image-6.12.9+deb12-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)
linux-image-6.12.117+deb12-cloud-amd64 - Linux 6.12 for x86-64 cloud (signed)
linux-image-6.12.118+deb12-cloud-amd64-unsigned - Linux 6.12 for x86-64 cloud
linux-image-6.12.119+deb12-cloud-amd64-dbg - Debug symbols
linux-image-6.12.120+deb12-amd64 - Linux 6.12 for 64-bit PCs (signed)
`
	src := mustSource(t, Cloud12)
	if got, err := src.newest(out); got != "linux-image-6.12.117+deb12-cloud-amd64" || err != nil {
		t.Errorf("%q, %v", got, err)
	}
	if got, err := src.newest("linux-image-5.10.0-1-amd64 - old\n"); err == nil {
		t.Errorf("found %q", got)
	}
}

func TestUnknownName(t *testing.T) {
	if _, err := sourceOf("5.10"); err == nil || !strings.Contains(err.Error(), Full61) {
		t.Errorf("%v: does not tell which names there are", err)
	}
}
