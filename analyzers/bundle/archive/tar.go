package archive

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"math"
	"path"
	"strings"
)

// A tarball is a tar file at work.
type tarball struct {
	*index
	tar *tar.Reader
	c   *counter
	// span returns where the member at hand stands, nil when it must be read
	// now.
	span func(h *tar.Header) content
}

// plainTar indexes a tar file that is not compressed: members are left where
// they are.
func (x *index) plainTar() {
	r := io.NewSectionReader(x.src, 0, x.src.size)
	c := &seeker{counter{r: r, left: math.MaxInt64}, r}
	t := &tarball{index: x, tar: tar.NewReader(c), c: &c.counter}
	t.span = func(h *tar.Header) content {
		if sparse(h) {
			return nil
		}
		return span{x.src, c.n, min(h.Size, max(x.src.size-c.n, 0))}
	}
	t.read()
}

// packedTar indexes a compressed tar file, in one pass.
func (x *index) packedTar(m int) error {
	r, err := unpacked(m, io.NewSectionReader(x.src, 0, x.src.size))
	if err != nil {
		return err
	}
	defer r.Close()
	c := &counter{r: r, left: x.budget.Work}
	defer func() { x.budget.Work = c.left }()
	t := &tarball{index: x, tar: tar.NewReader(c), c: c, span: func(*tar.Header) content { return nil }}
	if !t.read() {
		return nil
	}
	// The check sum stands behind the end.
	if _, err := io.Copy(io.Discard, c); err != nil && err != errWork {
		x.problem("", "damaged, its members perhaps too: %v", err)
	}
	return nil
}

// read adds the members, and reports whether it met the end.
func (t *tarball) read() bool {
	for t.more() {
		h, err := t.tar.Next()
		if errors.Is(err, tar.ErrInsecurePath) {
			err = nil // names are judged by clean
		}
		switch {
		case err == io.EOF:
			if t.c.zeros < blockSize {
				t.problem("", "ends at byte %d of the tar file without an end mark: cut off, perhaps", t.c.n)
			}
			return true
		case err != nil:
			t.lost(err)
			return false
		}
		if !t.member(h) {
			return false
		}
	}
	return false
}

// lost tells that nothing more can be read.
func (t *tarball) lost(err error) {
	if errors.Is(err, errWork) {
		t.problem("", "more than there is time for: what stands behind byte %d of the tar file is not looked at", t.c.n)
		return
	}
	t.problem("", "damaged or cut off at byte %d of the tar file, what follows is lost: %v", t.c.n, err)
}

// member adds the member at hand, and reports whether another may follow.
func (t *tarball) member(h *tar.Header) bool {
	if h.Typeflag == tar.TypeXGlobalHeader {
		return true
	}
	name, ok := t.clean(h.Name)
	if !ok {
		return true
	}
	switch h.Typeflag {
	case tar.TypeDir:
		if !t.dir(name) {
			t.problem(name, "a file and a directory of one name: the second is not read")
		}
	case tar.TypeReg, tar.TypeGNUSparse, tar.TypeCont:
		return t.regular(h, name)
	case tar.TypeSymlink:
		t.link(name, h.Linkname, path.Dir(name))
	case tar.TypeLink:
		if target, ok := t.clean(h.Linkname); ok {
			t.link(name, target, ".")
		}
	default:
		t.problem(name, "not a regular file: not read")
	}
	return true
}

func (t *tarball) regular(h *tar.Header, name string) bool {
	if c, ok := t.span(h).(span); ok {
		t.file(name, c.len, c)
		return t.whole(name, c.len, h.Size, nil)
	}
	c, n, err := t.hold(h.Size)
	if errors.Is(err, errWork) {
		t.lost(err)
		return false
	}
	t.file(name, n, c)
	return t.whole(name, n, h.Size, err)
}

// whole reports whether a member is all there; if not, nothing follows it.
func (t *tarball) whole(name string, n, size int64, err error) bool {
	if n == size && err == nil {
		return true
	}
	if err == nil {
		err = io.ErrUnexpectedEOF
	}
	t.problem(name, "cut off: %d of %d bytes, and what follows is lost: %v", n, size, err)
	return false
}

// hold reads the member at hand, or its start, and returns its size: what is
// there of it.
func (t *tarball) hold(size int64) (content, int64, error) {
	if size > MaxMember || !t.budget.take(size) {
		n := min(size, headLen, t.budget.Memory)
		t.budget.take(n)
		data, err := io.ReadAll(io.LimitReader(t.tar, n))
		if err != nil {
			return held(data), int64(len(data)), err
		}
		return part(data), size, nil
	}
	data, err := io.ReadAll(io.LimitReader(t.tar, size))
	return held(data), int64(len(data)), err
}

// sparse reports whether a member is stored without its holes.
func sparse(h *tar.Header) bool {
	for k := range h.PAXRecords {
		if strings.HasPrefix(k, "GNU.sparse.") {
			return true
		}
	}
	return h.Typeflag == tar.TypeGNUSparse
}

var errWork = errors.New("more work than archives may make")

// counter counts the bytes of a tar file, and stops when none are left of what
// may be read.
type counter struct {
	r     io.Reader
	n     int64
	left  int64
	zeros int // bytes, the last ones read: a block of them is the end mark
}

func (c *counter) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errWork
	}
	n, err := c.r.Read(p[:min(int64(len(p)), c.left)])
	c.n += int64(n)
	c.left -= int64(n)
	trail := n - len(bytes.TrimRight(p[:n], "\x00"))
	if trail == n {
		trail += min(c.zeros, blockSize)
	}
	c.zeros = trail
	return n, err
}

// seeker is a counter that can skip.
type seeker struct {
	counter
	at io.Seeker
}

func (s *seeker) Seek(offset int64, whence int) (int64, error) {
	n, err := s.at.Seek(offset, whence)
	if err == nil {
		s.n = n
	}
	return n, err
}
