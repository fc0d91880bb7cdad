package initrd

import (
	"bufio"
	"bytes"
	"compress/bzip2"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"
	"github.com/ulikunitz/xz/lzma"
)

// compression is how a segment is packed.
type compression int

const (
	unknown compression = iota
	none
	gzipMember
	bzip2Stream
	lzmaAlone
	xzStream
	lzoFile
	lz4Legacy
	lz4Frame
	zstdFrame
)

var compressions = []string{"unknown", "none", "gzip", "bzip2", "lzma", "xz", "lzo", "lz4", "lz4 frame", "zstd"}

func (c compression) String() string { return compressions[c] }

func kindOf(s string) compression { return compression(slices.Index(compressions, s)) }

// magics are those of lib/decompress.c, as long as the formats have them.
var magics = []struct {
	magic string
	kind  compression
}{
	{"070701", none},
	{"070702", none},
	{"\x1f\x8b\x08", gzipMember},
	{"BZh", bzip2Stream},
	{"\xfd7zXZ\x00", xzStream},
	{"\x89LZO\x00\r\n\x1a\n", lzoFile},
	{"\x02\x21\x4c\x18", lz4Legacy},
	{"\x04\x22\x4d\x18", lz4Frame},
	{"\x28\xb5\x2f\xfd", zstdFrame},
}

// magicLen is how many bytes sniff looks at.
const magicLen = 13

// sniff tells what begins with head.
func sniff(head []byte) compression {
	for _, m := range magics {
		if bytes.HasPrefix(head, []byte(m.magic)) {
			return m.kind
		}
	}
	// lzma has no magic number: its usual properties, a dictionary of whole
	// 64 KiB, an unpacked size that is not given or below a terabyte.
	if bytes.HasPrefix(head, []byte{0x5d, 0, 0}) && len(head) >= magicLen {
		if size := binary.LittleEndian.Uint64(head[5:]); size == 1<<64-1 || size < 1<<40 {
			return lzmaAlone
		}
	}
	return unknown
}

func sniffAt(r io.ReaderAt, at int64) compression {
	var head [magicLen]byte
	n, _ := r.ReadAt(head[:], at)
	return sniff(head[:n])
}

// The largest windows that are allocated: those of xz -9, of lzma -9, and of
// zstd as far as the kernel goes (ZSTD_WINDOWLOG_LIMIT_DEFAULT).
const (
	maxDict    = 64 << 20
	maxWindow  = 128 << 20
	maxDictAll = 1 << 30 // of all lzma streams, whose dictionaries are not used again
)

var (
	errBudget = errors.New("unpacks to more than an image of this size may")
	errLZO    = errors.New("lzo is not read")
)

// decoders are used again from stream to stream: their windows are large.
type decoders struct {
	gzip *gzip.Reader
	xz   *xz.Reader
	zstd *zstd.Decoder
	lz4  *lz4.Reader

	legacy legacyReader
	dict   int64 // bytes of dictionaries of lzma streams
}

// blocks returns what a stream of blocks holds, which are the bytes of r.
func (d *decoders) blocks(kind compression, r io.Reader) (io.Reader, error) {
	switch kind {
	case zstdFrame:
		if d.zstd == nil {
			z, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
			if err != nil {
				return nil, err
			}
			d.zstd = z
		}
		return d.zstd, d.zstd.Reset(r)
	case xzStream:
		if d.xz != nil {
			return d.xz, d.xz.Reset(r)
		}
		var err error
		d.xz, err = xz.NewReader(r, maxDict)
		return d.xz, err
	case lz4Frame:
		if d.lz4 != nil {
			d.lz4.Reset(r)
			return d.lz4, nil
		}
		d.lz4 = lz4.NewReader(r)
		return d.lz4, d.lz4.Apply(lz4.ConcurrencyOption(1))
	}
	d.legacy.reset(r)
	return &d.legacy, nil
}

// bytewise returns what the stream holds that in stands at the start of. The
// reader leaves in at the end of the stream.
func (d *decoders) bytewise(kind compression, in *input) (io.Reader, error) {
	switch kind {
	case gzipMember:
		if d.gzip == nil {
			d.gzip = new(gzip.Reader)
		}
		err := d.gzip.Reset(in.Reader)
		d.gzip.Multistream(false)
		return d.gzip, err
	case bzip2Stream:
		b := &bzip2Reader{bzip2Input: bzip2Input{input: in}}
		b.z = bzip2.NewReader(&b.bzip2Input)
		return b, nil
	case lzmaAlone:
		head, _ := in.Peek(magicLen)
		if len(head) == magicLen {
			d.dict += int64(binary.LittleEndian.Uint32(head[1:]))
		}
		if d.dict > maxDictAll {
			return nil, fmt.Errorf("dictionaries of more than %d bytes", int64(maxDictAll))
		}
		return lzma.ReaderConfig{DictCap: maxDict}.NewReader(in)
	}
	return nil, errLZO
}

// legacyReader reads a legacy lz4 frame, block by block. That of the library
// copies each block of 8 MiB once more.
type legacyReader struct {
	r        io.Reader
	started  bool // behind the magic number
	src, dst []byte
	rest     []byte // of dst, to be given
}

// legacyBlock is what a block holds at most.
const legacyBlock = 8 << 20

func (l *legacyReader) reset(r io.Reader) { l.r, l.rest, l.started = r, nil, false }

func (l *legacyReader) Read(p []byte) (int, error) {
	for len(l.rest) == 0 {
		if err := l.block(); err != nil {
			return 0, err
		}
	}
	n := copy(p, l.rest)
	l.rest = l.rest[n:]
	return n, nil
}

