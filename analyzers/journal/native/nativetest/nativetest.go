// Package nativetest writes small journal files for tests, in every variant
// that journald has written: journald itself writes only today's.
//
// The files hold what readers of entries need. Their hash tables are empty, and
// hashes are of our own choice: nothing can be looked up in them.
package nativetest

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"hash/crc32"
	"hash/fnv"
	"strings"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

// The ways to compress a value; their numbers are the flags of objects.
const (
	None = 0
	XZ   = 1 // stored: there is no encoder here
	LZ4  = 2
	ZSTD = 4
)

// threshold is how long a field must be to be compressed, as in journald.
const threshold = 512

// Variant is a form of the file.
type Variant struct {
	Header   uint64 // size: 208, 224, 240, 256, 264 or 272
	Compact  bool
	Keyed    bool
	Compress byte
	State    byte
	Seqnums  byte // all bytes of the sequence number's source
	Machine  byte // all bytes of the machine's id
}

func (v Variant) String() string {
	return fmt.Sprintf("header=%d compact=%v keyed=%v compress=%d", v.Header, v.Compact, v.Keyed, v.Compress)
}

// Variants are the forms that differ for a reader.
func Variants() []Variant {
	return []Variant{
		{Header: 208, Seqnums: 1, Machine: 2},
		{Header: 224, Seqnums: 1, Machine: 2, Compress: XZ},
		{Header: 240, Seqnums: 1, Machine: 2, Compress: LZ4},
		{Header: 256, Seqnums: 1, Machine: 2, Compress: ZSTD, Keyed: true},
		{Header: 264, Seqnums: 1, Machine: 2, Compress: ZSTD, Keyed: true, Compact: true},
		{Header: 272, Seqnums: 1, Machine: 2, Compress: LZ4, Keyed: true, Compact: true, State: 1},
		{Header: 272, Seqnums: 1, Machine: 2, Keyed: true, Compact: true, State: 2},
	}
}

// Entry is one entry.
type Entry struct {
	Seqnum, Realtime, Monotonic uint64
	Boot                        byte     // all bytes of the boot's id
	Fields                      []string // NAME=value
}

// Export writes entries as journalctl -o export of systemd 252 does.
func Export(v Variant, entries []Entry, text func(string) bool) string {
	var b strings.Builder
	for _, e := range entries {
		boot := strings.Repeat(fmt.Sprintf("%02x", e.Boot), 16)
		var x uint64
		for _, f := range e.Fields {
			x ^= hash(f)
		}
		fmt.Fprintf(&b, "__CURSOR=s=%s;i=%x;b=%s;m=%x;t=%x;x=%x\n", strings.Repeat(fmt.Sprintf("%02x", v.Seqnums), 16), e.Seqnum, boot, e.Monotonic, e.Realtime, x)
		fmt.Fprintf(&b, "__REALTIME_TIMESTAMP=%d\n__MONOTONIC_TIMESTAMP=%d\n_BOOT_ID=%s\n", e.Realtime, e.Monotonic, boot)
		for _, f := range e.Fields {
			name, value, _ := strings.Cut(f, "=")
			if text(value) {
				b.WriteString(f + "\n")
			} else {
				b.WriteString(name + "\n" + string(binary.LittleEndian.AppendUint64(nil, uint64(len(value)))) + value + "\n")
			}
		}
		b.WriteByte('\n')
	}
	return b.String()
}

func hash(s string) uint64 {
	h := fnv.New64a()
	h.Write([]byte(s))
	return h.Sum64()
}

// datum is where a field's object stands, and its hash.
type datum struct{ at, hash uint64 }

type writer struct {
	v        Variant
	b        []byte
	data     map[string]datum
	tail     uint64 // the last object
	objects  uint64
	array    uint64 // the last entry array, its next free item and its end
	at, end  uint64
	first    uint64
	compress func(string) ([]byte, error)
}

// Write returns a file of entries.
func Write(v Variant, entries []Entry) ([]byte, error) {
	w := &writer{v: v, b: make([]byte, v.Header), data: map[string]datum{}, compress: compressor(v.Compress)}
	dataTable := w.object(4, 0, make([]byte, 16*4))
	fieldTable := w.object(5, 0, make([]byte, 16*2))
	for i := range entries {
		if err := w.entry(&entries[i]); err != nil {
			return nil, err
		}
	}
	le := binary.LittleEndian
	h := w.b[:v.Header]
	copy(h, "LPKSHHRH")
	le.PutUint32(h[12:], v.flags())
	h[16] = v.State
	copy(h[24:], bytes.Repeat([]byte{0xf1}, 16))
	copy(h[40:], bytes.Repeat([]byte{v.Machine}, 16))
	copy(h[72:], bytes.Repeat([]byte{v.Seqnums}, 16))
	le.PutUint64(h[88:], v.Header)
	le.PutUint64(h[96:], uint64(len(w.b))-v.Header)
	le.PutUint64(h[104:], dataTable+16)
	le.PutUint64(h[112:], 16*4)
	le.PutUint64(h[120:], fieldTable+16)
	le.PutUint64(h[128:], 16*2)
	le.PutUint64(h[136:], w.tail)
	le.PutUint64(h[144:], w.objects)
	le.PutUint64(h[152:], uint64(len(entries)))
	le.PutUint64(h[176:], w.first)
	if n := len(entries); n > 0 {
		copy(h[56:], bytes.Repeat([]byte{entries[n-1].Boot}, 16))
		le.PutUint64(h[160:], entries[n-1].Seqnum)
		le.PutUint64(h[168:], entries[0].Seqnum)
		le.PutUint64(h[184:], entries[0].Realtime)
		le.PutUint64(h[192:], entries[n-1].Realtime)
		le.PutUint64(h[200:], entries[n-1].Monotonic)
	}
	return w.b, nil
}

