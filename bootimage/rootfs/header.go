package rootfs

import (
	"archive/tar"
	"fmt"
	"io/fs"
	"math"
	"strings"
)

// newObject makes an object of a header that is no hard link: what it is, but not where.
func newObject(h *tar.Header) (*object, error) {
	o := &object{}
	// The owner -1 would mean to the guest's kernel that it is not to be changed.
	if h.Uid < 0 || h.Uid >= math.MaxUint32 || h.Gid < 0 || h.Gid >= math.MaxUint32 {
		return nil, fmt.Errorf("owner %d:%d does not fit in 32 bits", h.Uid, h.Gid)
	}
	o.uid, o.gid = uint32(h.Uid), uint32(h.Gid)
	o.mode = permissions(uint32(h.Mode))
	switch {
	case isFile(h):
	case h.Typeflag == tar.TypeDir:
		o.mode |= fs.ModeDir
	case h.Typeflag == tar.TypeFifo:
		o.mode |= fs.ModeNamedPipe
	case h.Typeflag == tar.TypeSymlink:
		o.mode |= fs.ModeSymlink
		o.target = strings.Clone(h.Linkname) // as for the name
		if o.target == "" || len(o.target) > maxName {
			return nil, fmt.Errorf("the target of a symbolic link has %d bytes, not 1 to %d", len(o.target), maxName)
		}
	case h.Typeflag == tar.TypeChar || h.Typeflag == tar.TypeBlock:
		o.skip = devices
	default:
		o.skip = unknown
	}
	return o, nil
}

// isFile reports whether an entry is a regular file.
func isFile(h *tar.Header) bool {
	switch h.Typeflag {
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont: // TypeCont asks for contiguous blocks on the disk
		return true
	}
	return false
}
