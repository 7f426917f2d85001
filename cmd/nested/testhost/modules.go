package testhost

import (
	"bytes"
	"debug/elf"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
)

// wantedModules are what the test host's kernel needs beyond itself, to reach
// the host and to give tests what they use. Dependencies are found.
var wantedModules = []string{
	"virtio_pci", "virtio_console",
	"9pnet_virtio", "9p", "overlay",
	"kvm-amd",
	"tun", "tap", "vhost_net", "vhost_vsock",
	// ext4 and nf_tables ask for this one by an alias.
	"crc32c_generic", "ext4", "virtio_blk", "loop",
	// For taps on bridges and behind a masquerade.
	"bridge", "nf_tables", "nft_chain_nat", "nft_masq",
}

// A module is a kernel module, ready to be loaded.
type module struct {
	name string
	data []byte // the ELF file
}

// A moduleTree is a /lib/modules/VERSION directory. Packages do not have
// modules.dep, which depmod makes when they are installed; so dependencies come
// from the modules themselves.
type moduleTree struct {
	dir     string
	files   map[string]string // path below dir by name, as if not compressed
	builtin map[string]bool
}

func openModuleTree(dir string) (*moduleTree, error) {
	t := &moduleTree{dir: dir, files: make(map[string]string), builtin: make(map[string]bool)}
	order, err := os.ReadFile(filepath.Join(dir, "modules.order"))
	if err != nil {
		return nil, err
	}
	for file := range strings.Lines(string(order)) {
		t.files[moduleName(file)] = strings.TrimSpace(file)
	}
	builtin, err := os.ReadFile(filepath.Join(dir, "modules.builtin"))
	if err != nil {
		return nil, err
	}
	for file := range strings.Lines(string(builtin)) {
		t.builtin[moduleName(file)] = true
	}
	return t, nil
}

// moduleName returns the name of the module in a file. Dashes and underscores
// are the same in it.
func moduleName(file string) string {
	name, _, _ := strings.Cut(path.Base(strings.TrimSpace(file)), ".")
	return strings.ReplaceAll(name, "-", "_")
}

// resolve returns the modules of the given names and all that these depend on,
// in an order in which they can be loaded.
func (t *moduleTree) resolve(names []string) ([]module, error) {
	var list []module
	done := make(map[string]bool)
	var add func(name string) error
	add = func(name string) error {
		name = moduleName(name)
		if done[name] || t.builtin[name] {
			return nil
		}
		done[name] = true
		data, err := t.read(name)
		if err != nil {
			return err
		}
		depends, err := dependencies(data)
		if err != nil {
			return fmt.Errorf("module %s: %w", name, err)
		}
		for _, d := range depends {
			if err := add(d); err != nil {
				return err
			}
		}
		list = append(list, module{name, data})
		return nil
	}
	for _, name := range names {
		if err := add(name); err != nil {
			return nil, err
		}
	}
	return list, nil
}

// read returns the module's ELF file, decompressed.
func (t *moduleTree) read(name string) ([]byte, error) {
	file, ok := t.files[name]
	if !ok {
		return nil, fmt.Errorf("no module %s in %s", name, t.dir)
	}
	full := filepath.Join(t.dir, file)
	data, err := os.ReadFile(full)
	if !errors.Is(err, os.ErrNotExist) {
		return data, err
	}
	// Since Debian 13 they are compressed, and modules.order does not say so.
	var stderr bytes.Buffer
	cmd := exec.Command("xz", "-dc", full+".xz")
	cmd.Stderr = &stderr
	data, err = cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("module %s: xz: %w: %s", name, err, bytes.TrimSpace(stderr.Bytes()))
	}
	return data, nil
}

// dependencies returns the "depends" field of a module's .modinfo section,
// which is a sequence of KEY=VALUE strings ended by zero bytes.
func dependencies(data []byte) ([]string, error) {
	f, err := elf.NewFile(bytes.NewReader(data))
	if err != nil {
		return nil, err
	}
	section := f.Section(".modinfo")
	if section == nil {
		return nil, errors.New("no .modinfo section")
	}
	info, err := section.Data()
	if err != nil {
		return nil, err
	}
	for field := range bytes.SplitSeq(info, []byte{0}) {
		if list, ok := bytes.CutPrefix(field, []byte("depends=")); ok {
			return strings.FieldsFunc(string(list), func(r rune) bool { return r == ',' }), nil
		}
	}
	return nil, nil
}
