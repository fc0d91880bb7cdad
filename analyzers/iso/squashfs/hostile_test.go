package squashfs

import (
	"bytes"
	"compress/zlib"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"slices"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
	"github.com/pierrec/lz4/v4"
)

var le = binary.LittleEndian

// fields encodes numbers and strings, one after the other.
func fields(what ...any) []byte {
	var b []byte
	for _, v := range what {
		if s, ok := v.(string); ok {
			v = []byte(s)
		}
		var err error
		if b, err = binary.Append(b, le, v); err != nil {
			panic(err)
		}
	}
	return b
}

// put overwrites the bytes of b at an offset.
func put(b []byte, at int64, what ...any) { copy(b[at:], fields(what...)) }

// at returns where the inode of a file starts in an image with stored metadata.
func at(t *testing.T, f *FS, name string) int64 {
	t.Helper()
	n, err := f.lookup("stat", name)
	if err != nil {
		t.Fatal(err)
	}
	return f.super.inodes.start + int64(n.ref>>16) + metaHeader + int64(n.ref&0xffff)
}

// entryAt returns where the record of a directory with that name starts.
func entryAt(t *testing.T, b []byte, f *FS, name string) int64 {
	t.Helper()
	record := append(le.AppendUint16(nil, uint16(len(name)-1)), name...)
	i := bytes.Index(b[f.super.dirs.start:], record)
	if i < 0 {
		t.Fatalf("%s is not there", name)
	}
	return f.super.dirs.start + int64(i) + 2 - entrySize
}

// TestRefused: images that have no tree, and what is said about them.
func TestRefused(t *testing.T) {
	good := image(t, "small-stored")
	f := mount(t, good)
	patched := func(at int64, what ...any) []byte {
		b := bytes.Clone(good)
		put(b, at, what...)
		return b
	}
	for _, c := range []struct {
		name string
		b    []byte
		want string
	}{
		{"lzo", image(t, "lzo"), "byte 20: lzo compression: not supported"},
		{"lzma", image(t, "lzma"), "byte 20: lzma compression: not supported"},
		{"compression 0", patched(20, uint16(0)), "byte 20: compression 0: unknown"},
		{"compression 7", patched(20, uint16(7)), "byte 20: compression 7: unknown"},
		{"empty", nil, "truncated: image has 0 bytes, a superblock 96"},
		{"part of a superblock", good[:95], "truncated: image has 95 bytes, a superblock 96"},
		{"superblock only", good[:96], fmt.Sprintf("truncated: superblock says %d bytes, image has 96", len(good))},
		{"magic", patched(0, "hsqS"), "byte 0: no squashfs superblock"},
		{"big-endian", patched(0, "sqsh"), "byte 0: big-endian, a version before 4.0: not supported"},
		{"version 3.1", patched(28, uint16(3), uint16(1)), "byte 28: version 3.1: not supported"},
		{"version 4.1", patched(28, uint16(4), uint16(1)), "byte 28: version 4.1: not supported"},
		{"block of 2 KiB", patched(12, uint32(2048), uint32(0), uint16(1), uint16(11)), "byte 12: blocks of 2048 bytes, 2 to the power of 11"},
		{"block of 2 MiB", patched(12, uint32(2<<20), uint32(0), uint16(1), uint16(21)), "byte 12: blocks of 2097152 bytes, 2 to the power of 21"},
		{"block and its logarithm", patched(12, uint32(8192)), "byte 12: blocks of 8192 bytes, 2 to the power of 12"},
		{"huge", patched(40, uint64(1<<63)), fmt.Sprintf("truncated: superblock says 9223372036854775808 bytes, image has %d", len(good))},
		{"inodes nowhere", patched(64, ^uint64(0)), "byte 64: inodes at byte 18446744073709551615"},
		{"inodes behind directories", patched(64, uint64(f.super.inodes.end)), "byte 64: inodes at"},
		{"directories nowhere", patched(72, ^uint64(0)), "byte 64: inodes at"},
		{"root nowhere", patched(32, ^uint64(0)), "root: byte "},
		{"root beyond its block", patched(32, uint64(0xffff)), fmt.Sprintf("root: byte %d: metadata block of", f.super.inodes.start)},
		{"root is a file", patched(32, uint64(at(t, f, "code")-f.super.inodes.start-metaHeader)), "root: not a directory"},
		{"inodes in an empty block", patched(f.super.inodes.start, uint16(metaStored)), fmt.Sprintf("root: byte %d: metadata block: empty", f.super.inodes.start)},
		{"inodes in a large block", patched(f.super.inodes.start, uint16(metaStored|8193)), fmt.Sprintf("root: byte %d: metadata block: 8193 bytes, 8192 are allowed", f.super.inodes.start)},
		{"inodes compressed", patched(f.super.inodes.start, uint16(100)), fmt.Sprintf("root: byte %d: metadata block: gzip: ", f.super.inodes.start)},
	} {
		_, err := Open(bytes.NewReader(c.b), int64(len(c.b)))
		if err == nil || !strings.HasPrefix(err.Error(), "squashfs: "+c.want) {
			t.Errorf("%s: %v, want %s", c.name, err, c.want)
		}
	}
}

