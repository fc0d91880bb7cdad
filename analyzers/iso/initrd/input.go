package initrd

import (
	"bufio"
	"fmt"
	"io"
)

// bufSize is what is read at once from an image and from a decompressor.
const bufSize = 32 << 10

// source is what an archive is read from: the image itself or what a segment
// unpacks to.
type source interface {
	io.Reader
	io.ByteScanner
	// skip goes n bytes on; io.ErrUnexpectedEOF if there are fewer.
	skip(n int64) error
	// offset is that of the next byte.
	offset() int64
	// where names the byte at an offset, for a problem.
	where(at int64) string
}

// input is the image, read from any byte on.
type input struct {
	*bufio.Reader
	section *io.SectionReader
}

func newInput(r io.ReaderAt, size int64, buffer int) *input {
	s := io.NewSectionReader(r, 0, size)
	return &input{bufio.NewReaderSize(s, buffer), s}
}

func (in *input) offset() int64 {
	at, _ := in.section.Seek(0, io.SeekCurrent)
	return at - int64(in.Buffered())
}

func (in *input) where(at int64) string { return fmt.Sprintf("byte %d", at) }

func (in *input) seek(at int64) {
	in.section.Seek(at, io.SeekStart)
	in.Reset(in.section)
}

func (in *input) skip(n int64) error {
	if n <= int64(in.Buffered()) {
		_, err := in.Discard(int(n))
		return err
	}
	at := in.offset()
	if n > in.section.Size()-at {
		in.seek(in.section.Size())
		return io.ErrUnexpectedEOF
	}
	in.seek(at + n)
	return nil
}

// take reads n bytes; io.ErrUnexpectedEOF if there are fewer.
func (in *input) take(n int) ([]byte, error) {
	b := make([]byte, n)
	if _, err := io.ReadFull(in, b); err != nil {
		return nil, truncated(err)
	}
	return b, nil
}

// skipNULs goes on to the next byte that is not NUL.
func skipNULs(s io.ByteScanner) error {
	for {
		b, err := s.ReadByte()
		if err != nil {
			return err
		}
		if b != 0 {
			return s.UnreadByte()
		}
	}
}

// truncated makes of an end where there must be none what it is.
func truncated(err error) error {
	if err == io.EOF {
		return io.ErrUnexpectedEOF
	}
	return err
}
