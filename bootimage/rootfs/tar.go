package rootfs

import (
	"archive/tar"
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
)

var errChanged = errors.New("changed while it was read")

// writeTar writes the tar archive in f, plain or compressed.
func writeTar(out *output, f io.ReadSeeker, o Options) error {
	t, err := indexTar(f, o)
	if err != nil {
		return err
	}
	files, err := writeTree(out, t)
	if err != nil || len(files) == 0 {
		return err
	}
	return writeFiles(out, f, files, o)
}

// indexTar reads the headers of a whole archive, and so finds all that is wrong with it before anything is written.
func indexTar(f io.ReadSeeker, o Options) (*tree, error) {
	r, done, err := openStream(f, o.limits().stream())
	if err != nil {
		return nil, err
	}
	defer done()
	t := newTree(newBudget(o))
	archive := tar.NewReader(r)
	for i := 0; ; i++ {
		h, err := archive.Next()
		switch {
		case err == io.EOF && i == 0:
			return nil, errors.New("an archive without entries")
		case err == io.EOF:
			return t, drain(r)
		case errors.Is(err, tar.ErrHeader) && i == 0:
			return nil, fmt.Errorf("neither a directory nor a tar archive: %w", err)
		case err != nil:
			return nil, readError(err)
		}
		if err := t.add(i, h); err != nil {
			return nil, err
		}
	}
}

// drain reads what a compressed stream has behind the archive, for its checksum comes last.
func drain(r io.Reader) error {
	if _, ok := r.(*limited); !ok {
		return nil
	}
	_, err := io.Copy(io.Discard, r)
	return readError(err)
}

// readError tells of an archive that is cut short in plain words.
func readError(err error) error {
	if errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("the archive is cut short: %w", err)
	}
	return err
}

// writeTree writes all that has no data. It gives the files by their place in the archive.
func writeTree(out *output, t *tree) (map[int]*object, error) {
	names := slices.Sorted(maps.Keys(t.objects))
	for _, name := range names {
		if o := t.objects[name]; o.mode.IsDir() && name != "." {
			if err := out.node(name, o.attributes, ""); err != nil {
				return nil, err
			}
		}
	}
	files := make(map[int]*object)
	for _, name := range names {
		o := t.objects[name]
		var err error
		switch {
		case o.mode.IsDir():
		case o.skip != "":
			out.report.skip(o.skip, name)
		case o.mode.IsRegular():
			o.names = append(o.names, name)
			files[o.place] = o
		default:
			err = out.node(name, o.attributes, o.target)
		}
		if err != nil {
			return nil, err
		}
	}
	return files, nil
}

// writeFiles reads the archive again, for the data.
func writeFiles(out *output, f io.ReadSeeker, files map[int]*object, o Options) error {
	r, done, err := openStream(f, o.limits().stream())
	if err != nil {
		return err
	}
	defer done()
	archive := tar.NewReader(r)
	for i := 0; len(files) > 0; i++ {
		h, err := archive.Next()
		if err == io.EOF {
			return errChanged
		}
		if err != nil {
			return readError(err)
		}
		o, ok := files[i]
		if !ok {
			continue
		}
		if name, err := cleanName(h.Name); err != nil || name != o.name || h.Size != o.size || !isFile(h) {
			return errChanged
		}
		if err := out.file(o.names, o.attributes, o.size, archive); err != nil {
			return err
		}
		delete(files, i)
	}
	return nil
}