// TestTruncated: an image that was cut is refused, wherever that was.
func TestTruncated(t *testing.T) {
	for name := range images {
		b := image(t, name)
		for n := len(b) - 1; n >= 0; n = (n - 1) &^ 4095 {
			_, err := Open(bytes.NewReader(b[:n]), int64(n))
			if err == nil || !strings.Contains(err.Error(), "truncated: ") {
				t.Fatalf("%s: %d of %d bytes: %v", name, n, len(b), err)
			}
			// The reader may have less than it is said to have.
			f, err := Open(bytes.NewReader(b[:n]), int64(len(b)))
			if err == nil && n < len(b)-2048 && len(f.Problems) == 0 {
				t.Fatalf("%s: %d of %d bytes: no problem", name, n, len(b))
			}
		}
	}
}

// TestSalvage: damage of an image with stored metadata, what is lost, and what
// is said.
func TestSalvage(t *testing.T) {
	good := image(t, "stored")
	whole := mount(t, good)
	inode := func(name string) int64 { return at(t, whole, name) }
	entry := func(name string) int64 { return entryAt(t, good, whole, name) }
	many := func(from, to int) []string {
		var names []string
		for i := from; i <= to; i++ {
			names = append(names, fmt.Sprintf("many/an-entry-of-a-directory-that-has-an-index-%03d", i))
		}
		return names
	}
	for _, c := range []struct {
		name     string
		patch    func(b []byte)
		lost     []string // paths that are not in the tree
		came     []string // paths that were not
		problems []string // all of them, by what they contain
		partial  bool
	}{
		{name: "nothing", patch: func([]byte) {}},
		{
			name:  "inode of unknown type",
			patch: func(b []byte) { put(b, inode("code"), uint16(15)) },
			lost:  []string{"code"}, partial: true,
			problems: []string{fmt.Sprintf(`"/code": byte %d: metadata block, up to offset `, whole.super.inodes.start)},
		}, {
			name:  "inode of another type",
			patch: func(b []byte) { put(b, inode("devices/pipe"), uint16(kindSocket)) },
			lost:  []string{"devices/pipe"}, partial: true,
			problems: []string{"type 6 in the directory, Srw-r--r-- in the inode"},
		}, {
			name:  "inode nowhere",
			patch: func(b []byte) { put(b, entry("noise"), uint16(8191)) },
			lost:  []string{"noise"}, partial: true,
			problems: []string{`"/noise": byte `},
		}, {
			name:  "type of a directory entry",
			patch: func(b []byte) { put(b, entry("dir")+4, uint16(9)) },
			lost:  []string{"dir", "dir/deep", "dir/deep/deeper", "dir/deep/deeper/file"}, partial: true,
			problems: []string{"type 9 in the directory, drwx------ in the inode"},
		}, {
			name:  "link to 2 GiB",
			patch: func(b []byte) { put(b, inode("link-up")+20, uint32(1<<31)) },
			lost:  []string{"link-up"}, partial: true,
			problems: []string{"a link to a target of 2147483648 bytes"},
		}, {
			name:  "file of 2^63 bytes",
			patch: func(b []byte) { put(b, inode("xattr")+24, uint64(1<<63)) },
			lost:  []string{"xattr"}, partial: true,
			problems: []string{"a file of 9223372036854775808 bytes from byte "},
		}, {
			name:     "owner that is not in the table",
			patch:    func(b []byte) { put(b, inode("suid")+4, uint16(999), uint16(998)) },
			problems: []string{"an inode has owner 999, of 12 in the table"},
		}, {
			name:     "no table of owners",
			patch:    func(b []byte) { put(b, 48, uint64(len(b)-4)) },
			problems: []string{"owners are not known: byte "},
		}, {
			name:  "names that no file can have",
			patch: func(b []byte) { put(b, entry("hard1")+8, "hard/"); put(b, entry("suid")+8, "su\x00d") },
			lost:  []string{"hard1", "suid"}, partial: true,
			problems: []string{`"/hard/": byte `, `"/su\x00d": byte `},
		}, {
			name:  "a name that stands there twice",
			patch: func(b []byte) { put(b, entry("hard2")+8, "hard1") },
			lost:  []string{"hard2"}, partial: true,
			problems: []string{`"/hard1": stands there twice`},
		}, {
			name:  "names out of order, not UTF-8",
			patch: func(b []byte) { put(b, entry("hard1")+8, "zard\xff") },
			lost:  []string{"hard1"},
			came:  []string{"zard\xff"},
		}, {
			name: "a directory in itself",
			patch: func(b []byte) {
				n, _ := whole.lookup("stat", "dir")
				// Entries of one run have their inodes in one block.
				put(b, entry("deeper"), uint16(n.ref))
			},
			lost:     []string{"dir/deep/deeper/file"},
			problems: []string{`"/dir/deep/deeper/": the directory was met before: not read again`},
		}, {
			name: "a directory in two places",
			patch: func(b []byte) {
				n, _ := whole.lookup("stat", "many")
				put(b, entry("sticky"), uint16(n.ref))
			},
			problems: []string{`"/sticky/": the directory was met before: not read again`},
		}, {
			name:     "a directory that is longer",
			patch:    func(b []byte) { put(b, inode("dir/deep/deeper")+24, uint16(27+5)) },
			partial:  true,
			problems: []string{"the records of a directory are longer than its 29 bytes"},
		}, {
			name:  "a directory that is cut",
			patch: func(b []byte) { put(b, inode("dir/deep")+24, uint16(20)) },
			lost:  []string{"dir/deep/deeper", "dir/deep/deeper/file"}, partial: true,
			problems: []string{"the records of a directory are longer than its 17 bytes"},
		}, {
			name: "the second block of directories",
			patch: func(b []byte) {
				put(b, whole.super.dirs.start+metaHeader+metaSize, uint16(metaStored|8193))
			},
			// The index goes on with the first run of the third block.
			lost: many(152, 308), partial: true,
			problems: []string{fmt.Sprintf(`"/many/": byte %d: metadata block: 8193 bytes, 8192 are allowed`, whole.super.dirs.start+metaHeader+metaSize)},
		}, {
			name: "the second block of directories, and the index",
			patch: func(b []byte) {
				put(b, whole.super.dirs.start+metaHeader+metaSize, uint16(metaStored|8193))
				n, _ := whole.lookup("stat", "many")
				put(b, n.tail+metaHeader+int64(n.tailOff), ^uint64(0), ^uint64(0))
			},
			lost: many(152, 500), partial: true,
			problems: []string{`"/many/": byte `},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := bytes.Clone(good)
			c.patch(b)
			f, err := Open(bytes.NewReader(b), int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			if f.Partial != c.partial || len(f.Problems) != len(c.problems) {
				t.Fatalf("partial %v, problems %q", f.Partial, f.Problems)
			}
			for i, p := range c.problems {
				if !strings.Contains(f.Problems[i], p) {
					t.Errorf("%q, want %q", f.Problems[i], p)
				}
			}
			if lost := without(whole, f); !slices.Equal(lost, c.lost) {
				t.Errorf("lost %q, want %q", lost, c.lost)
			}
			came := without(f, whole)
			if !slices.Equal(came, c.came) {
				t.Errorf("came %q, want %q", came, c.came)
			}
			for p := range f.All() {
				if _, err := f.Lstat(p); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// TestDamagedInodes: a block of inodes that cannot be read loses the entries
// that have a byte in it, and what is below them.
func TestDamagedInodes(t *testing.T) {
	b := image(t, "stored")
	whole := mount(t, b)
	const second = metaHeader + metaSize // from the start of the table
	put(b, whole.super.inodes.start+second, uint16(metaStored|8193))
	f, err := Open(bytes.NewReader(b), int64(len(b)))
	if err != nil {
		t.Fatal(err)
	}
	lost := without(whole, f)
	if len(lost) == 0 || !f.Partial || len(f.Problems) != min(len(lost), maxProblems) {
		t.Fatalf("lost %q, problems %q", lost, f.Problems)
	}
	for p := range whole.All() {
		n, err := whole.lookup("stat", p)
		if err != nil {
			t.Fatal(err)
		}
		start := int64(n.ref>>16)/second*metaSize + int64(n.ref&0xffff)
		in := start < 2*metaSize && start+inodeHeader+largestBody > metaSize
		if slices.Contains(lost, p) && !in || int64(n.ref>>16) == second && !slices.Contains(lost, p) {
			t.Errorf("%s: inode at %d, lost %v", p, start, !in)
		}
	}
}

// without lists the paths of a that b lacks.
func without(a, b *FS) []string {
	var names []string
	for p := range a.All() {
		if _, err := b.Lstat(p); err != nil {
			names = append(names, p)
		}
	}
	return names
}

// crafted is an image being made: inodes and directories, whose blocks are
// stored.
type crafted struct {
	inodes, dirs []byte
	root         uint64
}

// ref is the reference of what stands at a byte of a table.
func ref(at int) uint64 {
	return uint64(at/metaSize*(metaSize+metaHeader))<<16 | uint64(at%metaSize)
}

// dir adds the inode of a directory with a listing, and returns its reference.
func (c *crafted) dir(listing uint64, size int64) uint64 {
	r := ref(len(c.inodes))
	c.inodes = append(c.inodes, fields(
		uint16(kindDir+extendedKind), uint16(0o755), uint16(0), uint16(0), uint32(0), uint32(1),
		uint32(2), uint32(size+emptyDir), uint32(listing>>16), uint32(1), uint16(0), uint16(listing), uint32(0xffffffff))...)
	return r
}

// file adds the inode of a file.
func (c *crafted) file(start, size uint64, fragment uint32) uint64 {
	r := ref(len(c.inodes))
	c.inodes = append(c.inodes, fields(
		uint16(kindFile+extendedKind), uint16(0o644), uint16(0), uint16(0), uint32(0), uint32(2),
		start, size, uint64(0), uint32(1), fragment, uint32(0), uint32(0xffffffff))...)
	return r
}

// listing adds one, and returns its reference and size.
func (c *crafted) listing(kind uint16, names []string, refs ...uint64) (uint64, int64) {
	at := len(c.dirs)
	for i, n := range names {
		r := refs[i%len(refs)]
		// Each entry has a run of its own, so that any inode can be its.
		c.dirs = append(c.dirs, fields(uint32(0), uint32(r>>16), uint32(1), uint16(r), uint16(0), kind, uint16(len(n)-1), n)...)
	}
	return ref(at), int64(len(c.dirs) - at)
}

// blocks stores a table.
func blocks(b []byte) []byte {
	var out []byte
	for part := range slices.Chunk(b, metaSize) {
		out = le.AppendUint16(out, uint16(len(part)|metaStored))
		out = append(out, part...)
	}
	return out
}

func (c *crafted) image() []byte {
	b := make([]byte, superSize)
	inodes := len(b)
	b = append(b, blocks(c.inodes)...)
	dirs := len(b)
	b = append(b, blocks(c.dirs)...)
	ids := len(b)
	b = append(b, blocks(make([]byte, 4))...)
	table := len(b)
	b = le.AppendUint64(b, uint64(ids))
	none := ^uint64(0)
	put(b, 0, magic, uint32(1), uint32(0), uint32(maxBlockSize), uint32(0), uint16(1), uint16(maxBlockLog), uint16(0), uint16(1), uint16(4), uint16(0),
		c.root, uint64(len(b)), uint64(table), none, uint64(inodes), uint64(dirs), none, none)
	return b
}

func numbers(format string, n int) []string {
	names := make([]string, n)
	for i := range names {
		names[i] = fmt.Sprintf(format, i)
	}
	return names
}

// counter counts what is read of an image.
type counter struct {
	io.ReaderAt
	reads, bytes int
}

func (c *counter) ReadAt(p []byte, off int64) (int, error) {
	c.reads++
	c.bytes += len(p)
	return c.ReaderAt.ReadAt(p, off)
}

// TestBounds: small images that claim to be large.
func TestBounds(t *testing.T) {
	for _, c := range []struct {
		name    string
		make    func(c *crafted)
		entries int // of the tree, at the most
		problem string
	}{
		{"many directories with one large listing", func(c *crafted) {
			file := c.file(0, 0, noFragment)
			shared, size := c.listing(kindFile, numbers("%04d", 2500), file)
			var dirs []uint64
			for range 1000 {
				dirs = append(dirs, c.dir(shared, size))
			}
			c.root = c.dir(c.listing(kindDir, numbers("%04d", 1000), dirs...))
		}, maxEntries, "more than 1048576 entries: the rest is not read"},
		{"long paths", func(c *crafted) {
			deep := uint64(0)
			for range 100 {
				name := strings.Repeat("a", 250)
				if deep == 0 {
					deep = c.dir(0, 0)
				}
				deep = c.dir(c.listing(kindDir, []string{name}, deep))
			}
			c.root = deep
		}, 17, "a name that no file can have"},
		{"deep", func(c *crafted) {
			deep := c.dir(0, 0)
			for range 1000 {
				deep = c.dir(c.listing(kindDir, []string{"a"}, deep))
			}
			c.root = deep
		}, maxDepth + 2, "more than 256 directories deep: not read"},
		{"a directory in itself, many times", func(c *crafted) {
			self := ref(len(c.inodes))
			listing, size := c.listing(kindDir, numbers("%d", 1000), self)
			c.root = c.dir(listing, size)
		}, 1001, "the directory was met before: not read again"},
		{"a listing of 4 GiB", func(c *crafted) {
			listing, _ := c.listing(kindFile, numbers("%d", 3), c.file(0, 0, noFragment))
			c.root = c.dir(listing, 1<<32-1-emptyDir)
		}, 6, "byte "},
	} {
		t.Run(c.name, func(t *testing.T) {
			var cr crafted
			c.make(&cr)
			b := cr.image()
			r := &counter{ReaderAt: bytes.NewReader(b)}
			f, err := Open(r, int64(len(b)))
			if err != nil {
				t.Fatal(err)
			}
			if len(f.Problems) == 0 || len(f.Problems) > maxProblems || !strings.Contains(f.Problems[0], c.problem) {
				t.Errorf("problems %q, want %q", f.Problems, c.problem)
			}
			n := 0
			for range f.All() {
				n++
			}
			if n > c.entries || n < c.entries/2 {
				t.Errorf("%d entries, want up to %d", n, c.entries)
			}
			// A block is read once, its size and then the rest.
			if r.bytes > len(b)+metaSize || r.reads > 20+2*len(b)/metaSize {
				t.Errorf("%d bytes in %d reads of an image of %d", r.bytes, r.reads, len(b))
			}
		})
	}
}

// TestClaims: files whose inodes claim what is not there. They are in the tree,
// and reading them fails.
func TestClaims(t *testing.T) {
	for _, c := range []struct {
		name        string
		start, size uint64
		fragment    uint32
		list        []uint32
		read        int // bytes before the error
		want        string
	}{
		{"2^63 - 1 bytes", 0, 1<<63 - 1, noFragment, nil, 0, "a file of 8796093022208 blocks, 4194304 are allowed"},
		{"a list that is not there", 0, 1 << 41, noFragment, nil, 0, "block 0: byte "},
		{"a list that ends", 0, 1 << 41, noFragment, []uint32{0, 0, 0}, 3 << 20, "block 3: byte "},
		{"blocks beyond the image", 0, 3 << 20, noFragment, []uint32{0, 0, 1000}, 2 << 20, "a data block beyond the end of the image"},
		{"blocks from beyond the image", 1 << 40, 1, noFragment, []uint32{10}, 0, "byte 1099511627776: a data block beyond the end of the image"},
		{"a block of 16 MiB", 0, 1, noFragment, []uint32{0xffffff}, 0, "a data block of size 0xffffff"},
		{"a block of unknown kind", 0, 1, noFragment, []uint32{1 << 25}, 0, "a data block of size 0x2000000"},
		{"a stored block that is too long", 0, 1, noFragment, []uint32{dataStored | 2}, 0, "byte 0: data block: more than a block"},
		{"a stored block that is too short", 0, 3, noFragment, []uint32{dataStored | 2}, 0, "byte 0: a data block of 2 bytes, not 3"},
		{"a stored block of nothing", 0, 3, noFragment, []uint32{dataStored}, 0, "byte 0: a data block of 0 bytes, not 3"},
		{"a block of no compression", 0, 3, noFragment, []uint32{50}, 0, "byte 0: data block: gzip: "},
		{"no fragment", 0, 3, 0, nil, 0, "fragment 0: there are 0"},
	} {
		t.Run(c.name, func(t *testing.T) {
			var cr crafted
			// The file is the last of the table, so that its list has an end.
			const behindRoot = inodeHeader + 24
			cr.root = cr.dir(cr.listing(kindFile, []string{"file"}, ref(behindRoot)))
			cr.file(c.start, c.size, c.fragment)
			cr.inodes = append(cr.inodes, fields(c.list)...)
			b := cr.image()
			f := mount(t, b)
			info, err := f.Stat("file")
			if err != nil || info.Size() != int64(c.size) {
				t.Fatalf("%v, %v", info, err)
			}
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r, err := f.Open("file")
			if err != nil {
				t.Fatal(err)
			}
			defer r.Close()
			n, err := io.Copy(io.Discard, r)
			runtime.ReadMemStats(&after)
			if int(n) != c.read || err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%d bytes, %v; want %d, %s", n, err, c.read, c.want)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 4*maxBlockSize {
				t.Errorf("took %d bytes", got)
			}
			if _, err := f.ReadFile("file"); err == nil {
				t.Error("ReadFile: no error")
			}
		})
	}
}

// TestMetaLimit: where the metadata are used up, what needs more is an error.
func TestMetaLimit(t *testing.T) {
	f := mount(t, image(t, "gzip"))
	f.metaBytes = maxMeta
	clear(f.meta)
	for _, p := range []string{"blocks", "code"} {
		_, err := f.ReadFile(p)
		if !errors.Is(err, errMetaLimit) {
			t.Errorf("%s: %v", p, err)
		}
	}
}

// TestDamagedData: a file is lost from its first damaged block on, and any
// other file is not.
func TestDamagedData(t *testing.T) {
	good := image(t, "gzip")
	f := mount(t, good)
	want, err := f.ReadFile("blocks")
	if err != nil {
		t.Fatal(err)
	}
	n, _ := f.lookup("open", "blocks")
	second := f.open(n, "").blocks[1]
	b := bytes.Clone(good)
	b[second.at+int64(second.size)/2] ^= 0x55
	f = mount(t, b)
	got, err := f.ReadFile("blocks")
	if err == nil || !strings.Contains(err.Error(), fmt.Sprintf("byte %d: data block: gzip: ", second.at)) || !bytes.Equal(got, want[:128<<10]) {
		t.Errorf("%d bytes, %v", len(got), err)
	}
	r, _ := f.Open("blocks")
	part := make([]byte, 1000)
	if _, err := r.(io.ReaderAt).ReadAt(part, 256<<10); err != nil || !bytes.Equal(part, want[256<<10:][:1000]) {
		t.Errorf("behind the damage: %v", err)
	}
	for p, info := range f.All() {
		if _, err := f.ReadFile(p); info.Mode().IsRegular() && p != "blocks" && err != nil {
			t.Error(err)
		}
	}
}

// TestBombs: of a block that has more than a block's bytes only these are made.
func TestBombs(t *testing.T) {
	zeros := make([]byte, 64<<20)
	packed := map[string][]byte{}
	var z bytes.Buffer
	w := zlib.NewWriter(&z)
	if _, err := w.Write(zeros); err != nil || w.Close() != nil {
		t.Fatal(err)
	}
	packed["gzip"] = z.Bytes()
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderConcurrency(1), zstd.WithWindowSize(maxBlockSize))
	if err != nil {
		t.Fatal(err)
	}
	packed["zstd"] = enc.EncodeAll(zeros, nil)
	packed["lz4"] = make([]byte, lz4.CompressBlockBound(len(zeros)))
	n, err := lz4.CompressBlock(zeros, packed["lz4"], nil)
	if err != nil {
		t.Fatal(err)
	}
	packed["lz4"] = packed["lz4"][:n]
	if _, err := exec.LookPath("xz"); err == nil {
		c := exec.Command("xz", "--check=crc32", "--lzma2=preset=0,dict=1MiB", "-c")
		c.Stdin = bytes.NewReader(zeros)
		if packed["xz"], err = c.Output(); err != nil {
			t.Fatal(err)
		}
	}
	for name, b := range packed {
		u := decompressors[name]()
		for _, size := range []int{metaSize, maxBlockSize} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			n, err := u.unpack(make([]byte, size), b)
			runtime.ReadMemStats(&after)
			if err == nil {
				t.Errorf("%s: %d bytes", name, n)
			}
			if got := after.TotalAlloc - before.TotalAlloc; got > 4*maxBlockSize {
				t.Errorf("%s: took %d bytes", name, got)
			}
		}
	}
}

// damaged are the images that are damaged at random.
var damaged = []string{"small-gzip", "small-xz", "small-lz4", "small-zstd", "small-stored"}

// examine reads all of an image that may be damaged, and says what it found
// wrong with the FS, not with the image.
func examine(b []byte) (opened, whole bool, err error) {
	r := &counter{ReaderAt: bytes.NewReader(b)}
	f, err := Open(r, int64(len(b)))
	if err != nil {
		return false, false, nil
	}
	whole = len(f.Problems) == 0
	// Any byte may start a metadata block, and each of these is read once. The
	// rest are pointers to the owners.
	if most := len(b)*min(len(b), metaHeader+metaSize) + metaSize; r.bytes > most {
		return true, whole, fmt.Errorf("read %d bytes, %d are allowed", r.bytes, most)
	}
	if len(f.Problems) > maxProblems || f.Partial && whole {
		return true, whole, fmt.Errorf("partial %v, problems %q", f.Partial, f.Problems)
	}
	buf := make([]byte, 50_000)
	left := 1 << 22 // of contents: holes are cheap to claim
	for p, info := range f.All() {
		found, err := f.Lstat(p)
		if err != nil || found != info {
			return true, whole, fmt.Errorf("%q: %v, %v", p, found, err)
		}
		if info.Size() < 0 || !info.Mode().IsRegular() {
			if info.Size() < 0 {
				return true, whole, fmt.Errorf("%q: %d bytes", p, info.Size())
			}
			continue
		}
		file, err := f.Open(p)
		if err != nil {
			return true, whole, err
		}
		n, err := io.ReadFull(file, buf[:min(len(buf), left)])
		left -= n
		if err == io.ErrUnexpectedEOF || err == io.EOF { // ReadFull's: the file ended
			if int64(n) != info.Size() && left > 0 {
				return true, whole, fmt.Errorf("%q: %d of %d bytes, and no error", p, n, info.Size())
			}
		} else if err != nil {
			whole = false
			var pe *fs.PathError
			if !errors.As(err, &pe) || errors.Is(err, io.EOF) {
				return true, whole, fmt.Errorf("%q: %T: %v", p, err, err)
			}
		}
		if err := file.Close(); err != nil {
			return true, whole, err
		}
	}
	return true, whole, nil
}

// TestFlips damages a byte or a few at random: nothing panics, works for ever
// or says that it has what it has not.
func TestFlips(t *testing.T) {
	runs := 10_000
	if testing.Short() {
		runs = 1000
	}
	rnd := rand.New(rand.NewPCG(3, 4))
	opened, whole := 0, 0
	var good [][]byte
	for _, n := range damaged {
		good = append(good, image(t, n))
	}
	for i := range runs {
		b := bytes.Clone(good[i%len(good)])
		tables := int(le.Uint64(b[64:])) // half of the damage is behind it
		for range 1 + rnd.IntN(3) {
			at := rnd.IntN(len(b))
			if rnd.IntN(2) == 0 {
				at = tables + rnd.IntN(len(b)-tables)
			}
			b[at] ^= byte(1 + rnd.IntN(255))
		}
		o, w, err := examine(b)
		if err != nil {
			t.Errorf("%d: %v", i, err)
		}
		if o {
			opened++
		}
		if w {
			whole++
		}
	}
	t.Logf("%d images: %d opened, %d of them without a problem", runs, opened, whole)
	if opened < runs/10 || opened > runs-runs/10 || whole == 0 || whole > opened*3/4 {
		t.Errorf("%d images: %d opened, %d of them without a problem: the damage is not what was meant", runs, opened, whole)
	}
}

// FuzzSquashfs: any bytes.
func FuzzSquashfs(f *testing.F) {
	for _, n := range damaged {
		f.Add(image(f, n))
	}
	f.Add(image(f, "huge"))
	f.Add(image(f, "lzo"))
	var c crafted
	c.root = c.dir(c.listing(kindFile, []string{"a", "b"}, c.file(0, 1<<21, noFragment), c.file(0, 100, 0)))
	f.Add(c.image())
	f.Fuzz(func(t *testing.T, b []byte) {
		if _, _, err := examine(b); err != nil {
			t.Error(err)
		}
	})
}

// FuzzUnpack: any bytes as a block of any compression. What is made of them
// stays within the memory that is there for it.
func FuzzUnpack(f *testing.F) {
	for _, name := range damaged[:4] {
		fsys := mount(f, image(f, name))
		n, err := fsys.lookup("open", "blocks")
		if err != nil {
			f.Fatal(err)
		}
		for _, bl := range fsys.open(n, "").blocks {
			b := make([]byte, bl.size&sizeMask)
			if err := fsys.read(b, bl.at); err != nil {
				f.Fatal(err)
			}
			f.Add(fsys.Compression, b, 4096)
			f.Add(fsys.Compression, b, 1000)
		}
	}
	unpackers := map[string]unpacker{}
	for name, how := range decompressors {
		unpackers[name] = how()
	}
	f.Fuzz(func(t *testing.T, name string, b []byte, size int) {
		u := unpackers[name]
		if u == nil {
			return
		}
		size = 1 + size&0x1fff
		buf := bytes.Repeat([]byte{0xa5}, size+256)
		n, err := u.unpack(buf[:size], b)
		if n < 0 || n > size || err != nil && n != 0 {
			t.Errorf("%d bytes, %d were there: %v", n, size, err)
		}
		if !bytes.Equal(buf[size:], bytes.Repeat([]byte{0xa5}, 256)) {
			t.Error("wrote beyond the block")
		}
	})
}
