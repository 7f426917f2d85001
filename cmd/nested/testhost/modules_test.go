package testhost

import (
	"bytes"
	"debug/elf"
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"govmm/bootimage/initramfs"
)

// elfModule returns an ELF file with a .modinfo section of the given fields.
func elfModule(t *testing.T, fields ...string) []byte {
	t.Helper()
	const names = "\x00.modinfo\x00.shstrtab\x00"
	info := strings.Join(fields, "\x00") + "\x00"
	const headerSize, sectionSize = 64, 64
	infoOff := uint64(headerSize)
	namesOff := infoOff + uint64(len(info))
	header := elf.Header64{
		Type: uint16(elf.ET_REL), Machine: uint16(elf.EM_X86_64), Version: 1,
		Shoff: namesOff + uint64(len(names)), Ehsize: headerSize, Shentsize: sectionSize, Shnum: 3, Shstrndx: 2,
	}
	copy(header.Ident[:], "\x7fELF\x02\x01\x01")
	sections := []elf.Section64{
		{},
		{Name: 1, Type: uint32(elf.SHT_PROGBITS), Off: infoOff, Size: uint64(len(info))},
		{Name: 10, Type: uint32(elf.SHT_STRTAB), Off: namesOff, Size: uint64(len(names))},
	}
	var b bytes.Buffer
	err := errors.Join(
		binary.Write(&b, binary.LittleEndian, header),
		binary.Write(&b, binary.LittleEndian, []byte(info+names)),
		binary.Write(&b, binary.LittleEndian, sections),
	)
	if err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

// newTree writes a directory of modules. The keys are paths below it.
func newTree(t *testing.T, builtin string, modules map[string][]byte) *moduleTree {
	t.Helper()
	dir := t.TempDir()
	var order string
	for file, data := range modules {
		order += file + "\n"
		full := filepath.Join(dir, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(full), 0o755), os.WriteFile(full, data, 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	err := errors.Join(
		os.WriteFile(filepath.Join(dir, "modules.order"), []byte(order), 0o644),
		os.WriteFile(filepath.Join(dir, "modules.builtin"), []byte(builtin), 0o644),
	)
	if err != nil {
		t.Fatal(err)
	}
	tree, err := openModuleTree(dir)
	if err != nil {
		t.Fatal(err)
	}
	return tree
}

func TestResolve(t *testing.T) {
	tree := newTree(t, "kernel/crypto/crc16.ko\n", map[string][]byte{
		"kernel/fs/top.ko":         elfModule(t, "license=GPL", "depends=mid-one,base,crc16", "name=top"),
		"kernel/fs/sub/mid_one.ko": elfModule(t, "depends=base"),
		"kernel/base.ko":           elfModule(t, "depends="),
		"kernel/other.ko":          elfModule(t, "license=GPL"),
	})
	list, err := tree.resolve([]string{"top", "base"})
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, m := range list {
		names = append(names, m.name)
		if len(m.data) == 0 {
			t.Errorf("module %s is empty", m.name)
		}
	}
	if want := []string{"base", "mid_one", "top"}; !slices.Equal(names, want) {
		t.Errorf("%v, want %v", names, want)
	}
}

func TestResolveErrors(t *testing.T) {
	tree := newTree(t, "", map[string][]byte{
		"kernel/broken.ko": []byte("no ELF"),
		"kernel/needs.ko":  elfModule(t, "depends=absent"),
	})
	for _, name := range []string{"broken", "needs", "absent"} {
		if _, err := tree.resolve([]string{name}); err == nil {
			t.Errorf("%s was resolved", name)
		}
	}
}

func TestWriteInitrd(t *testing.T) {
	var b bytes.Buffer
	modules := []module{{"zz_first", []byte("1")}, {"aa_second", []byte("22")}}
	if err := writeInitrd(&b, []byte("init"), modules); err != nil {
		t.Fatal(err)
	}
	var names []string
	r := initramfs.NewReader(&b)
	for {
		h, err := r.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		names = append(names, strings.TrimPrefix(h.Name, "/"))
	}
	// Init loads modules in the order of their names, which must be that of loading.
	for _, want := range []string{"init", "dev/console", "modules/000-zz_first.ko", "modules/001-aa_second.ko"} {
		if !slices.Contains(names, want) {
			t.Errorf("no %s in %v", want, names)
		}
	}
}
