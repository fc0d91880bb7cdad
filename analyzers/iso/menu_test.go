package iso

import (
	"fmt"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// archive opens the files of a case.
func archive(ar *txtar.Archive) files {
	return func(name string) *config {
		for _, f := range ar.Files {
			if path.Clean("/"+f.Name) == path.Clean("/"+name) {
				return newConfig("x", path.Clean("/"+name), f.Data)
			}
		}
		return nil
	}
}

func parse(ar *txtar.Archive) *menu {
	fs := archive(ar)
	switch main := fs(ar.Files[0].Name); ar.Files[0].Name {
	case "isolinux.cfg":
		return parseIsolinux(main, fs)
	case "grub.cfg":
		return parseGrub(main, fs)
	default:
		var names []string
		for _, f := range ar.Files[1:] {
			names = append(names, f.Name)
		}
		return parseLoader(main, names, fs)
	}
}

// render is a menu in the form of a case's expectation.
func render(m *menu) []string {
	var names []string
	for _, e := range m.entries {
		names = append(names, e.name)
	}
	out := []string{"entries " + strings.Join(names, "|")}
	e := m.chosen
	switch {
	case e == nil:
		return append(out, "default none")
	case e.open:
		return append(out, "default "+e.name, "open")
	}
	out = append(out, "default "+e.name, strings.TrimSpace("args "+join(e.args, m.extra)), "kernel "+e.kernel)
	if len(e.initrds) > 0 {
		out = append(out, "initrds "+strings.Join(e.initrds, ","))
	}
	if e.argsAt.file != nil {
		ev := e.argsAt.evidence()
		out = append(out, fmt.Sprintf("at %s:%d", strings.TrimPrefix(ev.Path, "x!/"), ev.Line))
	}
	return out
}

// TestMenus: testdata/menus/*.txtar, the expectation in the comment; "at" may
// be left out.
func TestMenus(t *testing.T) {
	names, _ := filepath.Glob("testdata/menus/*.txtar")
	if len(names) < 20 {
		t.Fatal(names)
	}
	for _, n := range names {
		ar, err := txtar.ParseFile(n)
		if err != nil {
			t.Fatal(err)
		}
		var want []string
		at := false
		for _, l := range strings.Split(strings.TrimSpace(string(ar.Comment)), "\n") {
			if !strings.HasPrefix(l, "#") {
				want = append(want, l)
				at = at || strings.HasPrefix(l, "at ")
			}
		}
		got := render(parse(ar))
		if last := len(got) - 1; !at && strings.HasPrefix(got[last], "at ") {
			got = got[:last]
		}
		if d := cmp.Diff(want, got); d != "" {
			t.Errorf("%s: -want +got\n%s", n, d)
		}
	}
}

// fuzzMenu holds every parser to this: what is chosen is one of the entries,
// its arguments are bounded, and places lie within their files.
func fuzzMenu(f *testing.F, name string) {
	names, _ := filepath.Glob("testdata/menus/*.txtar")
	for _, n := range names {
		ar, err := txtar.ParseFile(n)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range ar.Files {
			f.Add(string(file.Data))
		}
	}
	f.Fuzz(func(t *testing.T, data string) {
		ar := &txtar.Archive{Files: []txtar.File{{Name: name, Data: []byte(data)}, {Name: "entries/a.conf", Data: []byte(data)}}}
		m := parse(ar)
		found := m.chosen == nil
		for _, e := range m.entries {
			found = found || e == m.chosen
			for _, p := range []place{e.at, e.kernAt, e.argsAt} {
				if p.file != nil && (p.start < 0 || p.start > p.end || p.end > len(p.file.data)) {
					t.Errorf("%s: %d to %d of %d", e.name, p.start, p.end, len(p.file.data))
				}
			}
		}
		if !found || len(m.entries) > maxOffered {
			t.Errorf("%d entries, chosen %v", len(m.entries), m.chosen)
		}
	})
}

func FuzzIsolinux(f *testing.F) { fuzzMenu(f, "isolinux.cfg") }
func FuzzGrub(f *testing.F)     { fuzzMenu(f, "grub.cfg") }
func FuzzLoader(f *testing.F)   { fuzzMenu(f, "loader.conf") }
