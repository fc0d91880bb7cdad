package unitfile

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// A tree of testdata/trees is a txtar archive: files of the search path by
// their names in the file system, "links" (name -> target, a line each), and
// expectations: "want/NAME" what Load says of a unit, "cat/NAME" what
// systemctl cat prints of it. TestSystemctlCat holds systemctl to the latter.
type tree struct {
	name        string
	archive     *txtar.Archive
	fsys        fstest.MapFS
	links       map[string]string
	wants, cats map[string]string
}

func trees(t testing.TB) []*tree {
	names, err := filepath.Glob("testdata/trees/*.txtar")
	if err != nil || len(names) == 0 {
		t.Fatalf("no trees: %v", err)
	}
	var all []*tree
	for _, name := range names {
		a, err := txtar.ParseFile(name)
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, newTree(strings.TrimSuffix(filepath.Base(name), ".txtar"), a))
	}
	return all
}

func newTree(name string, a *txtar.Archive) *tree {
	tr := &tree{name: name, archive: a, fsys: fstest.MapFS{}, links: map[string]string{}, wants: map[string]string{}, cats: map[string]string{}}
	for _, f := range a.Files {
		kind, unit, _ := strings.Cut(f.Name, "/")
		switch kind {
		case "want":
			tr.wants[unit] = string(f.Data)
		case "cat":
			tr.cats[unit] = string(f.Data)
		case "links":
			for line := range strings.Lines(string(f.Data)) {
				from, to, _ := strings.Cut(strings.TrimSpace(line), " -> ")
				tr.links[from] = to
				tr.fsys[from] = &fstest.MapFile{Mode: fs.ModeSymlink, Data: []byte(to)}
			}
		default:
			tr.fsys[f.Name] = &fstest.MapFile{Data: f.Data}
		}
	}
	return tr
}

// dirs is the search path that a unit of the trees is in.
func dirs(name string) []string {
	if isConfig(name) {
		return NetworkDirs
	}
	return SystemDirs
}

func TestTrees(t *testing.T) {
	for _, tr := range trees(t) {
		t.Run(tr.name, func(t *testing.T) {
			if len(tr.wants) == 0 {
				t.Error("nothing is expected")
			}
			for name, want := range tr.wants {
				if diff := cmp.Diff(want, describe(Load(tr.fsys, dirs(name), name))); diff != "" {
					t.Errorf("%s (-want +got)\n%s", name, diff)
				}
			}
			for name, want := range tr.cats {
				u, err := Load(tr.fsys, dirs(name), name)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				if diff := cmp.Diff(want, printed(t, u)); diff != "" {
					t.Errorf("%s printed (-want +got)\n%s", name, diff)
				}
			}
		})
	}
}

