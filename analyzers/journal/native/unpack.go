package native

import (
	"bytes"
	"encoding/binary"
	"errors"
	"io"

	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
)

// The bounds of what journald writes: zstd at its default level uses windows
// of up to 2 MiB, xz is told to use a dictionary of 1 MiB. More is allowed for
// builds with other levels.
const (
	maxWindow = 32 << 20
	maxDict   = 8 << 20
	maxRatio  = 255 // an lz4 block expands no more
	maxBlock  = 64 << 20
)

// unpacker decompresses values; its results are valid until the next.
type unpacker struct {
	zstd *zstd.Decoder
	xz   *xz.Reader
	out  []byte
	in   bytes.Reader
}

// unpack returns the first limit bytes of what b holds, and whether that is
// all.
func (u *unpacker) unpack(how byte, b []byte, limit int) (out []byte, whole bool, err error) {
	switch how {
	case objLZ4:
		return u.fromLZ4(b, limit)
	case objXZ:
		return u.fromXZ(b, limit)
	}
	return u.fromZSTD(b, limit)
}

// fromLZ4 reads a length, 64 bits little-endian, and a raw block. The block is
// decoded here and not by pierrec/lz4, whose assembly (v4.1.33) faults where
// the block is said to hold nothing, and which cannot stop at a limit.
func (u *unpacker) fromLZ4(b []byte, limit int) ([]byte, bool, error) {
	if len(b) <= 8 {
		return nil, false, io.ErrUnexpectedEOF
	}
	size, b := binary.LittleEndian.Uint64(b), b[8:]
	if size > maxRatio*uint64(len(b)) {
		return nil, false, errLZ4
	}
	u.grow(int(min(size, uint64(limit))))
	out, err := lz4Block(b, u.out[:0], int(min(size, uint64(limit))))
	if err != nil || uint64(len(out)) < min(size, uint64(limit)) {
		return nil, false, errLZ4
	}
	return out, size <= uint64(limit), nil
}

var errLZ4 = errors.New("lz4: corrupt block")

// lz4Block appends the first n bytes of what block holds to out, which has room
// for them. https://github.com/lz4/lz4/blob/dev/doc/lz4_Block_format.md
func lz4Block(block, out []byte, n int) ([]byte, error) {
	for len(block) > 0 {
		token := block[0]
		literals, rest, ok := lz4Length(block[1:], int(token>>4))
		if !ok || literals > len(rest) {
			return nil, errLZ4
		}
		out = append(out, rest[:min(literals, n-len(out))]...)
		block = rest[literals:]
		if len(out) == n || len(block) == 0 {
			return out, nil // the last sequence has literals only
		}
		if len(block) < 2 {
			return nil, errLZ4
		}
		back := int(binary.LittleEndian.Uint16(block))
		length, rest, ok := lz4Length(block[2:], int(token&15))
		if !ok || back == 0 || back > len(out) {
			return nil, errLZ4
		}
		block = rest
		for length = min(length+4, n-len(out)); length > 0; {
			// A copy may overlap what it makes: it doubles until it is there.
			from := out[len(out)-back:]
			m := min(length, len(from))
			out = append(out, from[:m]...)
			length -= m
		}
		if len(out) == n {
			return out, nil
		}
	}
	return out, nil
}

// lz4Length reads the bytes that make a length longer than 15.
func lz4Length(b []byte, n int) (length int, rest []byte, ok bool) {
	if n < 15 {
		return n, b, true
	}
	for i, c := range b {
		n += int(c)
		if c < 255 {
			return n, b[i+1:], true
		}
	}
	return 0, nil, false
}

func (u *unpacker) fromXZ(b []byte, limit int) ([]byte, bool, error) {
	u.in.Reset(b)
	var err error
	if u.xz == nil {
		u.xz, err = xz.NewReader(&u.in, maxDict)
	} else {
		err = u.xz.Reset(&u.in)
	}
	if err != nil {
		return nil, false, err
	}
	u.xz.Multistream(false)
	return u.read(u.xz, limit)
}

func (u *unpacker) fromZSTD(b []byte, limit int) ([]byte, bool, error) {
	if u.zstd == nil {
		d, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderMaxMemory(maxWindow))
		if err != nil {
			return nil, false, err
		}
		u.zstd = d
	}
	// Most values are small, and their frames say so: these are decompressed
	// at once, which is much faster.
	var h zstd.Header
	if h.Decode(b) == nil && h.HasFCS && h.FrameContentSize <= uint64(min(limit, maxWindow)) {
		u.grow(int(h.FrameContentSize))
		out, err := u.zstd.DecodeAll(b, u.out[:0])
		return out, len(out) <= limit, err
	}
	u.in.Reset(b)
	if err := u.zstd.Reset(&u.in); err != nil {
		return nil, false, err
	}
	return u.read(u.zstd, limit)
}

// read reads up to limit bytes, and one more to know whether these are all.
func (u *unpacker) read(r io.Reader, limit int) ([]byte, bool, error) {
	out := bytes.NewBuffer(u.out[:0])
	n, err := io.Copy(out, io.LimitReader(r, int64(limit)+1))
	u.out = out.Bytes()
	if err != nil {
		return nil, false, err
	}
	return u.out[:min(n, int64(limit))], n <= int64(limit), nil
}

func (u *unpacker) grow(n int) {
	if cap(u.out) < n {
		u.out = make([]byte, n, n+n/4)
	}
}
