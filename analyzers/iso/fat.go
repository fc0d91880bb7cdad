package iso

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
	"time"
	"unicode/utf16"
	"unicode/utf8"
)

// fatReader reads a FAT file system (Microsoft's "FAT: General Overview of On-Disk
// Format", 1.03): FAT12, 16 and 32, long names. It belongs to images since
// their EFI boot image is one.
//
// In a sound volume no cluster belongs to two files, so each is taken once: a
// chain that runs into one that was met, its own too, is cut there. That bounds
// the work on any table by the table's size.
//
// The reader of diskfs/go-diskfs v1.9.4 was tried and is not used: it follows a
// chain that leads back into itself for ever, taking memory (getClusterList
// reads no byte meanwhile, so nothing around it can stop that). With one to ten
// bytes of the first 8 KiB changed at random, one of the first five damaged
// volumes did so for FAT12, one of the first four for FAT16, and the 2,460th
// for FAT32. It also reads what lies beyond the end as zeros.
//
// Left out: the code page of short names, of which only ASCII is told.
type fatReader struct {
	*Tree
	geometry
	table   []byte
	used    []bool           // clusters that belong to a file
	dirs    int64            // bytes of directories so far
	aliases map[string]*File // by lower-case path that ends in a short name
}

// geometry is where things are, in bytes of the volume.
type geometry struct {
	bits     int
	eoc      int64 // this and larger ones end a chain
	cluster  int64 // bytes of one
	clusters int64 // cluster numbers end before this one
	fatAt    int64 // the table
	fatLen   int64
	rootAt   int64 // the root directory of FAT12 and 16
	rootLen  int64
	first    int64 // the root's first cluster, FAT32
	dataAt   int64 // cluster 2
	end      int64
}

// Bounds on a FAT volume. A table of 16 MiB is that of a FAT32 volume of 16 GiB
// with clusters of 4 KiB; a directory has no more than 65,536 entries.
const (
	maxTable  = 16 << 20
	maxFATDir = 65536 * 32
)

var errNoFAT = errors.New("not a FAT volume")

// OpenFAT reads the tree of a FAT volume at the start of r, which has size
// bytes. It fails when there is no FAT volume, or none of its table or root
// directory; anything less is a problem of the tree returned.
func OpenFAT(r io.ReaderAt, size int64) (*Tree, error) {
	t := newTree(r, size)
	t.noCase = true
	t.root = &File{Path: "/", Mode: fs.ModeDir | 0o755}
	v := &fatReader{Tree: &t, aliases: map[string]*File{}}
	boot := make([]byte, 512)
	if err := v.read(boot, 0); err != nil {
		return nil, fmt.Errorf("%w: boot sector: %w", errNoFAT, err)
	}
	var err error
	if v.geometry, err = layout(boot); err != nil {
		return nil, err
	}
	if cut := v.end - size; cut > 0 {
		v.problem("truncated: the volume has %d bytes, %d of them are not there", v.end, cut)
	}
	if err := v.open(); err != nil {
		return nil, err
	}
	v.index()
	for low, f := range v.aliases {
		if v.folded[low] == nil {
			v.folded[low] = f
		}
	}
	return v.Tree, nil
}

