package debian

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
)

// Fields of the setup header of a bzImage (Linux Documentation/arch/x86/boot.rst).
const (
	offSetupSects    = 0x1f1
	offMagic         = 0x202 // "HdrS"
	offPayloadOffset = 0x248
	offPayloadLength = 0x24c
	endOfHeader      = 0x250
)

// Vmlinux returns the path of the kernel as an ELF file, which it unpacks beside
// the image the first time, with the system's lz4, xz or zstd.
func (k Kernel) Vmlinux() (string, error) {
	dir := filepath.Dir(k.Image)
	path := filepath.Join(dir, "vmlinux-"+k.Version)
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	image, err := os.ReadFile(k.Image)
	if err != nil {
		return "", err
	}
	data, err := unpack(image)
	if err != nil {
		return "", fmt.Errorf("%s: %w", k.Image, err)
	}
	tmp, err := os.CreateTemp(dir, ".vmlinux-")
	if err != nil {
		return "", err
	}
	defer os.Remove(tmp.Name())
	_, err = tmp.Write(data)
	if err := errors.Join(err, tmp.Chmod(0o644), tmp.Close()); err != nil {
		return "", err
	}
	return path, os.Rename(tmp.Name(), path)
}

// payload returns the compressed kernel in a bzImage.
func payload(image []byte) ([]byte, error) {
	if len(image) < endOfHeader || string(image[offMagic:offMagic+4]) != "HdrS" {
		return nil, errors.New("not a bzImage")
	}
	setupSects := uint64(image[offSetupSects])
	start := (setupSects+1)*512 + uint64(binary.LittleEndian.Uint32(image[offPayloadOffset:]))
	length := uint64(binary.LittleEndian.Uint32(image[offPayloadLength:]))
	// The last four bytes are the size of what is packed.
	if length < 8 || start > uint64(len(image)) || length > uint64(len(image))-start {
		return nil, errors.New("the payload lies outside the image")
	}
	return image[start : start+length-4], nil
}

// unpack returns the ELF file in a bzImage.
func unpack(image []byte) ([]byte, error) {
	packed, err := payload(image)
	if err != nil {
		return nil, err
	}
	args, err := decompressor(packed)
	if err != nil {
		return nil, err
	}
	if _, err := exec.LookPath(args[0]); err != nil {
		return nil, fmt.Errorf("%s is not installed, which unpacks this kernel", args[0])
	}
	var stderr bytes.Buffer
	cmd := exec.Command(args[0], args[1:]...)
	cmd.Stdin = bytes.NewReader(packed)
	cmd.Stderr = &stderr
	data, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("%s: %w: %s", args[0], err, lastLine(stderr.String()))
	}
	if !bytes.HasPrefix(data, []byte("\x7fELF")) {
		return nil, errors.New("the payload is no ELF file")
	}
	return data, nil
}

// decompressor returns the program for a payload.
func decompressor(packed []byte) ([]string, error) {
	for _, d := range []struct{ magic, program string }{
		{"\x1f\x8b", "gzip"},
		{"\x02\x21\x4c\x18", "lz4"}, // the legacy frame
		{"\xfd7zXZ\x00", "xz"},
		{"\x28\xb5\x2f\xfd", "zstd"},
	} {
		if bytes.HasPrefix(packed, []byte(d.magic)) {
			return []string{d.program, "-dc"}, nil
		}
	}
	return nil, fmt.Errorf("payload of an unknown compression (%x)", packed[:4])
}
