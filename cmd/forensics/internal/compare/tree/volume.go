package tree

import (
	"bytes"
	"errors"
	"io"
	"io/fs"
	"path"
	"regexp"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/bundle/archive"
	"forensics/analyzers/iso"
	"forensics/analyzers/iso/initrd"
	"forensics/analyzers/iso/squashfs"
)

// kind is what a file is.
type kind byte

const (
	other kind = iota // devices, pipes, sockets
	regular
	directory
	link
)

// file is an entry of a volume.
type file struct {
	name  string // path in the volume, without a leading slash
	key   string
	kind  kind
	mode  fs.FileMode // the bits that count
	known fs.FileMode // those of them that the volume has
	size  int64       // bytes of a regular file
	link  string      // target
	sum   string      // SHA-256, "" where no record has it
	line  span        // of the record
}

// span is where a record has a file.
type span struct{ start, end int64 }

// Permissions that count: a program that is not executable does not start, and
// sudo needs its set-user-ID bit. Others differ with who builds the image.
const (
	execBits = 0o111
	modeBits = execBits | fs.ModeSetuid | fs.ModeSetgid
)

// volume is a listing of files, and the way to their bytes.
type volume struct {
	name    string // path in the image, "" for the image
	files   []*file
	partial bool // files may be missing from the listing
	slow    bool // a file may cost the decompression of all before it

	fsys  fs.FS   // where the bytes are at hand
	rec   *record // where only the record is
	image string  // the artifact: image or record

	mark bundle.Evidence // that the image was listed
}

// path is how evidence names a file.
func (v *volume) path(name string) string {
	if v.rec != nil {
		return bundle.CopiesDir + "/" + copied(v.full(name))
	}
	p := v.image + "!/"
	if v.image == bundle.CopiesDir {
		p = v.image + "/" // a copy of an archive
	}
	if v.name != "" {
		p += v.name + "!/"
	}
	return p + name
}

// full is the path of a file in the image.
func (v *volume) full(name string) string {
	if v.name == "" {
		return name
	}
	return v.name + "!/" + name
}

// errNoBytes: a record does not have the bytes of all files.
var errNoBytes = errors.New("not in the record")

// open opens a regular file.
func (v *volume) open(f *file) (fs.File, error) {
	if v.rec != nil {
		return v.rec.Open(v.full(f.name))
	}
	return v.fsys.Open(f.name)
}

// open returns the listing of a run's image, nil when there is none. The caller
// calls done when the bytes are no longer needed.
func (c *comparer) open(s *side, run *bundle.Run) (v *volume, done func()) {
	images := run.Of(bundle.ISO)
	for i, a := range images {
		r, size, closer, err := a.ReaderAt()
		if err != nil {
			c.note("%s: %v", a.Path, err)
			continue
		}
		m, err := iso.Open(r, size)
		if err != nil {
			closer()
			c.note("%s: %v", a.Path, err)
			continue
		}
		if i < len(images)-1 {
			c.note("%s has %d images: of them, %s is compared", s.run, len(images), a.Path)
		}
		v := &volume{fsys: m.FS(), partial: m.Partial, image: a.Path, mark: mark(a.Path, r)}
		c.problems(v, m.Problems)
		c.list(v)
		return v, func() { closer() }
	}
	return c.recorded(s, run), func() {}
}

// mark is the evidence that an image is one: its first volume descriptor
// (ECMA-119, 8.1).
func mark(name string, r io.ReaderAt) bundle.Evidence {
	const start, end = 0x8001, 0x8006
	head := make([]byte, end)
	n, _ := r.ReadAt(head, 0)
	return bundle.Span(name, head[:n], bundle.NewLineIndex(head[:n]), start, end)
}

// problems notes what could not be read of a volume.
func (c *comparer) problems(v *volume, texts []string) {
	for i, text := range texts {
		if i == 3 {
			c.note("%s: and %d more problems", strings.TrimSuffix(v.path(""), "!/"), len(texts)-i)
			break
		}
		c.note("%s: %s", strings.TrimSuffix(v.path(""), "!/"), bundle.Printable(text))
	}
}

// maxFiles bounds a volume: larger ones than a record may list are none.
const maxFiles = maxRecord