// layout reads the BIOS parameter block (3.1 to 3.3) and tells the three kinds
// apart as 3.5 does: by the number of clusters alone.
func layout(b []byte) (geometry, error) {
	u16 := func(at int) int64 { return int64(binary.LittleEndian.Uint16(b[at:])) }
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(b[at:])) }
	size, per, reserved, copies := u16(11), int64(b[13]), u16(14), int64(b[16])
	total, perTable := u16(19), u16(22)
	if total == 0 {
		total = u32(32)
	}
	wide := perTable == 0
	if wide {
		perTable = u32(36)
	}
	bad := func(at int, what string) (geometry, error) {
		return geometry{}, fmt.Errorf("%w: byte %d: %s", errNoFAT, at, what)
	}
	switch {
	case b[510] != 0x55 || b[511] != 0xAA:
		return bad(510, "no signature")
	case size != 512 && size != 1024 && size != 2048 && size != 4096:
		return bad(11, "no size of a sector")
	case per == 0 || per&(per-1) != 0:
		return bad(13, "no size of a cluster")
	case reserved == 0:
		return bad(14, "no reserved sectors")
	case copies == 0 || perTable == 0 || perTable*size > maxTable:
		return bad(16, "no table that is read")
	}
	g := geometry{cluster: per * size, fatLen: perTable * size, end: total * size}
	g.rootAt, g.rootLen = (reserved+copies*perTable)*size, u16(17)*32
	g.dataAt = g.rootAt + (g.rootLen+size-1)/size*size
	if g.end <= g.dataAt {
		return bad(19, "no room for files")
	}
	active := int64(0)
	if flags := u16(40); wide && flags&0x80 != 0 && flags&15 < copies { // no mirrors
		active = flags & 15
	}
	g.fatAt = (reserved + active*perTable) * size
	g.clusters = (g.end-g.dataAt)/g.cluster + 2
	switch n := g.clusters - 2; {
	case n < 4085:
		g.bits, g.eoc = 12, 0xFF8
	case n < 65525:
		g.bits, g.eoc = 16, 0xFFF8
	default:
		g.bits, g.eoc, g.first = 32, 0x0FFFFFF8, u32(44)
	}
	g.clusters = min(g.clusters, g.fatLen*8/int64(g.bits))
	return g, nil
}

// fatDir is a directory to be read.
type fatDir struct {
	path  string
	at    []Extent
	depth int
}

// open reads the table and all directories.
func (v *fatReader) open() error {
	v.table, v.used = make([]byte, min(v.fatLen, v.Size)), make([]bool, v.clusters)
	if err := v.read(v.table, v.fatAt); err != nil {
		return fmt.Errorf("file allocation table: %w", err)
	}
	v.clusters = min(v.clusters, int64(len(v.table))*8/int64(v.bits))
	root := []Extent{{v.rootAt, v.rootLen}}
	if v.bits == 32 {
		root = v.chain(v.root, v.first, maxFATDir)
	}
	queue := []fatDir{{"", root, 0}}
	for len(queue) > 0 && len(v.Files) < maxEntries {
		d := queue[0]
		queue = append(queue[1:], v.dir(d)...)
		if d.depth == 0 && v.Partial && len(v.Files) == 0 {
			return fmt.Errorf("root directory: %s", v.Problems[len(v.Problems)-1])
		}
	}
	return nil
}

// next returns the table's entry for c, and the byte of the volume where it
// stands.
func (v *fatReader) next(c int64) (n, at int64) {
	switch v.bits {
	case 12:
		at = c + c/2
		if at+2 > int64(len(v.table)) {
			return 0, v.fatAt + at
		}
		n = int64(binary.LittleEndian.Uint16(v.table[at:]))
		if c%2 == 1 {
			n >>= 4
		}
		n &= 0xFFF
	case 16:
		at = c * 2
		n = int64(binary.LittleEndian.Uint16(v.table[at:]))
	default:
		at = c * 4
		n = int64(binary.LittleEndian.Uint32(v.table[at:]) & 0x0FFFFFFF)
	}
	return n, v.fatAt + at
}

// chain returns where the clusters from c lie that hold the first size bytes
// of f; fewer where the chain is broken, which is a problem. A directory does
// not say how long it is: its chain does.
func (v *fatReader) chain(f *File, c, size int64) []Extent {
	var es []Extent
	at := int64(-1) // the entry that leads to c
	for size > 0 {
		switch {
		case c >= v.eoc && at >= 0:
			if !f.Mode.IsDir() {
				v.broken(f, at, "ends the file, of which %d bytes are left", size)
			}
			return es
		case c < 2 || c >= v.clusters:
			v.broken(f, at, "leads to cluster %d, which is none", c)
			return es
		case v.used[c]:
			v.broken(f, at, "leads to cluster %d, which was met before", c)
			return es
		}
		v.used[c] = true
		start, n := v.dataAt+(c-2)*v.cluster, min(v.cluster, size)
		if last := len(es) - 1; last >= 0 && es[last].Start+es[last].Length == start {
			es[last].Length += n
		} else {
			es = append(es, Extent{start, n})
		}
		size -= n
		c, at = v.next(c)
	}
	if f.Mode.IsDir() && c < v.eoc {
		v.broken(f, at, "makes the directory longer than any can be")
	}
	return es
}