func printed(t testing.TB, u *Unit) string {
	var b strings.Builder
	if err := u.Print(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// describe puts into words all that a unit says, resets applied.
func describe(u *Unit, err error) string {
	if errors.Is(err, fs.ErrNotExist) {
		return "no such unit\n"
	}
	if err != nil {
		return "error: " + err.Error() + "\n"
	}
	var b strings.Builder
	fmt.Fprintf(&b, "names: %s\n", strings.Join(u.Names, " "))
	if u.Path != "" {
		fmt.Fprintf(&b, "path: %s\n", u.Path)
	}
	if u.Masked {
		b.WriteString("masked\n")
	}
	for _, s := range u.Sources {
		if s.Path != u.Path {
			fmt.Fprintf(&b, "drop-in: %s\n", s.Path)
		}
	}
	for i, list := range [][]string{u.WantedBy, u.RequiredBy, u.UpheldBy} {
		if len(list) > 0 {
			fmt.Fprintf(&b, "%s by: %s\n", []string{"wanted", "required", "upheld"}[i], strings.Join(list, " "))
		}
	}
	describeOptions(&b, u)
	for _, p := range u.Problems {
		fmt.Fprintf(&b, "problem: %v\n", p)
	}
	return b.String()
}

// describeOptions writes the options that count in the order of their first
// assignments, then the environment.
func describeOptions(b *strings.Builder, u *Unit) {
	seen := map[string]bool{}
	for _, o := range u.Options {
		key := o.Section + "." + o.Name
		if seen[key] {
			continue
		}
		seen[key] = true
		all := u.All(o.Section, o.Name)
		if last, ok := u.Last(o.Section, o.Name); ok != (len(all) > 0) || ok && last != all[len(all)-1] {
			fmt.Fprintf(b, "%s: Last and All disagree\n", key)
		}
		if len(all) == 0 {
			fmt.Fprintf(b, "%s reset\n", key)
		}
		for _, o := range all {
			fmt.Fprintf(b, "%s=%s\n", key, o.Value)
		}
	}
	vars, err := u.Environment("Service")
	for _, v := range vars {
		fmt.Fprintf(b, "variable: %s\n", v)
	}
	if err != nil {
		fmt.Fprintf(b, "environment: %v\n", err)
	}
}

// A search path may be the root, and be written from it.
func TestDirsAsWritten(t *testing.T) {
	fsys := fstest.MapFS{
		"a.service":           {Data: []byte("[Unit]\nA=1\n")},
		"a.service.d/x.conf":  {Data: []byte("[Unit]\nB=2\n")},
		"b.service":           {Mode: fs.ModeSymlink, Data: []byte("a.service")},
		"sub/etc/c.service":   {Data: []byte("[Unit]\nC=3\n")},
		"sub/etc/d.service.d": {Data: []byte("a file\n")},
		"dev.service":         {Mode: fs.ModeCharDevice | fs.ModeDevice},
	}
	for _, c := range []struct{ dir, name, want string }{
		{".", "b.service", "names: a.service b.service\npath: a.service\ndrop-in: a.service.d/x.conf\nUnit.A=1\nUnit.B=2\n"},
		{".", "dev.service", "names: dev.service\npath: dev.service\nmasked\n"},
		{"/", "a.service", "names: a.service b.service\npath: a.service\ndrop-in: a.service.d/x.conf\nUnit.A=1\nUnit.B=2\n"},
		{"/sub/../sub/etc/", "c.service", "names: c.service\npath: sub/etc/c.service\nUnit.C=3\n"},
		{"sub/etc", "d.service", "no such unit\n"},
		{"sub", "c.service", "no such unit\n"},
		{"none", "c.service", "no such unit\n"},
		{"../..", "../a.service", "error: \"../a.service\": no name of a unit, network, link or netdev\n"},
		{".", "a", "error: \"a\": no name of a unit, network, link or netdev\n"},
		{".", "", "error: \"\": no name of a unit, network, link or netdev\n"},
		{"a.service", "a.service", "no such unit\n"},
	} {
		if diff := cmp.Diff(c.want, describe(Load(fsys, []string{c.dir}, c.name))); diff != "" {
			t.Errorf("%s in %s (-want +got)\n%s", c.name, c.dir, diff)
		}
	}
}

// A squashfs of a Nix store has the store's paths at its root; links in it
// are written from /nix/store.
func TestResolve(t *testing.T) {
	fsys := fstest.MapFS{
		"aaaa-system/etc/systemd/system":                  {Mode: fs.ModeSymlink, Data: []byte("/nix/store/bbbb-units")},
		"bbbb-units/sshd.service":                         {Mode: fs.ModeSymlink, Data: []byte("/nix/store/cccc-sshd/sshd.service")},
		"bbbb-units/ssh.service":                          {Mode: fs.ModeSymlink, Data: []byte("sshd.service")},
		"bbbb-units/multi-user.target.wants/sshd.service": {Mode: fs.ModeSymlink, Data: []byte("../sshd.service")},
		"bbbb-units/sshd.service.d":                       {Mode: fs.ModeSymlink, Data: []byte("/nix/store/dddd-overrides")},
		"dddd-overrides/o.conf":                           {Data: []byte("[Service]\nNice=1\n")},
		"cccc-sshd/sshd.service":                          {Data: []byte("[Service]\nExecStart=/x\n")},
	}
	store := func(target string) (string, bool) { return strings.CutPrefix(target, "/nix/store/") }
	tree, err := Open(fsys, []string{"aaaa-system/etc/systemd/system"}, store)
	if err != nil {
		t.Fatal(err)
	}
	const dir = "aaaa-system/etc/systemd/system/"
	want := "names: sshd.service ssh.service\npath: " + dir + "sshd.service\ndrop-in: dddd-overrides/o.conf\n" +
		"wanted by: multi-user.target\nService.ExecStart=/x\nService.Nice=1\n"
	if diff := cmp.Diff(want, describe(tree.Load("ssh.service"))); diff != "" {
		t.Errorf("(-want +got)\n%s", diff)
	}
	if diff := cmp.Diff([]string{"ssh.service", "sshd.service"}, tree.Names()); diff != "" {
		t.Errorf("names (-want +got)\n%s", diff)
	}
	tree, err = Open(fsys, []string{"aaaa-system/etc/systemd/system"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if names := tree.Names(); len(names) != 0 {
		t.Errorf("names %q though nothing resolves the store", names)
	}
}
