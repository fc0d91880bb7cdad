package unitfile

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"golang.org/x/tools/txtar"
)

// check holds what Parse says of any bytes to its promises.
func check(t *testing.T, data []byte) {
	t.Helper()
	f := Parse(data)
	after := int64(0)
	for _, o := range f.Options {
		if !inside(data, o.Line, o.Start, o.End) || o.Start < after || o.SectionLine < 1 || o.SectionLine > o.Line {
			t.Fatalf("%q: option %+v after byte %d", data, o, after)
		}
		after = o.End
		if o.Value != strings.Trim(o.Value, blanks) || o.Name != strings.Trim(o.Name, blanks) {
			t.Fatalf("%q: option %+v is not trimmed", data, o)
		}
		checkAlone(t, data, o)
	}
	for i, p := range f.Problems {
		if !inside(data, p.Line, p.Start, p.End) || p.Text == "" {
			t.Fatalf("%q: problem %+v", data, p)
		}
		if p.Fatal && (i != len(f.Problems)-1 || after > p.Start) {
			t.Fatalf("%q: more is read after %+v", data, p)
		}
	}
	if _, ok := sameAsGoSystemd(data); !ok {
		t.Fatalf("%q: go-systemd says otherwise", data)
	}
}

// checkAlone holds that an option's bytes alone say the same option. Only
// where a byte order mark is skipped depends on the lines before.
func checkAlone(t *testing.T, data []byte, o Option) {
	t.Helper()
	text := data[o.Start:o.End]
	if bytes.Contains(text, []byte(bom)) {
		return
	}
	f := Parse(append([]byte("[x]\n"), text...))
	if len(f.Options) != 1 || len(f.Problems) != 0 || f.Options[0].Name != o.Name || f.Options[0].Value != o.Value {
		t.Fatalf("%q: %+v is alone %+v, problems %v", data, o, f.Options, f.Problems)
	}
}

func inside(data []byte, line int, start, end int64) bool {
	return start >= 0 && start < end && end <= int64(len(data)) &&
		line == 1+bytes.Count(data[:start], []byte("\n"))
}

func TestTruncated(t *testing.T) {
	for _, c := range parseCases {
		for i := range c.in {
			check(t, []byte(c.in[:i]))
		}
	}
}

func TestFlipped(t *testing.T) {
	n := 10000
	if testing.Short() {
		n = 1000
	}
	var files [][]byte
	all := wholeFiles(t)
	for _, name := range sortedNames(all) {
		if data := all[name]; len(data) > 0 && len(data) < 4096 {
			files = append(files, data)
		}
	}
	rng := rand.New(rand.NewPCG(3, 4))
	for range n {
		data := bytes.Clone(files[rng.IntN(len(files))])
		for range 1 + rng.IntN(4) {
			data[rng.IntN(len(data))] ^= byte(1 + rng.IntN(255))
		}
		check(t, data)
	}
}