func (l *legacyReader) block() error {
	var b [4]byte
	if !l.started {
		l.started = true
		if _, err := io.ReadFull(l.r, b[:]); err != nil {
			return truncated(err)
		}
	}
	if n, err := io.ReadFull(l.r, b[:]); err != nil {
		if n > 0 && allNUL(b[:n]) {
			return io.EOF
		}
		return err
	}
	size := binary.LittleEndian.Uint32(b[:])
	if size == 0 || size > maxLegacyBlock {
		return errors.New("lz4: no size of a block")
	}
	l.src = slices.Grow(l.src[:0], int(size))[:size]
	if _, err := io.ReadFull(l.r, l.src); err != nil {
		return truncated(err)
	}
	most := int(min(legacyBlock, 255*int64(size))) // as a block expands no more
	l.dst = slices.Grow(l.dst[:0], most)[:most]
	n, err := lz4.UncompressBlock(l.src, l.dst)
	l.rest = l.dst[:max(n, 0)]
	return err
}

// bzip2Reader ends at the end of its stream: the library looks two bytes ahead
// for another one, and takes anything else for damage. Another one is read on.
type bzip2Reader struct {
	bzip2Input
	z io.Reader
}

// errBzip2End is what the library says where no other stream follows.
var errBzip2End = bzip2.StructuralError("bad magic value in continuation file")

func (b *bzip2Reader) Read(p []byte) (int, error) {
	n, err := b.z.Read(p)
	switch err {
	case error(errBzip2End):
		b.seek(b.offset() + int64(b.lent) - 2)
		return n, io.EOF
	case io.EOF:
		return n, io.ErrUnexpectedEOF // the NULs lent were part of the stream
	}
	return n, err
}

// bzip2Input lends two NULs behind the end of the image, so that the library
// may always look ahead.
type bzip2Input struct {
	*input
	lent int
}

func (b *bzip2Input) ReadByte() (byte, error) {
	c, err := b.input.ReadByte()
	if err == io.EOF && b.lent < 2 {
		b.lent++
		return 0, nil
	}
	return c, err
}

// unpacked is what a segment unpacks to, one stream after the other.
type unpacked struct {
	*bufio.Reader
	decoders *decoders
	image    io.ReaderAt
	size     int64
	segment  int
	kind     compression
	more     func() bool // whether the stream at next belongs to the segment
	left     *int64      // bytes that may yet be unpacked

	first       int64     // byte of the segment
	start, next int64     // of the stream; next is negative while unknown
	stream      io.Reader // nil between streams
	bytewise    *input    // what stream reads from, if that tells its end
	unmeasured  error     // why a stream of blocks has no end
	n           int64     // bytes unpacked
	err         error     // why nothing follows; not io.EOF
}

// newUnpacked stands at the start of segment i of f.
func newUnpacked(f *FS, i int, kind compression, d *decoders, left *int64) *unpacked {
	u := &unpacked{decoders: d, image: f.image, size: f.size, segment: i, kind: kind, left: left, first: f.Segments[i].Start, next: f.Segments[i].Start}
	u.Reader = bufio.NewReaderSize(readFunc(u.fill), bufSize)
	return u
}

type readFunc func([]byte) (int, error)

func (f readFunc) Read(p []byte) (int, error) { return f(p) }

// fill unpacks on, from one stream to the next.
func (u *unpacked) fill(p []byte) (int, error) {
	for u.err == nil {
		if u.stream == nil {
			if !u.more() {
				return 0, io.EOF
			}
			u.err = u.open(u.next)
			continue
		}
		n, err := u.stream.Read(p)
		u.n += int64(n)
		if *u.left -= int64(n); *u.left < 0 {
			err = errBudget
		}
		if err == io.EOF {
			err = u.close()
		}
		if u.err = err; n > 0 {
			return n, nil
		}
	}
	if u.start != u.first {
		return 0, fmt.Errorf("stream at byte %d: %w", u.start, u.err)
	}
	return 0, u.err
}

// open starts to read the stream at byte at.
func (u *unpacked) open(at int64) (err error) {
	u.start, u.next, u.bytewise, u.unmeasured = at, -1, nil, nil
	switch u.kind {
	case zstdFrame, xzStream, lz4Legacy, lz4Frame:
		end := u.size
		in := newInput(u.image, u.size, 512) // of a block, only its header is read
		in.seek(at)
		if err := measure(u.kind, in); err != nil {
			u.unmeasured = fmt.Errorf("byte %d: %w", in.offset(), err)
		} else {
			end = in.offset()
			u.next = end
		}
		r := io.NewSectionReader(u.image, at, end-at)
		u.stream, err = u.decoders.blocks(u.kind, bufio.NewReaderSize(r, bufSize))
	default:
		u.bytewise = newInput(u.image, u.size, bufSize)
		u.bytewise.seek(at)
		u.stream, err = u.decoders.bytewise(u.kind, u.bytewise)
	}
	return truncated(err)
}

// close ends the stream that was read to its end.
func (u *unpacked) close() error {
	u.stream = nil
	if u.bytewise != nil {
		u.next = u.bytewise.offset()
	}
	return u.unmeasured
}

func (u *unpacked) offset() int64 { return u.n - int64(u.Buffered()) }

func (u *unpacked) where(at int64) string {
	return fmt.Sprintf("byte %d: %s: unpacked byte %d", u.first, u.kind, at)
}

func (u *unpacked) skip(n int64) error {
	for n > 0 {
		m, err := u.Discard(int(min(n, 1<<30)))
		if err != nil {
			return truncated(err)
		}
		n -= int64(m)
	}
	return nil
}

// drain unpacks what is left.
func (u *unpacked) drain() {
	for {
		if _, err := u.Discard(bufSize); err != nil {
			return
		}
	}
}
