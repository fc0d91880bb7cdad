package iso

import (
	"encoding/binary"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/kdomanski/iso9660"
)

// Bounds on the system use areas: a link of 4,095 bytes needs three of them.
const (
	maxCEBytes = 64 << 20 // of all records together
	maxCEs     = 32       // of one record
	maxCE      = 4 * sector
)

// Flags of a directory record (ECMA-119, 9.1.6).
const (
	flagDir       = 1 << 1
	flagMultiPart = 1 << 7
)

// walk reads the tree once, breadth first.
type walk struct {
	*Image
	rock   bool
	skip   int // bytes of each system use area that are not SUSP's (SP)
	unicod bool
	dirs   map[int64]bool // extents of directories that were read
	budget int64          // directory bytes left
	ce     int64          // continuation bytes used
	id     string         // identifier of the record before
	queue  []dirAt
}

// dirAt is a directory to be read.
type dirAt struct {
	path  string
	at    Extent
	depth int
}

// tree reads the best of the trees: Rock Ridge, Joliet, plain names.
func (w *walk) tree() {
	root := w.primary
	w.rock = w.usesRockRidge(extent(&root))
	if !w.rock && w.joliet != nil {
		root, w.unicod = *w.joliet, true
	}
	w.root = w.rootFile(&root)
	w.push("", extent(&root), 0)
	for len(w.queue) > 0 && len(w.Files) < maxEntries {
		d := w.queue[0]
		w.queue = w.queue[1:]
		w.dir(d)
	}
}

// rootFile is the root as a file: what Rock Ridge says of it stands in its own
// first record.
func (w *walk) rootFile(de *iso9660.DirectoryEntry) *File {
	b := make([]byte, sector)
	if w.read(b, extent(de).Start) == nil {
		if self, err := record(b); err == nil {
			de = &self
		}
	}
	rr := w.rockRidge(de, extent(de).Start)
	f := &File{Path: "/", Extents: []Extent{extent(de)}}
	f.describe(de, &rr)
	f.Mode = f.Mode&^fs.ModeType | fs.ModeDir
	return f
}

func extent(de *iso9660.DirectoryEntry) Extent {
	at := int64(uint32(de.ExtentLocation)) + int64(de.ExtendedAtributeRecordLength)
	return Extent{at * sector, int64(de.ExtentLength)}
}

// push takes up a directory, once each: one that holds itself, or that hangs in
// two places, is read where it is met first.
func (w *walk) push(p string, at Extent, depth int) {
	switch {
	case w.dirs[at.Start]:
		w.problem("%s/: the directory at byte %d was met before: not read again", p, at.Start)
	case depth > maxDepth || len(p) > maxPath:
		w.lost("%s/: the directory at byte %d is too deep: not read", p[:min(len(p), 80)], at.Start)
	case at.Length > w.budget:
		w.lost("%s/: the directory at byte %d has %d bytes, more than are read", p, at.Start, at.Length)
	default:
		w.dirs[at.Start] = true
		w.budget -= at.Length
		w.queue = append(w.queue, dirAt{p, at, depth})
	}
}

// usesRockRidge looks for SUSP's mark in the root's first record. The name of
// the extension is not asked for: RRIP_1991A and IEEE_1282 differ in nothing
// that is read here.
func (w *walk) usesRockRidge(root Extent) bool {
	b := make([]byte, sector)
	if w.read(b, root.Start) != nil {
		return false
	}
	de, err := record(b)
	if err != nil || len(de.SystemUse) < 7 {
		return false
	}
	sp, err := iso9660.SPRecordDecode(iso9660.SystemUseEntry(de.SystemUse))
	if err != nil {
		return false
	}
	w.skip = int(sp.BytesSkipped)
	return true
}

// dir reads the records of one directory, sector by sector: no record crosses
// one. Multi-extent files are consecutive records of one name.
func (w *walk) dir(d dirAt) {
	var open *File // all but its last extent are read
	b := make([]byte, sector)
	for off := int64(0); off < d.at.Length; off += sector {
		if err := w.read(b, d.at.Start+off); err != nil {
			w.lost("%s/: %v", d.path, err)
			return
		}
		for at := 0; at < sector && b[at] != 0; at += int(b[at]) {
			here := d.at.Start + off + int64(at)
			de, err := record(b[at:])
			if err != nil {
				w.lost("%s/: byte %d: %v", d.path, here, err)
				break
			}
			open = w.entry(d, here, &de, open)
			if w.full() {
				return
			}
		}
	}
	w.unfinished(open)
}

// unfinished says that the file which was to go on does not.
func (w *walk) unfinished(open *File) {
	if open != nil {
		w.problem("%s: behind byte %d of the file: no record of the next extent", open.Path, open.Size)
	}
}

