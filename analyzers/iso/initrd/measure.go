package initrd

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
)

// measure goes to the end of the stream of blocks that in stands at the start
// of. Libraries read beyond that end, or do not say where it is.
func measure(kind compression, in *input) error {
	switch kind {
	case zstdFrame:
		return measureZstd(in)
	case xzStream:
		return measureXZ(in)
	case lz4Frame:
		return measureLZ4(in)
	case lz4Legacy:
		return measureLZ4Legacy(in)
	}
	return errors.New("not made of blocks")
}

// measureZstd follows RFC 8878, section 3.1.1.
func measureZstd(in *input) error {
	h, err := in.take(5) // magic number, frame header descriptor
	if err != nil {
		return err
	}
	size, single, checksum, dict := h[4]>>6, h[4]&0x20 != 0, h[4]&4 != 0, h[4]&3
	n := [4]int64{0, 2, 4, 8}[size] + [4]int64{0, 1, 2, 4}[dict]
	if !single || size == 0 {
		n++ // the window's size, or the content's in one byte
	}
	if err := in.skip(n); err != nil {
		return err
	}
	if err := zstdBlocks(in); err != nil || !checksum {
		return err
	}
	return in.skip(4)
}

func zstdBlocks(in *input) error {
	for {
		b, err := in.take(3)
		if err != nil {
			return err
		}
		h := uint32(b[0]) | uint32(b[1])<<8 | uint32(b[2])<<16
		n := int64(h >> 3)
		switch h >> 1 & 3 {
		case 1: // one byte, repeated n times
			n = 1
		case 3:
			return errors.New("zstd: a block of the reserved type")
		}
		if err := in.skip(n); err != nil {
			return err
		}
		if h&1 != 0 {
			return nil
		}
	}
}

// measureXZ follows The .xz File Format 1.2.1, section 2.
func measureXZ(in *input) error {
	start := in.offset()
	pad := func() error { return in.skip(-(in.offset() - start) & 3) }
	h, err := in.take(12)
	if err != nil {
		return err
	}
	check := [16]int64{0, 4, 4, 4, 8, 8, 8, 16, 16, 16, 32, 32, 32, 64, 64, 64}[h[7]&15]
	blocks := uint64(0)
	for ; ; blocks++ {
		size, err := in.ReadByte()
		if err != nil {
			return truncated(err)
		}
		if size == 0 {
			break // the index
		}
		if err := in.skip(int64(size)*4 + 3); err != nil {
			return err
		}
		if err := measureLZMA2(in); err != nil {
			return err
		}
		if err := pad(); err != nil {
			return err
		}
		if err := in.skip(check); err != nil {
			return err
		}
	}
	n, err := binary.ReadUvarint(in)
	if err != nil {
		return truncated(err)
	}
	if n != blocks {
		return fmt.Errorf("xz: an index of %d records for %d blocks", n, blocks)
	}
	for range 2 * n {
		if _, err := binary.ReadUvarint(in); err != nil {
			return truncated(err)
		}
	}
	if err := pad(); err != nil {
		return err
	}
	return in.skip(4 + 12) // checksum, footer
}

// measureLZMA2 follows section 5.3.1, and the chunks as xz-embedded's
// xz_dec_lzma2.c reads them.
func measureLZMA2(in *input) error {
	for {
		control, err := in.ReadByte()
		if err != nil {
			return truncated(err)
		}
		switch {
		case control == 0:
			return nil
		case control >= 0x80:
			b, err := in.take(4) // unpacked size, packed size
			if err != nil {
				return err
			}
			n := int64(binary.BigEndian.Uint16(b[2:])) + 1
			if control >= 0xC0 {
				n++ // properties
			}
			if err := in.skip(n); err != nil {
				return err
			}
		case control <= 2:
			b, err := in.take(2)
			if err != nil {
				return err
			}
			if err := in.skip(int64(binary.BigEndian.Uint16(b)) + 1); err != nil {
				return err
			}
		default:
			return fmt.Errorf("xz: no LZMA2 chunk begins with %#x", control)
		}
	}
}

// measureLZ4 follows doc/lz4_Frame_format.md of lz4.
func measureLZ4(in *input) error {
	h, err := in.take(6) // magic number, FLG, BD
	if err != nil {
		return err
	}
	flag := func(bit int, n int64) int64 { return int64(h[4]>>bit&1) * n }
	if err := in.skip(flag(3, 8) + flag(0, 4) + 1); err != nil { // content size, dictionary, checksum
		return err
	}
	for {
		b, err := in.take(4)
		if err != nil {
			return err
		}
		size := binary.LittleEndian.Uint32(b)
		if size == 0 {
			return in.skip(flag(2, 4)) // checksum of the content
		}
		if err := in.skip(int64(size&^(1<<31)) + flag(4, 4)); err != nil {
			return err
		}
	}
}

// maxLegacyBlock is what 8 MiB become at worst (LZ4_COMPRESSBOUND).
const maxLegacyBlock = 8<<20 + 8<<20/255 + 16

// measureLZ4Legacy finds the end of a legacy frame, which has no mark: it is
// where the size of a block would be NULs, larger than any, or is a magic
// number. The last comes first, since that of gzip may be a size.
func measureLZ4Legacy(in *input) error {
	if err := in.skip(4); err != nil {
		return err
	}
	for {
		b, err := in.Peek(magicLen)
		if len(b) == 0 && err == io.EOF {
			return nil
		}
		if len(b) < 4 {
			if err == io.EOF && allNUL(b) {
				return nil
			}
			return truncated(err)
		}
		size := binary.LittleEndian.Uint32(b)
		if size == 0 || size > maxLegacyBlock || sniff(b) != unknown {
			return nil
		}
		if err := in.skip(4 + int64(size)); err != nil {
			return err
		}
	}
}

func allNUL(b []byte) bool {
	for _, c := range b {
		if c != 0 {
			return false
		}
	}
	return true
}
