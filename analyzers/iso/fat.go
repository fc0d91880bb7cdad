package iso

import (
	"encoding/binary"
	"path"
	"strings"
	"unicode/utf16"
)

// fat is a FAT file system within the image: the EFI system partition. It
// reads what a boot loader reads, paths and small files.
type fat struct {
	m       *Image
	start   int64
	table   []byte
	bits    int
	cluster int64 // bytes of one
	data    int64 // byte of cluster 2
	root    []byte
	read    int64 // bytes of directories so far
}

// Bounds on a FAT volume: EFI images have some megabytes.
const (
	maxTable  = 8 << 20
	maxFATDir = 1 << 20
	maxFATAll = 64 << 20
)

// fat opens the boot image of b; nil when it is none that can be read.
func (m *Image) fat(b BootEntry) *fat {
	h := make([]byte, 512)
	if m.read(h, b.Start) != nil || h[510] != 0x55 || h[511] != 0xAA {
		return nil
	}
	u16 := func(at int) int64 { return int64(binary.LittleEndian.Uint16(h[at:])) }
	u32 := func(at int) int64 { return int64(binary.LittleEndian.Uint32(h[at:])) }
	size, per, reserved, copies := u16(11), int64(h[13]), u16(14), int64(h[16])
	total, perTable := u16(19), u16(22)
	if total == 0 {
		total = u32(32)
	}
	if perTable == 0 {
		perTable = u32(36)
	}
	rootBytes := u16(17) * 32
	if size != 512 && size != 1024 && size != 2048 && size != 4096 || per == 0 || copies == 0 || copies > 4 || reserved == 0 || perTable*size > maxTable {
		return nil
	}
	v := &fat{m: m, start: b.Start, cluster: per * size}
	rootAt := (reserved + copies*perTable) * size
	v.data = rootAt + (rootBytes+size-1)/size*size
	v.bits = fatBits((total*size - v.data) / v.cluster)
	v.table = make([]byte, perTable*size)
	if m.read(v.table, b.Start+reserved*size) != nil {
		return nil
	}
	if rootBytes == 0 {
		v.root = v.chain(u32(44), maxFATDir)
	} else {
		v.root = make([]byte, rootBytes)
		if m.read(v.root, b.Start+rootAt) != nil {
			return nil
		}
	}
	return v
}

// fatBits tells the three kinds apart as Microsoft's specification does: by the
// number of clusters alone.
func fatBits(clusters int64) int {
	switch {
	case clusters < 4085:
		return 12
	case clusters < 65525:
		return 16
	}
	return 32
}

// next returns the cluster behind c, 0 at the end or where the table is bad.
func (v *fat) next(c int64) int64 {
	var n, end int64
	switch v.bits {
	case 12:
		at := c + c/2
		if at+2 > int64(len(v.table)) {
			return 0
		}
		n = int64(binary.LittleEndian.Uint16(v.table[at:]))
		if c%2 == 1 {
			n >>= 4
		}
		n, end = n&0xFFF, 0xFF7
	case 16:
		if at := c * 2; at+2 <= int64(len(v.table)) {
			n = int64(binary.LittleEndian.Uint16(v.table[at:]))
		}
		end = 0xFFF7
	default:
		if at := c * 4; at+4 <= int64(len(v.table)) {
			n = int64(binary.LittleEndian.Uint32(v.table[at:]) & 0x0FFFFFFF)
		}
		end = 0x0FFFFFF7
	}
	if n < 2 || n >= end {
		return 0
	}
	return n
}

// chain reads a chain of clusters, at most limit bytes.
func (v *fat) chain(c, limit int64) []byte {
	var out []byte
	for c >= 2 && int64(len(out)) < limit {
		if v.read += v.cluster; v.read > maxFATAll {
			return nil
		}
		b := make([]byte, v.cluster)
		if v.m.read(b, v.start+v.data+(c-2)*v.cluster) != nil {
			return nil
		}
		out = append(out, b...)
		c = v.next(c)
	}
	return out[:min(int64(len(out)), limit)]
}

// fatEntry is one file or directory.
type fatEntry struct {
	name, short string
	dir         bool
	first, size int64
}

// entries reads a directory, long names too.
func (v *fat) entries(dir []byte) []fatEntry {
	var es []fatEntry
	long := ""
	for at := 0; at+32 <= len(dir) && dir[at] != 0; at += 32 {
		e := dir[at : at+32]
		switch {
		case e[0] == 0xE5: // deleted
			long = ""
		case e[11]&0x3F == 0x0F:
			if e[0]&0x40 != 0 {
				long = ""
			}
			long = longPart(e) + long
		case e[11]&8 != 0: // volume label
			long = ""
		default:
			f := fatEntry{dir: e[11]&0x10 != 0, size: int64(binary.LittleEndian.Uint32(e[28:])),
				first: int64(binary.LittleEndian.Uint16(e[26:])) | int64(binary.LittleEndian.Uint16(e[20:]))<<16}
			if v.bits < 32 {
				f.first &= 0xFFFF
			}
			f.short = strings.TrimRight(string(e[:8]), " ")
			if ext := strings.TrimRight(string(e[8:11]), " "); ext != "" {
				f.short += "." + ext
			}
			f.name = f.short
			if long != "" {
				f.name = long
			}
			es = append(es, f)
			long = ""
		}
	}
	return es
}

func longPart(e []byte) string {
	var u []uint16
	for _, r := range [][2]int{{1, 11}, {14, 26}, {28, 32}} {
		for i := r[0]; i < r[1]; i += 2 {
			c := binary.LittleEndian.Uint16(e[i:])
			if c == 0 || c == 0xFFFF {
				return string(utf16.Decode(u))
			}
			u = append(u, c)
		}
	}
	return string(utf16.Decode(u))
}

// open finds the entry at p; case does not matter to FAT.
func (v *fat) open(p string) (fatEntry, bool) {
	cur, ok := fatEntry{dir: true}, true
	dir := v.root
	for _, name := range strings.Split(strings.Trim(path.Clean("/"+p), "/"), "/") {
		if name == "" {
			continue
		}
		if !cur.dir {
			return cur, false
		}
		if cur.first > 0 {
			dir = v.chain(cur.first, maxFATDir)
		}
		ok = false
		for _, e := range v.entries(dir) {
			if strings.EqualFold(e.name, name) || strings.EqualFold(e.short, name) {
				cur, ok = e, true
				break
			}
		}
		if !ok {
			return cur, false
		}
	}
	return cur, ok
}

func (v *fat) has(p string) bool {
	e, ok := v.open(p)
	return ok && !e.dir
}

// list returns the names in a directory.
func (v *fat) list(p string) []string {
	d, ok := v.open(p)
	if !ok || !d.dir || d.first == 0 {
		return nil
	}
	var names []string
	for _, e := range v.entries(v.chain(d.first, maxFATDir)) {
		if e.name != "." && e.name != ".." && len(names) < maxOffered {
			names = append(names, e.name)
		}
	}
	return names
}

// files opens configurations in the volume.
func (v *fat) files(name string) files {
	return func(p string) *config {
		e, ok := v.open(p)
		if !ok || e.dir || e.size > maxConfig {
			return nil
		}
		data := v.chain(e.first, e.size)
		if int64(len(data)) < e.size {
			return nil
		}
		return newConfig(name, path.Clean("/"+p), data)
	}
}
