package native

import (
	"bufio"
	"encoding/binary"
	"fmt"
	"io"
	"unicode/utf8"
)

// Export writes what is left of f in the journal export format, as
// journalctl -o export of systemd 252 does.
// https://systemd.io/JOURNAL_EXPORT_FORMATS
func (f *File) Export(w io.Writer) error {
	b := bufio.NewWriterSize(w, 64<<10)
	var e Entry
	for {
		err := f.Next(&e)
		if err == io.EOF {
			return b.Flush()
		}
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "__CURSOR=s=%s;i=%x;b=%s;m=%x;t=%x;x=%x\n", f.Header.Seqnums, e.Seqnum, e.Boot, e.Monotonic, e.Realtime, e.Hash)
		fmt.Fprintf(b, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%s\n", e.Realtime, e.Monotonic, e.Boot)
		// The boot's id is the entry's own.
		f.Fields(&e, func(name []byte) bool { return string(name) != "_BOOT_ID" }, func(fd *Field) { export(b, fd) })
		b.WriteByte('\n')
	}
}

func export(b *bufio.Writer, fd *Field) {
	b.Write(fd.Name)
	if printable(fd.Name) && printable(fd.Value) {
		b.WriteByte('=')
	} else {
		b.WriteByte('\n')
		b.Write(binary.LittleEndian.AppendUint64(b.AvailableBuffer(), uint64(len(fd.Value))))
	}
	b.Write(fd.Value)
	b.WriteByte('\n')
}

// printable reports whether systemd writes v as text (utf8_is_printable, which
// refuses line ends, controls and the code points that are no characters).
func printable(v []byte) bool {
	for len(v) > 0 {
		c, n := utf8.DecodeRune(v)
		switch {
		case c == utf8.RuneError && n <= 1:
			return false
		case c < ' ' && c != '\t', c >= 0x7f && c <= 0x9f:
			return false
		case c >= 0xfdd0 && c <= 0xfdef, c&0xfffe == 0xfffe:
			return false
		}
		v = v[n:]
	}
	return true
}
