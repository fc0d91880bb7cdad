package iso

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strings"

	"forensics/analyzers/iso/initrd"
	"forensics/analyzers/iso/squashfs"
)

// Volume is a file system that lies in a file: an ISO 9660 image, a squashfs,
// an initrd or a FAT volume. Its files may hold volumes again.
type Volume struct {
	fs.FS
	Format   string // iso9660, squashfs, initrd, fat
	Problems []string
	Image    *Image // of an ISO 9660 image
}

var errNoVolume = errors.New("holds no file system that is known: iso9660, squashfs, initrd or fat")

// OpenVolume opens what r holds, by its content.
func OpenVolume(r io.ReaderAt, size int64) (*Volume, error) {
	head := make([]byte, 8)
	n, _ := r.ReadAt(head, 0)
	head = head[:n]
	if string(head[:min(n, 4)]) == squashMagic {
		f, err := squashfs.Open(r, size)
		if err != nil {
			return nil, fmt.Errorf("squashfs: %w", err)
		}
		return &Volume{FS: f, Format: "squashfs", Problems: f.Problems}, nil
	}
	if m, err := Open(r, size); err == nil {
		return &Volume{FS: m.FS(), Format: "iso9660", Problems: m.Problems, Image: m}, nil
	}
	if t, err := OpenFAT(r, size); err == nil {
		return &Volume{FS: t.FS(), Format: "fat", Problems: t.Problems}, nil
	}
	if f, err := initrd.Open(r, size); err == nil {
		return &Volume{FS: f, Format: "initrd", Problems: f.Problems}, nil
	}
	return nil, errNoVolume
}

// maxNestedFile bounds a file that ReadNested returns.
const maxNestedFile = 64 << 20

// ReadNested returns the bytes of the file that evidence in an image names, for
// those who want to see or check them: p is the path behind "image.iso!". Of a
// symbolic link they are its target.
func (m *Image) ReadNested(p string) ([]byte, error) {
	parts := strings.Split(p, "!")
	var fsys fs.FS = m.FS()
	for i, part := range parts {
		name := strings.TrimPrefix(part, "/")
		if i == len(parts)-1 {
			if target, err := fs.ReadLink(fsys, name); err == nil {
				return []byte(target), nil
			}
			return readAll(fsys, name)
		}
		var err error
		if fsys, err = m.enter(fsys, name); err != nil {
			return nil, fmt.Errorf("%s: %w", strings.Join(parts[:i+1], "!"), err)
		}
	}
	return nil, fs.ErrNotExist
}

// enter opens the volume, or the archive of an overlay, in the file at name.
func (m *Image) enter(fsys fs.FS, name string) (fs.FS, error) {
	if "/"+name == bootImage {
		for _, b := range m.Boot {
			if v := m.fat(b); v != nil && m.bootName(b, "") == "!"+bootImage {
				return v.FS(), nil
			}
		}
	}
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	r, ok := f.(io.ReaderAt)
	info, err := f.Stat()
	if !ok || err != nil {
		return nil, errors.Join(errNoVolume, err)
	}
	if v, err := OpenVolume(r, info.Size()); err == nil {
		return v.FS, nil
	}
	return unpack(io.NewSectionReader(r, 0, info.Size()))
}

func readAll(fsys fs.FS, name string) ([]byte, error) {
	f, err := fsys.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, maxNestedFile+1))
	if err == nil && len(data) > maxNestedFile {
		err = fmt.Errorf("%s: larger than the %d bytes that are read", name, maxNestedFile)
	}
	return data, err
}