func sortedNames(m map[string][]byte) []string {
	var names []string
	for name := range m {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// No value makes the functions on values panic, or return more than it holds.
func checkValue(t *testing.T, value string) {
	t.Helper()
	words, _ := Words(value)
	if n := len(strings.Join(words, "")); n > len(value) {
		t.Fatalf("%q: %d bytes in words", value, n)
	}
	commands, err := Commands(value)
	for _, c := range commands {
		if len(c.Argv) == 0 || c.Path == "" {
			t.Fatalf("%q: command %+v, %v", value, c, err)
		}
	}
	if usec, err := TimeSpan(value); err != nil && usec != 0 {
		t.Fatalf("%q: %d, %v", value, usec, err)
	}
	if !strings.Contains(value, "%") && Specifiers(value, "a@b.service") != value {
		t.Fatalf("%q: changed without a specifier", value)
	}
}

// An endless directory is left at the limit; so is a file of zeros without
// end that calls itself small.
type endless struct{ fs.FS }

func (e endless) Open(name string) (fs.File, error) {
	f, err := e.FS.Open(name)
	if err != nil || !strings.HasSuffix(name, "endless") && !strings.HasSuffix(name, ".d") && !strings.HasSuffix(name, "zeros.service") {
		return f, err
	}
	return &endlessFile{File: f}, nil
}

func (e endless) ReadLink(name string) (string, error)   { return fs.ReadLink(e.FS, name) }
func (e endless) Lstat(name string) (fs.FileInfo, error) { return fs.Lstat(e.FS, name) }

type endlessFile struct {
	fs.File
	n int
}

func (f *endlessFile) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

func (f *endlessFile) ReadDir(n int) ([]fs.DirEntry, error) {
	if n <= 0 {
		return nil, errors.New("asked for all entries")
	}
	var all []fs.DirEntry
	for range n {
		f.n++
		all = append(all, fs.FileInfoToDirEntry(named(fmt.Sprintf("%d.conf", f.n))))
	}
	return all, nil
}

type named string

func (n named) Name() string     { return string(n) }
func (named) Size() int64        { return 1 }
func (named) Mode() fs.FileMode  { return 0o644 }
func (named) ModTime() time.Time { return time.Time{} }
func (named) IsDir() bool        { return false }
func (named) Sys() any           { return nil }

func TestEndless(t *testing.T) {
	fsys := endless{fstest.MapFS{
		"endless":            {Mode: fs.ModeDir},
		"etc/a.service":      {Data: []byte("[Unit]\nA=b\n")},
		"etc/a.service.d":    {Mode: fs.ModeDir},
		"zero/zeros.service": {Data: []byte("x")},
	}}
	if _, err := Load(fsys, []string{"endless"}, "a.service"); err == nil || !strings.Contains(err.Error(), "more than") {
		t.Errorf("endless search path: %v", err)
	}
	u, err := Load(fsys, []string{"etc"}, "a.service")
	if err != nil || len(u.Options) != 1 || len(u.Problems) != 1 || !strings.Contains(u.Problems[0].Text, "more than") {
		t.Errorf("endless drop-ins: %+v, %v", u, err)
	}
	u, err = Load(fsys, []string{"zero"}, "zeros.service")
	if err != nil || len(u.Sources) != 0 || len(u.Problems) != 1 || !strings.Contains(u.Problems[0].Text, "more than") {
		t.Errorf("endless file: %+v, %v", u, err)
	}
}

// maze is a directory of links, each of which leads back and forth before it
// gets anywhere.
type maze struct{ lookups int }

func (m *maze) Open(name string) (fs.File, error) { return &mazeDir{}, nil }

func (m *maze) ReadLink(name string) (string, error) {
	return strings.Repeat("d/../", 800) + "e/x.service", nil
}

func (m *maze) Lstat(name string) (fs.FileInfo, error) {
	m.lookups++
	switch name {
	case ".", "d":
		return mazeInfo{named(name), fs.ModeDir}, nil
	}
	return mazeInfo{named(name), fs.ModeSymlink}, nil
}

type mazeInfo struct {
	named
	mode fs.FileMode
}

func (i mazeInfo) Mode() fs.FileMode { return i.mode }
func (i mazeInfo) IsDir() bool       { return i.mode.IsDir() }

type mazeDir struct{ done bool }

func (*mazeDir) Stat() (fs.FileInfo, error) { return nil, fs.ErrInvalid }
func (*mazeDir) Read(p []byte) (int, error) { return 0, fs.ErrInvalid }
func (*mazeDir) Close() error               { return nil }

func (d *mazeDir) ReadDir(n int) ([]fs.DirEntry, error) {
	if d.done {
		return nil, io.EOF
	}
	d.done = true
	var all []fs.DirEntry
	for i := range maxEntries {
		all = append(all, fs.FileInfoToDirEntry(mazeInfo{named(fmt.Sprintf("u%d.service", i)), fs.ModeSymlink}))
	}
	return all, nil
}

func TestMaze(t *testing.T) {
	m := &maze{}
	if _, err := Open(m, []string{"."}, nil); !errors.Is(err, errSteps) {
		t.Errorf("error %v", err)
	}
	if m.lookups > 2*maxSteps {
		t.Errorf("%d lookups", m.lookups)
	}
	w := (&Tree{fsys: m}).walker()
	w.steps = 10
	if _, _, err := w.chase("u1.service"); !errors.Is(err, errSteps) {
		t.Errorf("one walk: error %v", err)
	}
}

func TestLargeDirectory(t *testing.T) {
	fsys := fstest.MapFS{}
	for i := range 100_000 {
		fsys[fmt.Sprintf("etc/u%d.service", i)] = &fstest.MapFile{}
	}
	if _, err := Load(fsys, []string{"etc"}, "u1.service"); err == nil {
		t.Error("no error for 100000 entries")
	}
}

func TestManyDropIns(t *testing.T) {
	fsys := fstest.MapFS{"etc/a.service": {Data: []byte("[Unit]\nA=b\n")}}
	for i := range maxDropIns + 10 {
		fsys[fmt.Sprintf("etc/a.service.d/%05d.conf", i)] = &fstest.MapFile{Data: []byte("[Unit]\nA=c\n")}
	}
	u, err := Load(fsys, []string{"etc"}, "a.service")
	if err != nil || len(u.Sources) != 1+maxDropIns || len(u.Problems) != 1 {
		t.Errorf("%d sources, problems %v, %v", len(u.Sources), u.Problems, err)
	}
	large := bytes.Repeat([]byte("# comment\n"), maxFile/10)
	for i := range 6 {
		fsys[fmt.Sprintf("etc/b.service.d/%d.conf", i)] = &fstest.MapFile{Data: large}
	}
	u, err = Load(fsys, []string{"etc"}, "b.service")
	if err != nil || len(u.Sources) != maxUnit/len(large) || len(u.Problems) == 0 {
		t.Errorf("%d sources, problems %v, %v", len(u.Sources), u.Problems, err)
	}
}

func TestManyNamesAndOptions(t *testing.T) {
	fsys := fstest.MapFS{"etc/a.service": {Data: []byte("[Unit]\nA=b\n")}}
	for i := range maxNames {
		fsys[fmt.Sprintf("etc/a%d.service", i)] = &fstest.MapFile{Mode: fs.ModeSymlink, Data: []byte("a.service")}
	}
	u, err := Load(fsys, []string{"etc"}, "a.service")
	if err != nil || len(u.Names) != maxNames || len(u.Problems) != 1 {
		t.Errorf("%d names, problems %v, %v", len(u.Names), u.Problems, err)
	}
	many := []byte("[Unit]\n" + strings.Repeat("a=\n", maxOptions))
	fsys = fstest.MapFS{"etc/a.service": {Data: many}, "etc/a.service.d/b.conf": {Data: many[:len(many)/2]}}
	u, err = Load(fsys, []string{"etc"}, "a.service")
	if err != nil || len(u.Options) != maxOptions || len(u.Problems) != 1 {
		t.Errorf("%d options, problems %v, %v", len(u.Options), u.Problems, err)
	}
	bad := []byte("[Unit]\n" + strings.Repeat("x\n", maxProblems))
	fsys = fstest.MapFS{"etc/a.service": {Data: bad}, "etc/a.service.d/b.conf": {Data: bad}}
	u, err = Load(fsys, []string{"etc"}, "a.service")
	if err != nil || len(u.Problems) != maxProblems {
		t.Errorf("%d problems, %v", len(u.Problems), err)
	}
}

// Links go in circles, too deep, and nowhere: none is read.
func TestHostileLinks(t *testing.T) {
	link := func(target string) *fstest.MapFile {
		return &fstest.MapFile{Mode: fs.ModeSymlink, Data: []byte(target)}
	}
	fsys := fstest.MapFS{
		"self":                         link("self"),
		"a":                            link("b/x"),
		"b":                            link("a/y"),
		"grow":                         link("grow/grow/grow"),
		"long":                         link(strings.Repeat("etc/../", 1000)),
		"etc/u.service":                {Data: []byte("[Unit]\nA=b\n")},
		"etc/u.service.d/1.conf":       link("../../self"),
		"etc/u.service.d/2.conf":       link("/a"),
		"etc/u.service.d/3.conf":       link("../../grow"),
		"etc/u.service.d/4.conf":       link(""),
		"etc/u.service.d/5.conf":       link("/"),
		"etc/u.service.d/6.conf":       link("../../../../../../../etc/u.service"),
		"etc/u.service.d/7.conf":       link("/long/etc/u.service"),
		"etc/u.service.d/8.conf":       link("../u.service/x"),
		"etc/u.service.d/9.conf":       link("//etc//.//u.service"),
		"null":                         link("/dev/null"),
		"etc/y.service":                link("/null/y.service"),
		"etc/v.service":                link("/self"),
		"etc/w.service":                link("/deep0"),
		"etc/x.service.d":              link("/grow"),
		"etc/loop.target.wants":        link("loop.target.wants"),
		"etc/t.target.wants/u.service": link("\x00"),
	}
	for i := range maxLinks + 1 {
		fsys[fmt.Sprintf("deep%d", i)] = link(fmt.Sprintf("deep%d", i+1))
	}
	for _, dir := range []string{"self", "a", "grow", "long/x/y"} {
		if _, err := Load(fsys, []string{dir}, "u.service"); err == nil {
			t.Errorf("search path %s: no error", dir)
		}
	}
	u, err := Load(fsys, []string{"etc"}, "u.service")
	if err != nil {
		t.Fatal(err)
	}
	// 6 and 9 lead to the file itself; ".." stops at the root.
	if len(u.Sources) != 3 || len(u.Problems) != 7 || !slices.Equal(u.WantedBy, []string{"t.target"}) {
		t.Errorf("sources %v, problems %v, wanted by %v", u.Sources, u.Problems, u.WantedBy)
	}
	for _, name := range []string{"v.service", "w.service", "y.service"} {
		u, err := Load(fsys, []string{"etc"}, name)
		if err != nil || len(u.Sources) != 0 || len(u.Problems) != 1 {
			t.Errorf("%s: %+v, %v", name, u, err)
		}
	}
	if u, err := Load(fsys, []string{"etc"}, "x.service"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("x.service: %+v, %v", u, err)
	}
}

// Links of a real directory do not lead out of it, though the system would
// follow them.
func TestNoEscape(t *testing.T) {
	dir := t.TempDir()
	root := filepath.Join(dir, "root")
	dropIn(t, filepath.Join(dir, "secret.service"), "[Unit]\nDescription=secret\n")
	dropIn(t, filepath.Join(dir, "secret.d", "secret.conf"), "[Unit]\nDescription=secret\n")
	dropIn(t, filepath.Join(root, "etc", "own.service"), "[Unit]\nDescription=own\n")
	for name, target := range map[string]string{
		"etc/a.service":     "../../secret.service",
		"etc/b.service":     filepath.Join(dir, "secret.service"),
		"etc/own.service.d": "../../secret.d",
		"etc/c.service.d":   filepath.Join(dir, "secret.d"),
		"out":               "..",
		"outside":           dir,
	} {
		if err := os.Symlink(target, filepath.Join(root, name)); err != nil {
			t.Skip(err)
		}
	}
	for _, c := range []struct{ dir, name string }{
		{"etc", "a.service"}, {"etc", "b.service"}, {"etc", "own.service"}, {"etc", "c.service"},
		{"out", "secret.service"}, {"outside", "secret.service"}, {"..", "secret.service"}, {"etc/../..", "secret.service"},
	} {
		u, err := Load(os.DirFS(root), []string{c.dir}, c.name)
		if err != nil {
			continue
		}
		for _, s := range u.Sources {
			if bytes.Contains(s.Data, []byte("secret")) {
				t.Errorf("%s of %s reads %s from outside", c.name, c.dir, s.Path)
			}
		}
	}
}

func FuzzParse(f *testing.F) {
	for _, data := range wholeFiles(f) {
		f.Add(data)
	}
	for _, c := range lexCases {
		if len(c) < 1000 {
			f.Add([]byte(c))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<16 {
			return
		}
		check(t, data)
	})
}

func FuzzValue(f *testing.F) {
	for _, c := range wordCases {
		f.Add(c.in)
	}
	for _, c := range commandCases {
		f.Add(c.in)
	}
	for _, c := range spanCases {
		f.Add(c.in)
	}
	f.Add(`%n%N%p%P%i%I%j%J%%%H%`)
	f.Fuzz(checkValue)
}

func FuzzLoad(f *testing.F) {
	for _, tr := range trees(f) {
		f.Add(txtar.Format(tr.archive))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		if len(data) > 1<<15 {
			return
		}
		tr := newTree("", txtar.Parse(data))
		for name := range tr.fsys {
			// A root that is a link is no file system; MapFS follows it for ever.
			if !fs.ValidPath(name) || name == "." {
				delete(tr.fsys, name)
			}
		}
		for _, dirs := range [][]string{SystemDirs, NetworkDirs} {
			checkTree(t, tr.fsys, dirs)
		}
	})
}

// checkTree loads all that a tree has, and holds it to what Unit promises.
func checkTree(t *testing.T, fsys fs.FS, dirs []string) {
	tree, err := Open(fsys, dirs, nil)
	if err != nil {
		return
	}
	for _, name := range tree.Names() {
		u, err := tree.Load(name)
		if err != nil {
			continue
		}
		if !slices.Contains(u.Names, name) || u.Masked && len(u.Sources)+len(u.Options) > 0 {
			t.Fatalf("%s: %+v", name, u)
		}
		var b bytes.Buffer
		if err := u.Print(&b); err != nil {
			t.Fatal(err)
		}
		for _, s := range u.Sources {
			if !fs.ValidPath(s.Path) || !bytes.Contains(b.Bytes(), []byte("# /"+s.Path+"\n")) {
				t.Fatalf("%s: source %q", name, s.Path)
			}
		}
		for _, o := range u.Options {
			if all := u.All(o.Section, o.Name); len(all) > len(u.Options) {
				t.Fatalf("%s: %d of %d options", name, len(all), len(u.Options))
			}
			if !slices.ContainsFunc(u.Sources, func(s Source) bool { return s.Path == o.Path && o.End <= int64(len(s.Data)) }) {
				t.Fatalf("%s: option %+v is of no source", name, o)
			}
		}
		_, _ = u.Environment("Service")
	}
}
