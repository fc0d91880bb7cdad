package iso

import (
	"archive/tar"
	"bufio"
	"bytes"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"sort"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
)

// Bounds on an archive that stage 2 unpacks: it holds configuration.
const (
	maxUnpacked = 64 << 20
	maxMembers  = 1 << 14
)

// overlay is the tree of a tar archive, links and all: a bundle's archive
// follows links, this one is laid over others whose files they lead to.
type overlay map[string]*member

// member is a file of the archive.
type member struct {
	name     string // its own
	mode     fs.FileMode
	data     []byte
	link     string
	children map[string]bool
}

// unpack reads a tar archive, plain or compressed with gzip, zstd or xz.
func unpack(r io.Reader) (overlay, error) {
	b := bufio.NewReader(r)
	head, _ := b.Peek(6)
	var plain io.Reader = b
	var err error
	switch {
	case bytes.HasPrefix(head, []byte{0x1f, 0x8b}):
		plain, err = gzip.NewReader(b)
	case bytes.HasPrefix(head, []byte{0x28, 0xb5, 0x2f, 0xfd}):
		var z *zstd.Decoder
		if z, err = zstd.NewReader(b, zstd.WithDecoderConcurrency(1), zstd.WithDecoderMaxMemory(maxUnpacked), zstd.WithDecoderMaxWindow(maxUnpacked)); err == nil {
			defer z.Close()
			plain = z
		}
	case bytes.HasPrefix(head, []byte("\xfd7zXZ\x00")):
		plain, err = xz.NewReader(b, maxUnpacked)
	}
	if err != nil {
		return nil, fmt.Errorf("archive: %w", err)
	}
	limited := &io.LimitedReader{R: plain, N: maxUnpacked}
	t := tar.NewReader(limited)
	o := overlay{".": {name: ".", mode: fs.ModeDir | 0o755, children: map[string]bool{}}}
	for n := 0; ; n++ {
		h, err := t.Next()
		switch {
		case err == io.EOF && limited.N > 0 && len(head) > 0:
			// What follows holds the check sum.
			if _, err := io.Copy(io.Discard, limited); err != nil {
				return nil, fmt.Errorf("archive: after %d bytes: %w", maxUnpacked-limited.N, err)
			}
			return o, nil
		case err == io.EOF && limited.N > 0:
			return nil, errors.New("archive: empty")
		case limited.N <= 0 || n >= maxMembers:
			return nil, errors.New("archive: larger than the configuration that is read of one")
		case err != nil:
			return nil, fmt.Errorf("archive: after %d bytes: %w", maxUnpacked-limited.N, err)
		}
		if err := o.add(h, t); err != nil {
			return nil, fmt.Errorf("archive: %w", err)
		}
	}
}

// add takes up one member. A later one of a name replaces the earlier, but for
// a directory.
func (o overlay) add(h *tar.Header, r io.Reader) error {
	name := strings.TrimPrefix(path.Clean("/"+h.Name), "/")
	if name == "" {
		return nil
	}
	m := &member{name: path.Base(name), mode: h.FileInfo().Mode()}
	switch h.Typeflag {
	case tar.TypeDir:
		m.children = map[string]bool{}
	case tar.TypeSymlink:
		m.link, m.mode = h.Linkname, fs.ModeSymlink|0o777
	case tar.TypeLink:
		to := o[strings.TrimPrefix(path.Clean("/"+h.Linkname), "/")]
		if to == nil || to.mode.IsDir() {
			return nil
		}
		m.data, m.link, m.mode = to.data, to.link, to.mode
	case tar.TypeReg:
		data, err := io.ReadAll(r)
		if err != nil {
			return err
		}
		m.data = data
	}
	if old := o[name]; old != nil && old.mode.IsDir() && m.mode.IsDir() {
		return nil
	}
	return o.put(name, m)
}

func (o overlay) put(name string, m *member) error {
	if len(name) > maxPath || !fs.ValidPath(name) {
		return errors.New("a name that no file can have")
	}
	dir := path.Dir(name)
	up := o[dir]
	if up == nil {
		up = &member{name: path.Base(dir), mode: fs.ModeDir | 0o755, children: map[string]bool{}}
		if err := o.put(dir, up); err != nil {
			return err
		}
	}
	if !up.mode.IsDir() {
		return fmt.Errorf("%s: in what is no directory", name)
	}
	if len(o) > maxMembers*4 {
		return errors.New("too many directories")
	}
	up.children[m.name] = true
	o[name] = m
	return nil
}

func (o overlay) find(op, name string) (*member, error) {
	if m := o[name]; m != nil && fs.ValidPath(name) {
		return m, nil
	}
	return nil, failed(op, name, fs.ErrNotExist)
}

// Lstat is Stat: the root follows links, as they lead out of the archive.
func (o overlay) Lstat(name string) (fs.FileInfo, error) { return o.find("lstat", name) }
func (o overlay) Stat(name string) (fs.FileInfo, error)  { return o.find("stat", name) }

func (o overlay) ReadLink(name string) (string, error) {
	m, err := o.find("readlink", name)
	if err == nil && m.mode&fs.ModeSymlink == 0 {
		err = failed("readlink", name, fs.ErrInvalid)
	}
	if err != nil {
		return "", err
	}
	return m.link, nil
}

func (o overlay) ReadDir(name string) ([]fs.DirEntry, error) {
	m, err := o.find("open", name)
	if err == nil && !m.mode.IsDir() {
		err = failed("open", name, errNoDir)
	}
	if err != nil {
		return nil, err
	}
	var es []fs.DirEntry
	for c := range m.children {
		es = append(es, fs.FileInfoToDirEntry(o[path.Join(name, c)]))
	}
	sort.Slice(es, func(i, j int) bool { return es[i].Name() < es[j].Name() })
	return es, nil
}

func (o overlay) Open(name string) (fs.File, error) {
	m, err := o.find("open", name)
	if err != nil {
		return nil, err
	}
	if m.mode.IsDir() {
		es, err := o.ReadDir(name)
		return &mergedDir{virtual{m.name, m.mode}, es}, err
	}
	return &openMember{bytes.NewReader(m.data), m}, nil
}

type openMember struct {
	*bytes.Reader
	m *member
}

func (f *openMember) Stat() (fs.FileInfo, error) { return f.m, nil }
func (f *openMember) Close() error               { return nil }

func (m *member) Name() string       { return m.name }
func (m *member) Size() int64        { return int64(len(m.data)) }
func (m *member) Mode() fs.FileMode  { return m.mode }
func (m *member) ModTime() time.Time { return time.Time{} }
func (m *member) IsDir() bool        { return m.mode.IsDir() }
func (m *member) Sys() any           { return nil }
