package archive

import (
	"archive/zip"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// maxDirectory bounds what is read of a zip file's central directory: more than
// maxMembers long entries need.
const maxDirectory = 32 << 20

// encrypted is a flag of a member (APPNOTE 4.4.4, bit 0).
const encrypted = 1

// zip indexes a zip file by its central directory.
func (x *index) zip() error {
	m := &metered{r: x.src, left: maxDirectory}
	z, err := zip.NewReader(m, x.src.size)
	if err != nil && !errors.Is(err, zip.ErrInsecurePath) {
		return fmt.Errorf("its directory, which stands at the end, is damaged or cut off: %w", err)
	}
	m.left = -1
	spans := x.spans(z.File)
	for _, f := range z.File {
		if !x.more() {
			break
		}
		// PowerShell before 5.1 wrote the separator of Windows.
		name, ok := x.clean(strings.ReplaceAll(f.Name, `\`, "/"))
		if ok {
			x.entry(f, name, spans[f])
		}
	}
	return nil
}

// spans returns where the members' bytes stand. Members may not share bytes: a
// small file could expand to any size.
func (x *index) spans(files []*zip.File) map[*zip.File]span {
	spans := map[*zip.File]span{}
	files = slices.Clone(files[:min(len(files), maxMembers)])
	for _, f := range files {
		if at, err := f.DataOffset(); err == nil && at >= 0 && at <= x.src.size && clip(f.CompressedSize64) <= x.src.size-at {
			spans[f] = span{x.src, at, clip(f.CompressedSize64)}
		}
	}
	slices.SortStableFunc(files, func(a, b *zip.File) int { return cmp.Compare(spans[a].at, spans[b].at) })
	end := int64(0)
	for _, f := range files {
		s, ok := spans[f]
		if ok && s.len > 0 && s.at < end {
			delete(spans, f)
			continue
		}
		end = max(end, s.at+s.len)
	}
	return spans
}

// entry adds the member f.
func (x *index) entry(f *zip.File, name string, s span) {
	size := clip(f.UncompressedSize64)
	switch mode := f.Mode(); {
	case mode.IsDir() || strings.HasSuffix(f.Name, `\`):
		if !x.dir(name) {
			x.problem(name, "a file and a directory of one name: the second is not read")
		}
	case f.Flags&encrypted != 0:
		x.problem(name, "encrypted: not read")
	case s.src == nil:
		x.problem(name, "damaged: its bytes lie outside of the archive or in another member")
	case f.Method != zip.Store && f.Method != zip.Deflate:
		x.problem(name, "compressed by method %d: not read", f.Method)
	case mode&fs.ModeSymlink != 0:
		x.symlink(f, name)
	case !mode.IsRegular():
		x.problem(name, "not a regular file: not read")
	case f.Method == zip.Store:
		x.stored(name, size, s)
	default:
		x.inflated(f, name, size)
	}
}

func (x *index) stored(name string, size int64, s span) {
	if size != s.len {
		x.problem(name, "damaged: a stored member of %d bytes in %d", size, s.len)
		return
	}
	x.file(name, size, s)
}

// inflated adds a deflated member. It costs when it is read, and it will be.
func (x *index) inflated(f *zip.File, name string, size int64) {
	c := deflated{src: x.src, file: f, most: size}
	cost := size
	if size > MaxMember || size > x.budget.Memory || size > x.budget.Work {
		cost = min(size, headLen)
		c.most = cost
		c.part = true
	}
	if cost > x.budget.Work || !x.budget.take(cost) {
		x.problem(name, "beyond the memory for archives: unpack it to have it read")
		return
	}
	x.budget.Work -= cost
	x.file(name, size, c)
}

func (x *index) symlink(f *zip.File, name string) {
	r, err := f.Open()
	if err != nil {
		x.problem(name, "%v", err)
		return
	}
	defer r.Close()
	target, err := io.ReadAll(io.LimitReader(r, maxName+1))
	if err != nil {
		x.problem(name, "%v", err)
		return
	}
	x.link(name, string(target), path.Dir(name))
}

// deflated is content that is inflated each time that it is read.
type deflated struct {
	src  *source
	file *zip.File
	most int64 // bytes
	part bool  // what follows is not read
}

func (d deflated) open() (io.Reader, func() error, error) {
	if err := d.src.acquire(nil); err != nil {
		return nil, nil, err
	}
	r, err := d.file.Open()
	if err != nil {
		d.src.release()
		return nil, nil, err
	}
	done := func() error { return errors.Join(r.Close(), d.src.release()) }
	if d.part {
		return io.MultiReader(io.LimitReader(r, d.most), packed{}), done, nil
	}
	return r, done, nil
}

// metered reads until left runs out; less than 0 is without end.
type metered struct {
	r    io.ReaderAt
	left int64
}

func (m *metered) ReadAt(p []byte, off int64) (int, error) {
	if m.left >= 0 {
		if int64(len(p)) > m.left {
			return 0, fmt.Errorf("more than the %d bytes that are read of it", maxDirectory)
		}
		m.left -= int64(len(p))
	}
	return m.r.ReadAt(p, off)
}