// broken says what is wrong with the chain of f.
func (v *fatReader) broken(f *File, at int64, format string, args ...any) {
	v.Partial = v.Partial || f.Mode.IsDir()
	where := "its entry"
	if at >= 0 {
		where = fmt.Sprintf("byte %d", at)
	}
	v.problem("%s: %s %s", f.Path, where, fmt.Sprintf(format, args...))
}

// dir reads one directory, and returns those in it.
func (v *fatReader) dir(d fatDir) []fatDir {
	var dirs []fatDir
	var long longName
	for _, x := range d.at {
		if v.dirs += x.Length; v.dirs > maxDirBytes {
			v.lost("%s/: directories of more than %d bytes: the rest is not read", d.path, maxDirBytes)
			return dirs
		}
		b := make([]byte, min(x.Length, v.cluster))
		for off := int64(0); off < x.Length; off += int64(len(b)) {
			b = b[:min(int64(len(b)), x.Length-off)]
			if err := v.read(b, x.Start+off); err != nil {
				v.lost("%s/: %v", d.path, err)
				return dirs
			}
			for i := 0; i+32 <= len(b); i += 32 {
				if b[i] == 0 {
					return dirs
				}
				if sub := v.entry(d, b[i:i+32], &long); sub != nil {
					dirs = append(dirs, *sub)
				}
				if v.full() {
					return dirs
				}
			}
		}
	}
	return dirs
}

// Attributes of an entry (6.2).
const (
	attrLabel = 0x08
	attrDir   = 0x10
	attrLong  = 0x0F
)

// entry takes up one entry, and returns the directory that it is.
func (v *fatReader) entry(d fatDir, e []byte, long *longName) *fatDir {
	if e[0] == 0xE5 { // deleted
		*long = longName{}
		return nil
	}
	if e[11]&0x3F == attrLong {
		long.part(e)
		return nil
	}
	name, short := long.take(e), shortName(e)
	if e[11]&attrLabel != 0 || e[0] == '.' { // the label, "." and ".."
		return nil
	}
	if name == "" {
		name = short
	}
	f := &File{Path: d.path + "/" + name, Mode: 0o644, ModTime: dosTime(e[22:])}
	if e[11]&1 != 0 { // read-only
		f.Mode = 0o444
	}
	if e[11]&attrDir != 0 {
		f.Mode |= fs.ModeDir | 0o111
	} else {
		f.Size = int64(binary.LittleEndian.Uint32(e[28:]))
	}
	if !v.add(f, d.path) {
		return nil
	}
	if low := strings.ToLower(d.path + "/" + short); v.aliases[low] == nil {
		v.aliases[low] = f
	}
	return v.locate(f, e, d.depth)
}

// locate follows the chain of f.
func (v *fatReader) locate(f *File, e []byte, depth int) *fatDir {
	first := int64(binary.LittleEndian.Uint16(e[26:]))
	if v.bits == 32 {
		first |= int64(binary.LittleEndian.Uint16(e[20:])) << 16
	}
	if !f.Mode.IsDir() {
		f.Extents = v.chain(f, first, f.Size)
		return nil
	}
	if depth >= maxDepth {
		v.lost("%s/: too deep: not read", f.Path[:min(len(f.Path), 80)])
		return nil
	}
	f.Extents = v.chain(f, first, maxFATDir)
	return &fatDir{f.Path, f.Extents, depth + 1}
}

