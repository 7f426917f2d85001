package main

import (
	"errors"
	"os"
	"slices"
	"testing"

	"govmm/devices/virtio/netif/usernet"
	"govmm/sandbox"
)

// TestResolverFiles holds what may be read for the name servers: never root's whole /etc.
func TestResolverFiles(t *testing.T) {
	etc, run := t.TempDir(), t.TempDir()
	for _, path := range []string{etc + "/plain", run + "/resolv.conf"} {
		if err := os.WriteFile(path, nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(os.Symlink(run+"/resolv.conf", etc+"/link"), os.Symlink("plain", etc+"/near")); err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		name             string
		root, user       string
		toRoot, toOthers string // where the link leads that they need
	}{
		{etc + "/plain", etc + "/plain", etc, "", ""},
		{etc + "/link", run, run, run + "/resolv.conf", run + "/resolv.conf"},
		{etc + "/near", etc + "/plain", etc, etc + "/plain", ""},
		{etc + "/none", etc + "/none", etc + "/none", "", ""},
	} {
		for isRoot, want := range map[bool][2]string{true: {test.root, test.toRoot}, false: {test.user, test.toOthers}} {
			if files, links := resolverFiles(test.name, isRoot); !slices.Equal(files, []string{want[0]}) || links[test.name] != want[1] {
				t.Errorf("%s, root %v: readable are %v, with links %v", test.name, isRoot, files, links)
			}
		}
	}
}

// TestRefuse holds that strict takes nothing that is missing.
func TestRefuse(t *testing.T) {
	missing := []sandbox.Layer{{Name: "x", Detail: "y", Remedy: "z"}}
	if err := sandboxStrict.refuse(missing); err == nil || err.Error() != "--sandbox=strict: no x (y); z" {
		t.Error(err)
	}
	if err := errors.Join(sandboxStrict.refuse(nil), sandboxOn.refuse(missing), sandboxOff.refuse(missing)); err != nil {
		t.Error(err)
	}
}

// TestPolicy holds that only networks are left more than nothing.
func TestPolicy(t *testing.T) {
	if p := policy(nil); p.Sockets != sandbox.NoSockets || len(p.Readable) > 0 || p.Files == 0 {
		t.Errorf("without networks: %+v", p)
	}
	if p := policy([]backend{new(guardedTap)}); p.Sockets != sandbox.OpenSockets || len(p.Readable) > 0 {
		t.Errorf("a routed tap: %+v", p)
	}
	// Without a file to read a guest's question for a name would end it.
	if p := policy([]backend{new(guardedTap), new(usernet.Backend)}); p.Sockets != sandbox.NewSockets || len(p.Readable) == 0 || p.Files != 0 {
		t.Errorf("the user network: %+v", p)
	}
}
