package native

import (
	"encoding/binary"
	"io"
)

// The types of objects, and the sizes of their fixed parts.
const (
	typeData, typeEntry, typeArray, types = 1, 3, 6, 8

	objectHead, entryHead, arrayHead = 16, 64, 24
	dataHead, compactDataHead        = 64, 72

	// journald takes 1024 fields an entry (ENTRY_FIELD_COUNT_MAX); this is
	// room for 64 times as many.
	maxEntry = 1 << 20
)

// Entry is one entry object.
type Entry struct {
	Offset, Size        int64 // of the object
	Seqnum              uint64
	Realtime, Monotonic uint64 // µs
	Boot                ID
	Hash                uint64 // the xor of its fields' hashes
	items               []item
	lost                int // items that are none
}

// item refers to a field. Compact files do not repeat its hash.
type item struct{ at, hash uint64 }

// list walks the entry arrays.
type list struct {
	next  uint64 // array, 0: none
	at    uint64 // the next item of the present one
	end   uint64 // of the present one
	bad   int    // items since the last good one that are none
	total uint64 // items
	ahead Entry  // a good item, until the gap before it is searched
	held  bool
	fresh bool // the present array has just begun
	done  bool
}

// scan searches the objects from at to end, one behind the other.
type scan struct {
	at, end uint64
	lost    bool // no object where one should be: look for the next entry
	on      bool
}

// Next reads the next entry into e, whose memory it uses again. It returns
// io.EOF after the last.
func (f *File) Next(e *Entry) error {
	for {
		if f.w.err != nil {
			return f.w.err
		}
		switch {
		case f.scan.on:
			if f.scanned(e) {
				f.found()
				return f.give(e)
			}
			f.lostIn()
		case f.list.held:
			*e, f.list.ahead = f.list.ahead, *e
			f.list.held = false
			return f.give(e)
		case f.list.done:
			if f.w.err != nil {
				return f.w.err
			}
			return io.EOF
		default:
			f.listed()
		}
	}
}

// give is where every entry leaves the file.
func (f *File) give(e *Entry) error {
	f.end, f.seq = uint64(e.Offset)+pad(uint64(e.Size)), e.Seqnum
	if e.lost > 0 {
		f.damage(f.end)
		f.Skipped.Fields += e.lost
	}
	return nil
}

// listed takes the next entry that the arrays list to f.list.ahead. If
// something was wrong before it, the gap up to it is searched first.
func (f *File) listed() {
	l := &f.list
	width := f.width()
	for {
		for l.at+width <= l.end {
			at := f.offset(l.at)
			if at == 0 && l.next == 0 && f.w.err == nil {
				l.at = l.end // the unused rest of the last array
				break
			}
			l.at += width
			l.total++
			if f.entry(at, &l.ahead) && !f.overtakes(at) {
				l.held = true
				f.gap(at)
				return
			}
			if f.w.err != nil {
				return
			}
			if l.bad == 0 {
				f.damage(l.at - width)
			}
			l.bad++
		}
		if !f.array() {
			break
		}
	}
	l.done = true
	// Where the arrays have fewer entries than the header promises, they or
	// the header are broken: the rest of the file is searched. A promise of
	// more than any file of that size could hold counts nothing.
	if n := f.Header.Entries; n > (f.size+f.Short)/entryHead {
		f.damage(0)
		f.Skipped.Lists++
	} else if n > l.total {
		f.damage(f.end)
		l.bad += int(n - l.total)
	}
	f.gap(f.size)
}

// overtakes reports whether the item at offset at, just read, is out of order:
// the one listed behind it is an entry too, and stands before it.
func (f *File) overtakes(at uint64) bool {
	l := &f.list
	behind := l.at
	if behind+f.width() > l.end {
		if typ, size := f.object(l.next); typ != typeArray || size < arrayHead+f.width() {
			return false
		}
		behind = l.next + arrayHead
	}
	next := f.offset(behind)
	if next >= at || next < f.end {
		return false
	}
	typ, _ := f.object(next)
	return typ == typeEntry
}

// array goes to the next array; it reports false where there is none.
func (f *File) array() bool {
	l := &f.list
	at := l.next
	if at == 0 || f.w.err != nil {
		return false
	}
	l.next = 0
	typ, size := f.object(at)
	if typ != typeArray || size < arrayHead || at < l.end {
		f.damage(at)
		f.Skipped.Lists++
		return false
	}
	l.fresh = l.end > 0
	l.at, l.end = at+arrayHead, at+size
	b := f.w.view(at+objectHead, 8)
	if b == nil {
		return false
	}
	l.next = binary.LittleEndian.Uint64(b)
	return true
}