// list fills a volume from its file system.
func (c *comparer) list(v *volume) {
	known := fs.FileMode(modeBits)
	if _, ok := v.fsys.(*archive.FS); ok || v.name == "" {
		known = 0 // an archive shows none, those of an image are its maker's
	}
	_ = fs.WalkDir(v.fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			v.partial = true
			c.note("%s: %v", v.path(p), plain(err))
			return nil
		}
		if len(v.files) == maxFiles {
			v.partial = true
			c.note("%s: more than %d files: the rest is not compared", strings.TrimSuffix(v.path(""), "!/"), maxFiles)
			return fs.SkipAll
		}
		info, err := d.Info()
		if err != nil {
			v.partial = true
			return nil
		}
		if p == "." {
			return nil
		}
		f := &file{name: p, mode: info.Mode() & modeBits, known: known}
		switch m := info.Mode(); {
		case m.IsRegular():
			f.kind, f.size = regular, info.Size()
		case m.IsDir():
			f.kind = directory
		case m&fs.ModeSymlink != 0:
			f.kind = link
			f.link, _ = fs.ReadLink(v.fsys, p)
		}
		v.files = append(v.files, f)
		return nil
	})
}

func plain(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// volume opens what a file holds, nil where it holds no files that are known.
func (c *comparer) volume(s *side, v *volume, f *file, depth int) *volume {
	if v.rec != nil {
		if n := v.rec.volumes[v.full(f.name)]; n != nil {
			return n
		}
	}
	file, err := v.open(f)
	if err != nil {
		return nil
	}
	r, ok := file.(io.ReaderAt)
	if !ok || !holds(r, f, depth) || s.volumes == 0 {
		return nil
	}
	s.volumes--
	n := &volume{name: v.full(f.name), image: v.image, mark: v.mark}
	if !c.archive(s, n, v, f) && !c.image(s, n, r, f.size) {
		return nil
	}
	c.list(n)
	return n
}

// archive opens n as an archive, and reports whether it is one.
func (c *comparer) archive(s *side, n, v *volume, f *file) bool {
	from, name := v.fsys, f.name
	if v.rec != nil {
		from, name, n.image = v.rec, n.name, bundle.CopiesDir
	}
	a, err := archive.Open(from, name, s.budget)
	if err != nil {
		return false
	}
	n.fsys = a
	for _, p := range a.Problems() {
		n.partial = true
		c.note("%s: %s", n.path(p.Name), p.Text)
	}
	return true
}

// image opens n as a file system, and reports whether it is one.
func (c *comparer) image(s *side, n *volume, r io.ReaderAt, size int64) bool {
	if isPacked(r) {
		if s.initrds == 0 {
			return false
		}
		s.initrds--
	}
	is, err := iso.OpenVolume(r, size)
	if err != nil {
		return false
	}
	n.fsys = is.FS
	n.slow = is.Format == "initrd"
	n.partial = partial(is)
	c.problems(n, is.Problems)
	return true
}

// isPacked reports whether a file is compressed as initrds are: it is
// decompressed to see whether it is one.
func isPacked(r io.ReaderAt) bool {
	head := make([]byte, 8)
	n, _ := r.ReadAt(head, 0)
	for _, magic := range []string{"\x1f\x8b", "\x28\xb5\x2f\xfd", "\xfd7zXZ", "\x02\x21\x4c\x18", "\x04\x22\x4d\x18", "BZh", "\x5d\x00\x00"} {
		if bytes.HasPrefix(head[:n], []byte(magic)) {
			return true
		}
	}
	return false
}

// partial reports whether a volume lacks files.
func partial(v *iso.Volume) bool {
	switch f := v.FS.(type) {
	case *squashfs.FS:
		return f.Partial
	case *initrd.FS:
		return f.Partial
	}
	if v.Image != nil {
		return v.Image.Partial
	}
	return len(v.Problems) > 0
}

// initrdRe is what initial RAM file systems are named: only their name tells
// them from any other compressed file.
var initrdRe = regexp.MustCompile(`(?i)initr|\.img$|\.cpio`)

// holds reports whether it is worth looking for files in a file. Few files lie
// in an image itself; of those below, most hold none.
func holds(r io.ReaderAt, f *file, depth int) bool {
	head := make([]byte, 512)
	n, _ := r.ReadAt(head, 0)
	head = head[:n]
	switch {
	case n == 0:
		return false
	case depth == 0 || initrdRe.MatchString(path.Base(f.name)):
		return true
	}
	return bytes.HasPrefix(head, []byte("hsqs")) || bytes.HasPrefix(head, []byte("07070")) || archiveName.MatchString(f.name)
}

// archiveName is what archives are named: of a compressed one, only
// decompression would tell.
var archiveName = regexp.MustCompile(`(?i)\.(?:tar|tgz|txz|zip)(?:\.\w+)?$`)
