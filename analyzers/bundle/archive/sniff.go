package archive

import (
	"bytes"
	"io"
	"strconv"
	"strings"

	"github.com/klauspost/compress/gzip"
	"github.com/klauspost/compress/zstd"
	"github.com/therootcompany/xz"
)

// Format says what a file holds.
type Format uint8

// The formats.
const (
	Plain   Format = iota // itself
	Packed                // one compressed file
	Archive               // members
)

// Sniff says what the file is that starts with head. Some 64 KiB of a
// compressed file show whether it is a tar file.
func Sniff(head []byte) Format {
	switch m := magic(head); m {
	case noMagic:
		if isTar(head) {
			return Archive
		}
		return Plain
	case zipMagic:
		return Archive
	default:
		r, err := unpacked(m, bytes.NewReader(head))
		if err != nil {
			return Packed
		}
		defer r.Close()
		block := make([]byte, blockSize)
		if _, err := io.ReadFull(r, block); err != nil || !isTar(block) {
			return Packed
		}
		return Archive
	}
}

// Peek returns the start of what the packed file holds that starts with head.
func Peek(head []byte) []byte {
	r, err := unpacked(magic(head), bytes.NewReader(head))
	if err != nil {
		return nil
	}
	defer r.Close()
	data, _ := io.ReadAll(io.LimitReader(r, headLen)) // head ends early, as a rule
	return data
}

// magics are the marks at the start of a file. An empty zip file has its end
// record only.
var magics = [...]string{
	gzipMagic: "\x1f\x8b\x08",
	zstdMagic: "\x28\xb5\x2f\xfd",
	xzMagic:   "\xfd7zXZ\x00",
	zipMagic:  "PK\x03\x04",
	emptyZip:  "PK\x05\x06",
}

const (
	noMagic = iota
	gzipMagic
	zstdMagic
	xzMagic
	zipMagic
	emptyZip
)

func magic(head []byte) int {
	for m, s := range magics {
		if s != "" && bytes.HasPrefix(head, []byte(s)) {
			return min(m, zipMagic)
		}
	}
	return noMagic
}

// blockSize is the unit of a tar file.
const blockSize = 512

// isTar reports whether block starts with a tar header. Its check sum says so:
// V7 headers have no magic.
func isTar(block []byte) bool {
	if len(block) < blockSize || block[0] == 0 {
		return false
	}
	const at, end = 148, 156 // chksum
	want, err := strconv.ParseInt(strings.Trim(string(block[at:end]), " \x00"), 8, 64)
	if err != nil {
		return false
	}
	var sum, signed int64
	for i, c := range block[:blockSize] {
		if i >= at && i < end {
			c = ' '
		}
		sum += int64(c)
		signed += int64(int8(c)) // as some old tars computed it
	}
	return want == sum || want == signed
}

const (
	// maxDict is the dictionary of xz -9, maxWindow the window of zstd --long.
	maxDict   = 64 << 20
	maxWindow = 128 << 20
)

// unpacked returns the content of what r holds, compressed as m says.
func unpacked(m int, r io.Reader) (io.ReadCloser, error) {
	switch m {
	case gzipMagic:
		return gzip.NewReader(r)
	case zstdMagic:
		d, err := zstd.NewReader(r, zstd.WithDecoderConcurrency(1), zstd.WithDecoderLowmem(true), zstd.WithDecoderMaxWindow(maxWindow))
		if err != nil {
			return nil, err
		}
		return d.IOReadCloser(), nil
	}
	d, err := xz.NewReader(r, maxDict)
	return io.NopCloser(d), err
}
