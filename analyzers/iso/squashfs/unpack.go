package squashfs

import (
	"bytes"
	"errors"
	"io"

	"github.com/klauspost/compress/zlib"
	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
	"github.com/therootcompany/xz"
)

// unpacker decompresses blocks, one at a time.
type unpacker interface {
	// unpack fills dst, which is not empty, with what src holds and returns how
	// much that was. More than dst has room for is an error.
	unpack(dst, src []byte) (int, error)
}

// decompressors make an unpacker, by the compression's name.
var decompressors = map[string]func() unpacker{
	"gzip": func() unpacker { return &zlibUnpacker{} },
	"xz":   func() unpacker { return &xzUnpacker{} },
	"lz4":  func() unpacker { return lz4Unpacker{} },
	"zstd": func() unpacker { return &zstdUnpacker{} },
}

var errLarger = errors.New("more than a block")

// zlibUnpacker is for squashfs's "gzip", which has zlib's frame.
type zlibUnpacker struct {
	in bytes.Reader
	r  io.ReadCloser
}

func (u *zlibUnpacker) unpack(dst, src []byte) (int, error) {
	u.in.Reset(src)
	var err error
	if u.r == nil {
		u.r, err = zlib.NewReader(&u.in)
	} else {
		err = u.r.(zlib.Resetter).Reset(&u.in, nil)
	}
	if err != nil {
		return 0, err
	}
	return fill(dst, u.r)
}

// xzUnpacker reads dictionaries of up to a block: mksquashfs makes no larger.
type xzUnpacker struct {
	in bytes.Reader
	r  *xz.Reader
}

func (u *xzUnpacker) unpack(dst, src []byte) (int, error) {
	u.in.Reset(src)
	var err error
	if u.r == nil {
		u.r, err = xz.NewReader(&u.in, maxBlockSize)
	} else {
		err = u.r.Reset(&u.in)
	}
	if err != nil {
		return 0, err
	}
	u.r.Multistream(false)
	return fill(dst, u.r)
}

// fill reads the whole of r, which has to fit into dst. The read behind the end
// makes the decompressor compare its checksum.
func fill(dst []byte, r io.Reader) (int, error) {
	n := 0
	for n < len(dst) {
		m, err := r.Read(dst[n:])
		n += m
		if err == io.EOF {
			return n, nil
		}
		if err != nil {
			return 0, err
		}
	}
	var more [1]byte
	m, err := io.ReadFull(r, more[:])
	switch {
	case m > 0:
		return 0, errLarger
	case err != io.EOF:
		return 0, err
	}
	return n, nil
}

type lz4Unpacker struct{}

func (lz4Unpacker) unpack(dst, src []byte) (int, error) { return lz4.UncompressBlock(src, dst) }

// zstdUnpacker reads windows of up to a block, as Linux does.
type zstdUnpacker struct{ d *zstd.Decoder }

func (u *zstdUnpacker) unpack(dst, src []byte) (int, error) {
	if u.d == nil {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxBlockSize), zstd.WithDecodeAllCapLimit(true))
		if err != nil {
			return 0, err
		}
		u.d = d
	}
	out, err := u.d.DecodeAll(src, dst[:0:len(dst)])
	if err != nil {
		return 0, err // what it made may be longer than dst
	}
	return len(out), nil
}