// longName gathers the entries of a long name, which come last part first
// before that of the short one, each with its checksum (7.2).
type longName struct {
	units []uint16
	next  byte // number of the part that must follow, 0 for none
	sum   byte
	whole bool
}

func (l *longName) part(e []byte) {
	n := e[0] & 0x3F
	switch {
	case e[0]&0x40 != 0:
		*l = longName{next: n, sum: e[13]}
	case n != l.next || e[13] != l.sum:
		*l = longName{}
	}
	if l.next == 0 || l.next > 20 {
		*l = longName{}
		return
	}
	var u []uint16
	for _, r := range [][2]int{{1, 11}, {14, 26}, {28, 32}} {
		for i := r[0]; i < r[1]; i += 2 {
			u = append(u, binary.LittleEndian.Uint16(e[i:]))
		}
	}
	l.units = append(u, l.units...)
	l.next--
	l.whole = l.next == 0
}

// take returns the name if it is that of the short entry e, and forgets it.
func (l *longName) take(e []byte) string {
	defer func() { *l = longName{} }()
	var sum byte
	for _, c := range e[:11] {
		sum = sum>>1 | sum<<7
		sum += c
	}
	if !l.whole || sum != l.sum {
		return ""
	}
	for i, c := range l.units {
		if c == 0 {
			l.units = l.units[:i]
			break
		}
	}
	return string(utf16.Decode(l.units))
}

// shortName is the name of 8.3 characters. Bytes 3 and 4 of the twelfth are
// Windows NT's mark that it is lower case.
func shortName(e []byte) string {
	text := func(b []byte, lower bool) string {
		var s []rune
		for _, c := range b {
			if c >= 0x80 {
				s = append(s, utf8.RuneError) // of a code page that nobody tells
			} else {
				s = append(s, rune(c))
			}
		}
		name := strings.TrimRight(string(s), " ")
		if lower {
			return strings.ToLower(name)
		}
		return name
	}
	name := text(e[:8], e[12]&8 != 0)
	if ext := text(e[8:11], e[12]&16 != 0); ext != "" {
		return name + "." + ext
	}
	return name
}

// dosTime is a time of two seconds' steps and a date since 1980, in no zone:
// taken for UTC (6.3).
func dosTime(b []byte) time.Time {
	t, d := int(binary.LittleEndian.Uint16(b)), int(binary.LittleEndian.Uint16(b[2:]))
	return date(1980+d>>9, d>>5&15, d&31, t>>11, t>>5&63, t&31*2, 0, 0)
}

// fat is a FAT volume in an image as the boot loaders read it.
type fat struct{ *Tree }

// fat opens the boot image of b; nil when it is none that can be read. Boot
// entries do not tell how long their image is, its boot sector does.
func (m *Image) fat(b BootEntry) *fat {
	if v, ok := m.fats[b.Start]; ok {
		return v
	}
	var v *fat
	if b.Start >= 0 && b.Start < m.Size {
		size := m.Size - b.Start
		if t, err := OpenFAT(io.NewSectionReader(m.r, b.Start, size), size); err == nil {
			v = &fat{t}
			for _, p := range t.Problems {
				m.problem("FAT volume at byte %d: %s", b.Start, p)
			}
		}
	}
	m.fats[b.Start] = v
	return v
}

func (v *fat) has(p string) bool {
	f := v.Resolve(p)
	return f != nil && f.Mode.IsRegular()
}

// list returns the names in a directory.
func (v *fat) list(p string) []string {
	d := v.Resolve(p)
	if d == nil {
		return nil
	}
	var names []string
	for _, f := range d.children[:min(len(d.children), maxOffered)] {
		names = append(names, path.Base(f.Path))
	}
	return names
}

// files opens configurations in the volume.
func (v *fat) files(name string) files {
	return func(p string) *config {
		f := v.Resolve(p)
		if f == nil || f.Mode.IsDir() {
			return nil
		}
		data, err := v.ReadFile(f, maxConfig)
		if err != nil {
			return nil
		}
		return newConfig(name, path.Clean("/"+p), data)
	}
}
