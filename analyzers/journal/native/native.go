// Package native reads journal files as systemd-journald writes them
// (https://systemd.io/JOURNAL_FILE_FORMAT), without libsystemd.
//
// # Nouns
//
// A File is one journal file behind an io.ReaderAt. An Entry is one of its
// entry objects; its fields are DATA objects elsewhere in the file, shared
// between entries and perhaps compressed. Skipped counts what a damaged file
// did not give.
//
// # Invariants
//
//   - Files of every header size since systemd 187 are read, regular and
//     compact, with xz, lz4 and zstd; a file that needs a feature unknown here
//     is refused by that feature's name, as systemd does.
//   - Every offset and size is checked against the file and against what was
//     read before: the arrays that list entries go forward and do not overlap,
//     and neither do the entries. So time is linear in the size of the file,
//     but for values, which Limits bound.
//   - What is corrupt is skipped and counted, and the rest is kept. Where the
//     list of entries is broken, cut or shorter than the header says, the
//     objects between the entries on both sides are searched one after another.
//   - The file is read through a cache of Limits.Cache bytes: it may be larger
//     than memory.
//
// State says how the file was left. One that is online was copied from a
// running machine or belongs to one that was killed: it is read as any other.
//
// Left out: the hash tables (entries are read in order, nothing is looked up),
// so that a byte that changed inside a value goes unnoticed, as in a text; and
// the seals of forward secure sealing.
package native

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"strings"
)

// Magic starts every journal file.
const Magic = "LPKSHHRH"

// The incompatible flags of a file, and those of one object.
const (
	flagXZ = 1 << iota
	flagLZ4
	flagKeyed
	flagZSTD
	flagCompact
	flagsKnown = 1<<iota - 1

	objXZ, objLZ4, objZSTD = 1, 2, 4
)

// ID is a 128-bit id.
type ID [16]byte

func (id ID) String() string { return hex.EncodeToString(id[:]) }

// State is how a file was left.
type State uint8

// The states of a file.
const (
	Offline  State = iota // closed
	Online                // open for writing, or its writer was killed
	Archived              // rotated
	states
)

// Header is the part of a file's header that readers need.
type Header struct {
	Incompatible           uint32
	State                  State
	File, Machine, Seqnums ID // Seqnums names the source that numbers its entries
	Size                   uint64
	Arena                  uint64
	Entries                uint64 // how many the file should have
	Array                  uint64 // the first entry array
	Tail                   uint64 // time of the last entry, µs
}

// Compact reports whether offsets in lists are 32 bits wide.
func (h *Header) Compact() bool { return h.Incompatible&flagCompact != 0 }

// The oldest header ends where n_data was added (systemd 187). Sizes beyond a
// page are no header of any systemd.
const minHeader, maxHeader = 208, 4096

// maxFile is more than any journal has: journald rotates at 128 MiB unless told
// otherwise, and compact files end at 4 GiB.
const maxFile = 1 << 40

// Limits bound what reading costs.
type Limits struct {
	Value int   // bytes of a value that are given; the rest is cut
	Work  int64 // bytes of values in all; from then on a value is short bytes, and nothing is decompressed
	Cache int   // bytes of the file in memory
}

// short is how much of a value is given when Limits.Work is spent.
const short = 512

// Skipped counts what a damaged file did not give.
type Skipped struct {
	Entries int // that are listed, or cut off, and were not found
	// Unlisted entries were found where no list has them, and are not skipped.
	Unlisted int
	Fields   int   // of entries that were read
	Costly   int   // of Fields: not decompressed, because of Limits.Work
	Lists    int   // of entries, broken
	First    int64 // offset of the first damage
}

// Any reports whether anything was found damaged.
func (s *Skipped) Any() bool { return s.Entries+s.Fields+s.Lists > 0 }

func (s *Skipped) String() string {
	var parts []string
	add := func(n int, what string) {
		if n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, what))
		}
	}
	add(s.Entries, "entries lost")
	add(s.Unlisted, "entries found that no list has")
	add(s.Fields, "fields lost")
	add(s.Lists, "lists of entries broken")
	return fmt.Sprintf("%s; the first at offset %d", strings.Join(parts, ", "), s.First)
}

// File is one journal file, read from its first entry to its last.
type File struct {
	Header  Header
	Skipped Skipped
	// Short is how many bytes the file lacks of what its header says, 0 when
	// that is no number that a file could have.
	Short uint64

	w      window
	size   uint64
	lim    Limits
	work   int64
	unpack unpacker
	// unwanted are compressed objects whose name nobody asked for.
	unwanted map[uint64]struct{}

	list list
	scan scan
	end  uint64 // behind the last entry
	seq  uint64 // its number
}

// Open reads the header of the journal file of size bytes behind r.
func Open(r io.ReaderAt, size int64, lim Limits) (*File, error) {
	f := &File{w: newWindow(r, size, lim.Cache), size: uint64(max(size, 0)), lim: lim, work: lim.Work, unwanted: map[uint64]struct{}{}}
	b := f.w.view(0, minHeader)
	if b == nil {
		if f.w.err != nil {
			return nil, f.w.err
		}
		return nil, fmt.Errorf("%d bytes: shorter than the header of a journal file", size)
	}
	if err := f.Header.read(b); err != nil {
		return nil, err
	}
	h := &f.Header
	if end := h.Size + h.Arena; end > f.size && h.Arena < maxFile {
		f.Short = end - f.size
	}
	f.end = minHeader // what h.Size says is not needed to go on
	f.list = list{next: h.Array}
	return f, nil
}

func (h *Header) read(b []byte) error {
	le := binary.LittleEndian
	if !bytes.HasPrefix(b, []byte(Magic)) {
		return errors.New("no journal file: it does not start with " + Magic)
	}
	h.Incompatible = le.Uint32(b[12:])
	if unknown := h.Incompatible &^ flagsKnown; unknown != 0 {
		return fmt.Errorf("needs a reader that knows more: incompatible flags %s", flagNames(h.Incompatible))
	}
	h.State = State(b[16])
	if h.State >= states {
		return fmt.Errorf("offset 16: state %d is none of a journal file", h.State)
	}
	copy(h.File[:], b[24:])
	copy(h.Machine[:], b[40:])
	copy(h.Seqnums[:], b[72:])
	h.Size, h.Arena = le.Uint64(b[88:]), le.Uint64(b[96:])
	if h.Size < minHeader || h.Size > maxHeader || h.Size%8 != 0 {
		return fmt.Errorf("offset 88: a header of %d bytes", h.Size)
	}
	h.Entries, h.Array, h.Tail = le.Uint64(b[152:]), le.Uint64(b[176:]), le.Uint64(b[192:])
	return nil
}

// flagNames names incompatible flags as journalctl --header does.
func flagNames(flags uint32) string {
	var names []string
	for i, n := range []string{"COMPRESSED-XZ", "COMPRESSED-LZ4", "KEYED-HASH", "COMPRESSED-ZSTD", "COMPACT"} {
		if flags&(1<<i) != 0 {
			names = append(names, n)
		}
	}
	if unknown := flags &^ flagsKnown; unknown != 0 {
		names = append(names, fmt.Sprintf("unknown %#x", unknown))
	}
	return strings.Join(names, " ")
}

// damage notes where something was found broken first.
func (f *File) damage(at uint64) {
	if !f.Skipped.Any() {
		f.Skipped.First = int64(at)
	}
}