// entry takes up the record at a byte of the image, and returns the file that
// the next one continues.
func (w *walk) entry(d dirAt, at int64, de *iso9660.DirectoryEntry, open *File) *File {
	if de.Identifier == "\x00" || de.Identifier == "\x01" {
		return nil // the directory itself and its parent
	}
	if open != nil && de.Identifier == w.id {
		e := extent(de)
		open.Extents = append(open.Extents, e)
		open.Size += e.Length
		return next(open, de)
	}
	w.unfinished(open)
	w.id = de.Identifier
	rr := w.rockRidge(de, at)
	if rr.relocated {
		return nil // it hangs where its CL record stands
	}
	f := &File{Path: d.path + "/" + w.name(de, &rr), Link: rr.link, Extents: []Extent{extent(de)}}
	f.describe(de, &rr)
	if f.Mode.IsRegular() {
		f.Size = f.Extents[0].Length
	}
	if !w.add(f, d.path) {
		return nil
	}
	switch {
	case rr.child > 0:
		w.relocated(f, rr.child, d.depth)
	case f.Mode.IsDir():
		w.push(f.Path, f.Extents[0], d.depth+1)
	case f.Mode.IsRegular():
		return next(f, de)
	}
	return nil
}

func next(f *File, de *iso9660.DirectoryEntry) *File {
	if de.FileFlags&flagMultiPart != 0 && len(f.Extents) < maxEntries {
		return f
	}
	return nil
}

// relocated takes up a directory that stands elsewhere because ECMA-119 allows
// eight levels only.
func (w *walk) relocated(f *File, child int64, depth int) {
	b := make([]byte, sector)
	err := w.read(b, child*sector)
	if err == nil {
		var self iso9660.DirectoryEntry
		if self, err = record(b); err == nil {
			f.Mode = f.Mode.Perm() | fs.ModeDir
			f.Extents = []Extent{{child * sector, int64(self.ExtentLength)}}
			f.Size = 0
			w.push(f.Path, f.Extents[0], depth+1)
			return
		}
	}
	w.lost("%s/: relocated to byte %d: %v", f.Path, child*sector, err)
}

func (w *walk) name(de *iso9660.DirectoryEntry, rr *rockRidge) string {
	switch {
	case rr.name != "":
		return rr.name
	case w.unicod:
		return version(ucs2(de.Identifier))
	}
	name := version(de.Identifier)
	if len(name) > 1 { // a file without extension has a dot behind its name
		name = strings.TrimSuffix(name, ".")
	}
	return name
}

// version drops the version number behind a name: ";1".
func version(s string) string {
	if i := strings.LastIndexByte(s, ';'); i >= 0 && strings.Trim(s[i+1:], "0123456789") == "" {
		return s[:i]
	}
	return s
}

// describe takes over mode, owner and time.
func (f *File) describe(de *iso9660.DirectoryEntry, rr *rockRidge) {
	f.Mode, f.UID, f.GID = mode(de, rr), rr.uid, rr.gid
	if f.ModTime = rr.time; f.ModTime.IsZero() {
		f.ModTime = time.Time(de.RecordingDateTime)
	}
}

func mode(de *iso9660.DirectoryEntry, rr *rockRidge) fs.FileMode {
	switch {
	case rr.hasMode:
		return rr.mode
	case de.FileFlags&flagDir != 0:
		return fs.ModeDir | 0o555
	}
	return 0o444
}

// rockRidge is what the system use area of one record says.
type rockRidge struct {
	name      string
	mode      fs.FileMode
	hasMode   bool
	uid, gid  uint32
	time      time.Time // of modification
	link      string
	child     int64 // sector of a relocated directory
	relocated bool

	slash bool // the link's last component is complete
}

// rockRidge reads the entries of the record at a byte of the image, its
// continuation areas too.
func (w *walk) rockRidge(de *iso9660.DirectoryEntry, at int64) rockRidge {
	var rr rockRidge
	if !w.rock || len(de.SystemUse) <= w.skip {
		return rr
	}
	area := de.SystemUse[w.skip:]
	for range maxCEs {
		next := rr.area(area)
		if next == nil {
			return rr
		}
		var err error
		if area, err = w.continuation(next); err != nil {
			w.lost("record at byte %d: its continuation: %v", at, err)
			return rr
		}
	}
	w.lost("record at byte %d: more than %d continuation areas", at, maxCEs)
	return rr
}

