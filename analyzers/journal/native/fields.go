package native

import (
	"bytes"
	"encoding/binary"
)

// maxName bounds the name of a field (journal_field_valid in systemd).
const maxName = 64

// maxUnwanted bounds what is remembered of compressed objects.
const maxUnwanted = 1 << 16

// perUnpack is what decompressing costs of Limits.Work beside the bytes.
const perUnpack = 1024

// Field is one field of an entry. Name and Value are valid until the next.
type Field struct {
	At    int64 // offset of its object: the same in all entries that share it
	Name  []byte
	Value []byte
	Whole bool // not cut by Limits
}

// Fields calls take for each field of e whose name want accepts, in the file's
// order. What want says must depend on the name alone: it is remembered. A field
// that is corrupt is skipped and counted.
func (f *File) Fields(e *Entry, want func(name []byte) bool, take func(*Field)) {
	var fd Field
	for i := range e.items {
		it := &e.items[i]
		switch ok, wanted := f.field(it, want, &fd); {
		case f.w.err != nil:
			return
		case !ok:
			f.damage(uint64(e.Offset))
			f.Skipped.Fields++
		case wanted:
			take(&fd)
		}
	}
}

func (f *File) field(it *item, want func([]byte) bool, fd *Field) (ok, wanted bool) {
	typ, size := f.object(it.at)
	head := uint64(dataHead)
	if f.Header.Compact() {
		head = compactDataHead
	}
	if typ != typeData || size <= head {
		return false, false
	}
	b := f.w.view(it.at, head)
	if b == nil || !f.Header.Compact() && binary.LittleEndian.Uint64(b[16:]) != it.hash {
		return false, false
	}
	fd.At = int64(it.at)
	at, n := it.at+head, size-head
	switch b[1] {
	case 0:
		return f.plain(at, n, want, fd)
	case objXZ, objLZ4, objZSTD:
		return f.compressed(b[1], at, n, want, fd)
	}
	return false, false
}

// plain reads a field that is not compressed: its name first.
func (f *File) plain(at, n uint64, want func([]byte) bool, fd *Field) (ok, wanted bool) {
	b := f.w.view(at, min(n, maxName+1))
	name, _, ok := bytes.Cut(b, []byte("="))
	if !ok || len(name) == 0 {
		return false, false
	}
	if !want(name) {
		return true, false
	}
	limit := uint64(len(name) + 1 + f.limit())
	b = f.w.view(at, min(n, limit))
	if b == nil {
		return false, false
	}
	f.split(b, len(name), n <= limit, fd)
	return true, true
}

func (f *File) compressed(how byte, at, n uint64, want func([]byte) bool, fd *Field) (ok, wanted bool) {
	if _, no := f.unwanted[uint64(fd.At)]; no {
		return true, false
	}
	if f.work <= 0 {
		f.Skipped.Costly++
		return true, false
	}
	limit := maxName + 1 + f.limit()
	if n > uint64(max(maxBlock, limit)) {
		return false, false
	}
	b := f.w.view(at, n)
	if b == nil {
		return false, false
	}
	f.work -= perUnpack + int64(n)
	b, whole, err := f.unpack.unpack(how, b, limit)
	name, _, ok := bytes.Cut(b[:min(len(b), maxName+1)], []byte("="))
	if err != nil || !ok || len(name) == 0 {
		return false, false
	}
	if !want(name) {
		f.work -= int64(len(b))
		if len(f.unwanted) >= maxUnwanted {
			clear(f.unwanted)
		}
		f.unwanted[uint64(fd.At)] = struct{}{}
		return true, false
	}
	most := min(len(b), len(name)+1+f.limit())
	f.split(b[:most], len(name), whole && most == len(b), fd)
	return true, true
}

func (f *File) split(b []byte, name int, whole bool, fd *Field) {
	f.work -= int64(len(b))
	fd.Name, fd.Value, fd.Whole = b[:name], b[name+1:], whole
}

// limit is how much of a value is given.
func (f *File) limit() int {
	if f.work <= 0 {
		return min(short, f.lim.Value)
	}
	return f.lim.Value
}