// gap searches the objects before end if any entry may be missing there: also
// where an array begins, since the one before may have lost its end.
func (f *File) gap(end uint64) {
	l := &f.list
	if l.bad > 0 || l.fresh || f.Skipped.Lists > 0 && l.done {
		f.scan = scan{at: f.end, end: end, on: true}
	}
	l.fresh = false
}

// found counts an entry that no array lists, or not where it should be.
func (f *File) found() {
	l := &f.list
	if l.bad > 0 {
		l.bad--
		return
	}
	f.damage(f.end)
	l.total++
	f.Skipped.Unlisted++
}

// lostIn counts what the search of a gap did not find.
func (f *File) lostIn() {
	f.scan.on = false
	if f.list.bad > 0 {
		f.Skipped.Entries += f.list.bad
	}
	f.list.bad = 0
}

// scanned takes the next entry in the gap.
func (f *File) scanned(e *Entry) bool {
	s := &f.scan
	for s.at < s.end && f.w.err == nil {
		at := s.at
		typ, size := f.object(at)
		switch {
		case typ == typeEntry && f.entry(at, e) && f.sound(e):
			s.at, s.lost = at+pad(uint64(e.Size)), false
			return true
		case size == 0 || typ == typeEntry || s.lost || pad(size) > s.end-at:
			s.at, s.lost = at+8, true
		default:
			s.at = at + pad(size)
		}
	}
	return false
}

// sound reports whether e, which no array lists, is an entry and not what looks
// like one: it follows the last one, and its fields are fields.
func (f *File) sound(e *Entry) bool {
	for i := range e.items {
		if typ, _ := f.object(e.items[i].at); typ != typeData {
			return false
		}
	}
	return e.Seqnum > f.seq && e.Boot != ID{}
}

// object returns the type and size of the object at at; the size is 0 when
// there is none.
func (f *File) object(at uint64) (typ byte, size uint64) {
	if at%8 != 0 || at < minHeader {
		return 0, 0
	}
	b := f.w.view(at, objectHead)
	if b == nil {
		return 0, 0
	}
	size = binary.LittleEndian.Uint64(b[8:])
	if b[0] == 0 || b[0] >= types || b[1] != 0 && b[0] != typeData || size < objectHead || size > f.size-at {
		return 0, 0
	}
	return b[0], size
}

// entry reads the entry object at at, which must stand behind the last one.
func (f *File) entry(at uint64, e *Entry) bool {
	typ, size := f.object(at)
	each := uint64(16)
	if f.Header.Compact() {
		each = 4
	}
	if typ != typeEntry || at < f.end || size < entryHead+each || size > maxEntry || (size-entryHead)%each != 0 {
		return false
	}
	b := f.w.view(at, size)
	if b == nil {
		return false
	}
	le := binary.LittleEndian
	items := e.items[:0]
	*e = Entry{Offset: int64(at), Size: int64(size), Seqnum: le.Uint64(b[16:]), Realtime: le.Uint64(b[24:]), Monotonic: le.Uint64(b[32:]), Hash: le.Uint64(b[56:])}
	copy(e.Boot[:], b[40:])
	for b = b[entryHead:]; len(b) > 0; b = b[each:] {
		it := item{at: uint64(le.Uint32(b))}
		if each != 4 {
			it = item{at: le.Uint64(b), hash: le.Uint64(b[8:])}
		}
		if it.at%8 != 0 || it.at < minHeader || it.at >= at {
			// Fields are written before their entry. What follows may be the
			// next object: the size is wrong then.
			e.lost = 1
			e.Size -= int64(len(b))
			break
		}
		items = append(items, it)
	}
	e.items = items
	return len(items) > 0 && e.Seqnum != 0 && e.Realtime != 0 && e.Realtime < 1<<55 && e.Monotonic < 1<<55
}

// width is the size of an offset in an array.
func (f *File) width() uint64 {
	if f.Header.Compact() {
		return 4
	}
	return 8
}

// offset reads an offset of an array.
func (f *File) offset(at uint64) uint64 {
	b := f.w.view(at, f.width())
	switch len(b) {
	case 4:
		return uint64(binary.LittleEndian.Uint32(b))
	case 8:
		return binary.LittleEndian.Uint64(b)
	}
	return 0
}

// pad is the space that an object of size n takes.
func pad(n uint64) uint64 { return (n + 7) &^ 7 }