// area takes up the entries of a system use area, and returns the one that
// names its continuation.
func (rr *rockRidge) area(b []byte) (next iso9660.SystemUseEntry) {
	for len(b) >= 4 {
		e := iso9660.SystemUseEntry(b)
		n := e.Length()
		if n < 4 || n > len(b) {
			break // padding
		}
		e, b = e[:n], b[n:]
		switch {
		case e.Type() == "ST":
			return next
		case e.Type() == "CE" && n >= 28:
			next = e
		default:
			rr.take(e)
		}
	}
	return next
}

// continuation returns the area that a CE entry names.
func (w *walk) continuation(e iso9660.SystemUseEntry) ([]byte, error) {
	d := e.Data()
	at := int64(binary.LittleEndian.Uint32(d))*sector + int64(binary.LittleEndian.Uint32(d[8:]))
	n := int64(binary.LittleEndian.Uint32(d[16:]))
	w.ce += max(n, 256) // small ones cost a read too
	if n > maxCE || w.ce > maxCEBytes {
		return nil, fmt.Errorf("byte %d: an area of %d bytes is beyond what is read", at, n)
	}
	b := make([]byte, n)
	return b, w.read(b, at)
}

// take reads one entry of the Rock Ridge Interchange Protocol.
func (rr *rockRidge) take(e iso9660.SystemUseEntry) {
	d := e.Data()
	switch e.Type() {
	case "NM":
		// Flags 2 and 4 stand for "." and "..", which no record needs.
		if len(d) > 1 && d[0]&6 == 0 && len(rr.name) < maxPath {
			rr.name += string(d[1:])
		}
	case "PX":
		if len(d) >= 8 && !rr.hasMode {
			rr.hasMode, rr.mode = true, unixMode(binary.LittleEndian.Uint32(d))
			if len(d) >= 32 {
				rr.uid, rr.gid = binary.LittleEndian.Uint32(d[16:]), binary.LittleEndian.Uint32(d[24:])
			}
		}
	case "TF":
		if t := modified(d); !t.IsZero() {
			rr.time = t
		}
	case "SL":
		if len(d) > 1 {
			rr.target(d[1:])
		}
	case "CL":
		if len(d) >= 8 {
			rr.child = int64(binary.LittleEndian.Uint32(d))
		}
	case "RE":
		rr.relocated = true
	}
}

// modified returns the time of modification in a TF entry: its flags say which
// times follow, creation first, and whether in the long form (RRIP 1.12, 4.1.6).
func modified(d []byte) time.Time {
	if len(d) < 1 || d[0]&2 == 0 {
		return time.Time{}
	}
	size, flags := 7, d[0]
	if flags&0x80 != 0 {
		size = 17
	}
	d = d[1:]
	if flags&1 != 0 {
		d = d[min(size, len(d)):]
	}
	switch {
	case len(d) < size:
		return time.Time{}
	case size == 7:
		return recorded(d)
	}
	return longDate(d)
}

// longDate is a date of 16 digits and a zone (ECMA-119, 8.4.26.1).
func longDate(b []byte) time.Time {
	var n [7]int
	for i, at := range []int{0, 4, 6, 8, 10, 12, 14} {
		end := at + 2
		if i == 0 {
			end = 4
		}
		v, err := strconv.ParseUint(string(b[at:end]), 10, 16)
		if err != nil {
			return time.Time{}
		}
		n[i] = int(v)
	}
	return date(n[0], n[1], n[2], n[3], n[4], n[5], n[6], int8(b[16]))
}

// target appends the components of a symbolic link; one may go on in the next.
func (rr *rockRidge) target(d []byte) {
	for len(d) >= 2 && int(d[1])+2 <= len(d) && len(rr.link) < maxPath {
		flags, text := d[0], string(d[2:2+int(d[1])])
		d = d[2+int(d[1]):]
		if rr.slash {
			rr.link += "/"
		}
		rr.slash = flags&1 == 0
		switch {
		case flags&2 != 0:
			text = "."
		case flags&4 != 0:
			text = ".."
		case flags&8 != 0:
			text, rr.slash = "/", false
		}
		rr.link += text
	}
}

func unixMode(m uint32) fs.FileMode {
	perm := fs.FileMode(m & 0o777)
	for i, f := range []fs.FileMode{fs.ModeSticky, fs.ModeSetgid, fs.ModeSetuid} {
		if m&(0o1000<<i) != 0 {
			perm |= f
		}
	}
	switch m & 0o170000 {
	case 0o040000:
		return perm | fs.ModeDir
	case 0o120000:
		return perm | fs.ModeSymlink
	case 0o020000:
		return perm | fs.ModeDevice | fs.ModeCharDevice
	case 0o060000:
		return perm | fs.ModeDevice
	case 0o010000:
		return perm | fs.ModeNamedPipe
	case 0o140000:
		return perm | fs.ModeSocket
	}
	return perm
}