func (v Variant) flags() uint32 {
	f := map[byte]uint32{XZ: 1, LZ4: 2, ZSTD: 8}[v.Compress]
	if v.Keyed {
		f |= 4
	}
	if v.Compact {
		f |= 16
	}
	return f
}

// object appends an object with what follows its head.
func (w *writer) object(typ, flags byte, body []byte) uint64 {
	for len(w.b)%8 != 0 {
		w.b = append(w.b, 0)
	}
	at := uint64(len(w.b))
	w.b = append(w.b, typ, flags, 0, 0, 0, 0, 0, 0)
	w.b = binary.LittleEndian.AppendUint64(w.b, uint64(16+len(body)))
	w.b = append(w.b, body...)
	w.tail = at
	w.objects++
	return at
}

func (w *writer) entry(e *Entry) error {
	le := binary.LittleEndian
	body := le.AppendUint64(nil, e.Seqnum)
	body = le.AppendUint64(body, e.Realtime)
	body = le.AppendUint64(body, e.Monotonic)
	body = append(body, bytes.Repeat([]byte{e.Boot}, 16)...)
	var x uint64
	var items []byte
	for _, f := range e.Fields {
		d, err := w.field(f)
		if err != nil {
			return err
		}
		x ^= d.hash
		items = w.offset(items, d.at)
		if !w.v.Compact {
			items = le.AppendUint64(items, d.hash)
		}
	}
	body = append(le.AppendUint64(body, x), items...)
	w.link(w.object(3, 0, body))
	return nil
}

func (w *writer) offset(b []byte, at uint64) []byte {
	if w.v.Compact {
		return binary.LittleEndian.AppendUint32(b, uint32(at))
	}
	return binary.LittleEndian.AppendUint64(b, at)
}

func (w *writer) field(f string) (datum, error) {
	if d, ok := w.data[f]; ok {
		return d, nil
	}
	d := datum{hash: hash(f)}
	body := make([]byte, 48) // hash, chains and counts
	if w.v.Compact {
		body = make([]byte, 56)
	}
	binary.LittleEndian.PutUint64(body, d.hash)
	payload, flag := []byte(f), byte(0)
	if w.v.Compress != None && len(f) >= threshold {
		c, err := w.compress(f)
		if err != nil {
			return d, err
		}
		payload, flag = c, w.v.Compress
	}
	d.at = w.object(1, flag, append(body, payload...))
	w.data[f] = d
	return d, nil
}

// link lists an entry; arrays grow as journald's do.
func (w *writer) link(entry uint64) {
	width := uint64(8)
	if w.v.Compact {
		width = 4
	}
	if w.at == w.end {
		n := max(4, 2*(w.end-min(w.end, w.array+24))/width)
		last := w.array
		w.array = w.object(6, 0, make([]byte, 8+n*width))
		w.at, w.end = w.array+24, w.array+24+n*width
		if last == 0 {
			w.first = w.array
		} else {
			binary.LittleEndian.PutUint64(w.b[last+16:], w.array)
		}
	}
	copy(w.b[w.at:], w.offset(nil, entry))
	w.at += width
}

func compressor(how byte) func(string) ([]byte, error) {
	switch how {
	case LZ4:
		return func(s string) ([]byte, error) {
			out := make([]byte, lz4.CompressBlockBound(len(s)))
			n, err := lz4.CompressBlock([]byte(s), out, nil)
			if n == 0 && err == nil {
				err = fmt.Errorf("%.20q… does not compress", s)
			}
			return append(binary.LittleEndian.AppendUint64(nil, uint64(len(s))), out[:n]...), err
		}
	case XZ:
		return func(s string) ([]byte, error) { return storeXZ(s), nil }
	case ZSTD:
		return func(s string) ([]byte, error) {
			enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithEncoderCRC(false))
			if err != nil {
				return nil, err
			}
			return enc.EncodeAll([]byte(s), nil), enc.Close()
		}
	}
	return nil
}

// storeXZ wraps s as an xz stream of chunks that are not compressed.
// https://tukaani.org/xz/xz-file-format.txt
func storeXZ(s string) []byte {
	le, sum := binary.LittleEndian, func(b []byte) []byte { return binary.LittleEndian.AppendUint32(b, crc32.ChecksumIEEE(b)) }
	pad4 := func(b []byte) []byte { return append(b, make([]byte, (4-len(b)%4)%4)...) }
	flags := []byte{0, 0}                           // no check
	head := sum([]byte{2, 0, 0x21, 1, 16, 0, 0, 0}) // LZMA2, dictionary of 1 MiB
	out := append([]byte("\xfd7zXZ\x00"), flags...)
	out = le.AppendUint32(out, crc32.ChecksumIEEE(flags))
	block := head
	for rest, kind := s, byte(1); len(rest) > 0; kind = 2 {
		n := min(len(rest), 1<<16)
		block = append(block, kind, byte((n-1)>>8), byte(n-1))
		block = append(block, rest[:n]...)
		rest = rest[n:]
	}
	block = append(block, 0)
	index := binary.AppendUvarint([]byte{0, 1}, uint64(len(block)))
	index = sum(pad4(binary.AppendUvarint(index, uint64(len(s)))))
	out = append(append(out, pad4(block)...), index...)
	foot := append(le.AppendUint32(nil, uint32(len(index)/4-1)), flags...)
	out = le.AppendUint32(out, crc32.ChecksumIEEE(foot))
	return append(append(out, foot...), "YZ"...)
}
