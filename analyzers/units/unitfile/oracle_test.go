package unitfile

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
)

// These tests hold systemd's own tools, where they are installed, to the same
// expectations as this package.

var record = flag.Bool("record", false, "rewrite the cat sections of testdata/trees with what systemctl prints")

func tool(t testing.TB, name string) string {
	path, err := exec.LookPath(name)
	if err != nil {
		t.Skipf("no %s here", name)
	}
	return path
}

// systemctlCat returns a function that runs systemctl cat on a search path.
// systemctl finds the files by itself, but asks no file before it has a bus:
// so it gets one that greets and says no more.
func systemctlCat(t *testing.T) func(path []string, name string) (string, error) {
	systemctl := tool(t, "systemctl")
	run := shortTempDir(t)
	if err := os.Mkdir(filepath.Join(run, "systemd"), 0o700); err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("unix", filepath.Join(run, "systemd", "private"))
	if err != nil {
		t.Skipf("no bus: %v", err)
	}
	t.Cleanup(func() { l.Close() })
	go greet(l)
	cat := func(path []string, name string) (string, error) {
		cmd := exec.Command(systemctl, "--user", "--no-pager", "cat", "--", name)
		cmd.Env = []string{"SYSTEMCTL_INSTALL_CLIENT_SIDE=1", "XDG_RUNTIME_DIR=" + run, "SYSTEMD_UNIT_PATH=" + strings.Join(path, ":"), "SYSTEMD_COLORS=0", "SYSTEMD_URLIFY=0", "LC_ALL=C"}
		var stderr bytes.Buffer
		cmd.Stderr = &stderr
		out, err := cmd.Output()
		if err != nil {
			err = fmt.Errorf("%w: %s", err, &stderr)
		}
		return string(out), err
	}
	probe := t.TempDir()
	dropIn(t, filepath.Join(probe, "probe.target"), "[Unit]\n")
	if _, err := cat([]string{probe}, "probe.target"); err != nil {
		t.Skipf("systemctl cat finds no files without a manager here: %v", err)
	}
	return cat
}

// dumps returns systemd-analyze, where it is of a version whose dumps these
// tests read: they are no interface, and change.
func dumps(t *testing.T) string {
	analyze := tool(t, "systemd-analyze")
	out, err := exec.Command(analyze, "--version").Output()
	if err != nil || !bytes.HasPrefix(out, []byte("systemd 252 ")) {
		t.Skipf("dumps were read of systemd 252 only, here is %.20q, %v", out, err)
	}
	return analyze
}

// shortTempDir is a directory whose name leaves room for a socket's.
func shortTempDir(t *testing.T) string {
	dir, err := os.MkdirTemp("", "unit")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// greet answers the authentication of D-Bus and hangs up at the first call.
func greet(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			io.WriteString(c, "DATA\r\nOK 0123456789abcdef0123456789abcdef\r\nAGREE_UNIX_FD\r\n")
			var got []byte
			buf := make([]byte, 4096)
			for !bytes.Contains(got, []byte("BEGIN\r\n")) {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				got = append(got, buf[:n]...)
			}
		}()
	}
}

// write puts a tree into a directory. Absolute links lead into it.
func (tr *tree) write(t *testing.T, root string) {
	for name, f := range tr.fsys {
		file := filepath.Join(root, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		target, link := tr.links[name]
		if !link {
			if err := os.WriteFile(file, f.Data, 0o644); err != nil {
				t.Fatal(err)
			}
			continue
		}
		if filepath.IsAbs(target) && target != "/dev/null" {
			target = filepath.Join(root, target)
		}
		if err := os.Symlink(target, file); err != nil {
			t.Fatal(err)
		}
	}
}

func under(root string, dirs []string) []string {
	var all []string
	for _, d := range dirs {
		all = append(all, filepath.Join(root, d))
	}
	return all
}

// The cat sections are what systemctl prints.
func TestSystemctlCat(t *testing.T) {
	cat := systemctlCat(t)
	for _, tr := range trees(t) {
		t.Run(tr.name, func(t *testing.T) {
			root := t.TempDir()
			tr.write(t, root)
			for name, want := range tr.cats {
				if isConfig(name) || strings.HasSuffix(want, "is masked.\n") {
					continue // TestCatConfig; a manager knows of masks, not systemctl alone
				}
				got, err := cat(under(root, SystemDirs), name)
				if err != nil {
					t.Errorf("%s: %v", name, err)
					continue
				}
				got = strings.ReplaceAll(got, "# "+root, "# ")
				got = strings.ReplaceAll(got, "# //", "# /")
				tr.recorded(name, got)
				if diff := cmp.Diff(want, got); diff != "" && !*record {
					t.Errorf("%s: systemctl prints otherwise (-want +got)\n%s", name, diff)
				}
			}
			tr.save(t)
		})
	}
}

func (tr *tree) recorded(name, got string) {
	for i, f := range tr.archive.Files {
		if f.Name == "cat/"+name {
			tr.archive.Files[i].Data = []byte(got)
		}
	}
}

func (tr *tree) save(t *testing.T) {
	if !*record {
		return
	}
	if err := os.WriteFile("testdata/trees/"+tr.name+".txtar", txtar.Format(tr.archive), 0o644); err != nil {
		t.Fatal(err)
	}
}

// The networks' cat sections are what systemd-analyze prints.
func TestCatConfig(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	compared := 0
	for _, tr := range trees(t) {
		root := t.TempDir()
		tr.write(t, root)
		for name, want := range tr.cats {
			if !isConfig(name) {
				continue
			}
			out, err := exec.Command(analyze, "--no-pager", "cat-config", "--root="+root, "systemd/network/"+name).Output()
			if err != nil {
				t.Errorf("%s: %v", name, err)
				continue
			}
			got := strings.ReplaceAll(string(out), "# "+root, "# ")
			tr.recorded(name, got)
			if diff := cmp.Diff(want, got); diff != "" && !*record {
				t.Errorf("%s: systemd-analyze prints otherwise (-want +got)\n%s", name, diff)
			}
			compared++
		}
		tr.save(t)
	}
	if compared == 0 {
		t.Error("no network is in the trees")
	}
}

// The real units of this machine, with drop-ins of our own over them, print as
// systemctl prints them.
func TestSystemctlCatHere(t *testing.T) {
	cat := systemctlCat(t)
	const system = "/usr/lib/systemd/system"
	root := t.TempDir()
	etc := filepath.Join(root, "etc")
	list, err := os.ReadDir(system)
	if err != nil {
		t.Skip(err)
	}
	for i, e := range list {
		if e.IsDir() {
			continue
		}
		// Of aliases' drop-ins of one name any may win, so each has its own.
		dropIn(t, filepath.Join(etc, e.Name()+".d", "50-"+e.Name()+".conf"), "[Unit]\n# own\nDescription=own \\\n# between\n  "+e.Name()+"\n")
		if i%3 == 0 {
			dropIn(t, filepath.Join(etc, e.Name()+".d", "10-"+e.Name()+".conf"), "[Unit]\r\nAfter=\r\nno end")
		}
	}
	dropIn(t, filepath.Join(etc, "service.d", "90-all.conf"), "[Service]\nEnvironment=A=b\n")
	dropIn(t, filepath.Join(etc, "systemd-.service.d", "50-own.conf"), "[Service]\nNice=1\n")
	dropIn(t, filepath.Join(etc, "systemd-.service.d", "60-dash.conf"), "[Service]\nNice=2\n")
	path := []string{etc, system}
	tree, err := Open(os.DirFS("/"), path, nil)
	if err != nil {
		t.Fatal(err)
	}
	compared := 0
	for i, name := range tree.Names() {
		if n, _ := splitName(name); n.isTemplate() {
			name = n.with("x-y").String()
		}
		if testing.Short() && i%10 != 0 {
			continue
		}
		want, err := cat(path, name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		u, err := tree.Load(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
			continue
		}
		if u.Masked {
			continue // a manager knows of masks, not systemctl alone
		}
		if diff := cmp.Diff(want, printed(t, u)); diff != "" {
			t.Errorf("%s (-systemctl +Print)\n%s", name, diff)
		}
		compared++
	}
	t.Logf("%d units compared", compared)
	if compared == 0 {
		t.Error("no unit was compared")
	}
}

func dropIn(t *testing.T, file, text string) {
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// A manager that loads the trees' units says the same of them as Load.
func TestVerify(t *testing.T) {
	analyze := dumps(t)
	compared := 0
	for _, tr := range trees(t) {
		t.Run(tr.name, func(t *testing.T) {
			root := t.TempDir()
			tr.write(t, root)
			for name := range tr.wants {
				n, ok := splitName(name)
				u, err := Load(tr.fsys, dirs(name), name)
				if !ok || n.isTemplate() || err != nil || u.Masked || u.Path == "" {
					continue
				}
				dump, log := verify(analyze, under(root, SystemDirs), name)
				checkWarnings(t, u, strings.ReplaceAll(log, root+"/", ""))
				if u.Name != u.Names[0] {
					u.Names = []string{u.Names[0], u.Name} // loaded by an alias, it learns of others later
				}
				if dump, ok := unitDump(t, strings.ReplaceAll(dump, root+"/", ""), u); ok {
					compared++
					if diff := cmp.Diff(dump, ownDump(t, u)); diff != "" {
						t.Errorf("%s (-systemd +Load)\n%s", name, diff)
					}
				} else if !slices.ContainsFunc(u.Problems, func(p Problem) bool { return p.Fatal && p.Path == u.Path }) {
					t.Errorf("%s: no dump\n%s", name, log)
				}
			}
		})
	}
	if compared == 0 {
		t.Skip("systemd-analyze verify loads no unit here")
	}
	t.Logf("%d units compared", compared)
}

// verify has a manager load units, and returns what it dumps of them and what
// it says of their files. A unit is dumped even where it could not be started,
// for want of the units that it needs.
func verify(analyze string, path []string, names ...string) (dump, log string) {
	cmd := exec.Command(analyze, append([]string{"--man=no", "verify"}, names...)...)
	cmd.Env = []string{"SYSTEMD_LOG_LEVEL=debug", "SYSTEMD_UNIT_PATH=" + strings.Join(path, ":"), "LC_ALL=C"}
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	_ = cmd.Run() // its status is of the start, too
	return stdout.String(), stderr.String()
}

var warningRe = regexp.MustCompile(`(?m)^(\S+):(\d+): (Missing|Assignment outside|Invalid section|Bad characters|String is not)`)

// checkWarnings compares the lines that systemd finds bad. It names the last
// line of a continued one, so the trees have none that is bad.
func checkWarnings(t *testing.T, u *Unit, log string) {
	warned, found := map[string]bool{}, map[string]bool{}
	for _, m := range warningRe.FindAllStringSubmatch(log, -1) {
		if slices.ContainsFunc(u.Sources, func(s Source) bool { return s.Path == m[1] }) {
			warned[m[1]+":"+m[2]] = true
		}
	}
	for _, p := range u.Problems {
		if p.Line > 0 {
			found[p.Path+":"+strconv.Itoa(p.Line)] = true
		}
	}
	if diff := cmp.Diff(warned, found); diff != "" {
		t.Errorf("%s: bad lines (-systemd +Load)\n%s", u.Name, diff)
	}
}

// groupedRe matches the options that are reset with others of their kind.
var groupedRe = regexp.MustCompile(`^(Assert|Condition|Listen|Path(Exists|Changed|Modified)|DirectoryNotEmpty|OnCalendar|On(Active|Boot|Startup)Sec)[A-Za-z]*: `)

// unitDump returns the lines of a manager's dump that a file decides.
func unitDump(t *testing.T, out string, u *Unit) (string, bool) {
	_, dump, ok := strings.Cut(out, "-> Unit "+u.Names[0]+":\n")
	if !ok {
		return "", false
	}
	dump, _, _ = strings.Cut(dump, "\t-> Unit ")
	var lines []string
	for line := range strings.Lines(dump) {
		line = strings.TrimLeft(strings.TrimSuffix(line, "\n"), "\t")
		if other, ok := strings.CutPrefix(line, "Alias: "); ok && u.Name != u.Names[0] && other != u.Name {
			continue
		}
		for _, key := range []string{"Alias: ", "Description: ", "Fragment Path: ", "DropIn Path: ", "Environment: ", "Command Line: "} {
			if strings.HasPrefix(line, key) {
				lines = append(lines, line)
			}
		}
		if groupedRe.MatchString(line) {
			lines = append(lines, strings.TrimSuffix(line, " untested"))
		}
		if value, ok := strings.CutPrefix(line, "TimeoutStopSec: "); ok {
			lines = append(lines, spanLine(t, value))
		}
	}
	slices.Sort(lines)
	return strings.Join(lines, "\n"), true
}

func ownDump(t *testing.T, u *Unit) string {
	lines := []string{"Fragment Path: " + u.Path}
	description := u.Names[0]
	if o, ok := u.Last("Unit", "Description"); ok {
		description = Specifiers(o.Value, u.nameFor(o))
	}
	lines = append(lines, "Description: "+description)
	for _, name := range u.Names[1:] {
		lines = append(lines, "Alias: "+name)
	}
	for _, s := range u.Sources[1:] {
		lines = append(lines, "DropIn Path: "+s.Path)
	}
	seen := map[string]bool{}
	for _, o := range u.Options {
		if key := o.Name + ": "; !seen[key] && groupedRe.MatchString(key) {
			seen[key] = true
			for _, o := range u.All(o.Section, o.Name) {
				lines = append(lines, key+o.Value)
			}
		}
	}
	n, _ := splitName(u.Names[0])
	if n.kind != "service" {
		slices.Sort(lines)
		return strings.Join(lines, "\n")
	}
	vars, _ := u.Environment("Service")
	for _, v := range vars {
		lines = append(lines, "Environment: "+v)
	}
	for _, o := range u.All("Service", "ExecStart") {
		commands, _ := Commands(o.Value)
		for _, c := range commands {
			var words []string
			for _, word := range c.Argv {
				words = append(words, shellQuote(Specifiers(word, u.nameFor(o))))
			}
			lines = append(lines, "Command Line: "+strings.Join(words, " "))
		}
	}
	stop := "1min 30s"
	if o, ok := u.Last("Service", "TimeoutStopSec"); ok {
		stop = o.Value
	}
	lines = append(lines, spanLine(t, stop))
	slices.Sort(lines)
	return strings.Join(lines, "\n")
}

// spanLine writes a span as microseconds, since a manager writes it in its own
// way.
func spanLine(t *testing.T, value string) string {
	usec, err := TimeSpan(value)
	if err != nil {
		t.Error(err)
	}
	return fmt.Sprintf("TimeoutStopSec: %d", usec)
}

// shellQuote writes a word as the manager's dump does.
func shellQuote(word string) string {
	if word != "" && !strings.ContainsAny(word, "\a\b\f\t\v\n\r \\\"'`$*?[](){}<>|&;!#~^") {
		return word
	}
	return `"` + strings.NewReplacer(`\`, `\\`, `"`, `\"`, "`", "\\`", `$`, `\$`, "\a", `\a`, "\b", `\b`, "\f", `\f`, "\t", `\t`, "\v", `\v`).Replace(word) + `"`
}

var microsRe = regexp.MustCompile(`(?m)s: (\d+)$`)

func TestTimeSpanAgainstSystemd(t *testing.T) {
	analyze := tool(t, "systemd-analyze")
	for _, c := range spanCases {
		out, err := exec.Command(analyze, "timespan", "--", c.in).Output()
		if (err != nil) != c.bad {
			t.Errorf("%q: systemd-analyze: %v, want an error: %v", c.in, err, c.bad)
			continue
		}
		if c.bad || c.usec == Infinity {
			continue
		}
		m := microsRe.FindSubmatch(out)
		if m == nil || string(m[1]) != strconv.FormatUint(c.usec, 10) {
			t.Errorf("%q: systemd-analyze says\n%s", c.in, out)
		}
	}
}

// lexCases are targets whose description shows how lines are cut and joined.
var lexCases = []string{
	"[Unit]\nDescription=plain",
	"[Unit]\r\nDescription=crlf \\\r\n  more\r\n",
	"[Unit]\rDescription=cr\rDescription=last",
	"[Unit]\n\rDescription=lfcr\\\n\rnext\n\n",
	"[Unit]\nDescription=nul\x00Description=after",
	"[Unit]\x00\nDescription=nul, then LF\\\x00\nnot an option",
	"[Unit]\nDescription=a\\\n\r\n\rb",
	"\ufeff[Unit]\nDescription=bom",
	"[Unit]\n\ufeffDescription=late bom",
	"\ufeff[Unit]\n\ufeffDescription=second bom",
	"[Unit]\nDescription=before\n\ufeff#Description=hash",
	"[Unit]\nDescription=a \\\n# comment \\\n ; comment\n\t b \\\n\n",
	"[Unit]\nDescription=a\\\n\nDescription=b\\\n",
	"[Unit]\nDescription=even\\\\\nAfter=x.target",
	"[Unit]\nDescription=odd\\\\\\\n more",
	"[Unit]\nDescription=blank\\ \nAfter=x.target",
	"[Unit]\n# comment \\\nDescription=after the comment",
	"[Un\\\nit]\nDescription=x",
	"  [Unit]  \n  Description  =  spaces  \n",
	"[Unit]\nDescription=\vtab\f",
	"[Unit]\nDescription=before\nx\xff=y\nDescription=after",
	"[Unit]\nDescription=before\n# \xff\nDescription=after",
	"[Unit]\nDescription=before\nx=\ufffe\nDescription=after",
	"[Unit]\nDescription=before\nx=\ufdd0\nDescription=after",
	"[Unit]\nDescription=before\nx=\U0001ffff\nDescription=after",
	"[Unit]\nDescription=before\n[Unit] # x\nDescription=after",
	"[Unit]\nDescription=before\n[\nDescription=after",
	"[Unit]\nDescription=before\n[]\nDescription=after",
	"[Unit]\nDescription=before\n[X-a]b]\nDescription=after",
	"[Unit]\nDescription=before\n[X-a\"b]\nDescription=after",
	"[Unit]\nDescription=before\n[X-a\\b]\nDescription=after",
	"[Unit]\nDescription=before\n[X-a\tb]\nDescription=after",
	"[Unit]\nDescription=before\ngarbage\n=\n= x\n [X-y]\nDescription=after",
	"[Unit]\nDescription=before\nDescription=\n",
	"[Unit]\nDescription=before\n#" + strings.Repeat("x", maxLine-2) + "\nDescription=after",
	"[Unit]\nDescription=before\n#" + strings.Repeat("x", maxLine-1) + "\nDescription=after",
	"[Unit]\nDescription=before\nX=" + strings.Repeat("x", maxLine-4) + "\\\nx\nDescription=after",
	"[Unit]\nDescription=before\nX=" + strings.Repeat("x", maxLine-4) + "\\\nxx\nDescription=after",
	"[Unit]\nDescription=before\nX=" + strings.Repeat("x", maxLine-4) + "\\\nx\\\n\nDescription=after",
}

func TestLinesAgainstSystemd(t *testing.T) {
	analyze := dumps(t)
	dir := t.TempDir()
	var names []string
	for i, in := range lexCases {
		names = append(names, fmt.Sprintf("case%d.target", i))
		dropIn(t, filepath.Join(dir, names[i]), in)
	}
	out, log := verify(analyze, []string{dir}, names...)
	for i, in := range lexCases {
		name := names[i]
		_, dump, loaded := strings.Cut(out, "-> Unit "+name+":\n\t\tDescription: ")
		if i == 0 && !loaded {
			t.Skipf("systemd-analyze verify loads no unit here:\n%.500s", log)
		}
		want, _, _ := strings.Cut(dump, "\n")
		f := Parse([]byte(in))
		got := name
		if o, ok := (&Unit{Options: f.Options}).Last("Unit", "Description"); ok {
			got = o.Value
		}
		fatal := len(f.Problems) > 0 && f.Problems[len(f.Problems)-1].Fatal
		if fatal == loaded || loaded && got != want {
			t.Errorf("%.100q: description %q, refused %v; systemd has %q, refused %v", in, got, fatal, want, !loaded)
		}
	}
}

// Random values of quotes, escapes and specifiers make the words that a
// manager makes of them.
func TestWordsAgainstSystemd(t *testing.T) {
	analyze := dumps(t)
	dir := t.TempDir()
	rng := rand.New(rand.NewPCG(1, 2))
	const lines = 400
	var text strings.Builder
	text.WriteString("[Unit]\nDefaultDependencies=no\n[Service]\nType=oneshot\n")
	for i := range lines {
		// A prefix "-" has systemd ignore a line that it cannot split.
		fmt.Fprintf(&text, "ExecStart=-/bin/x L%d %s\nEnvironment=K%d=%s\n", i, randomValue(rng), i, randomValue(rng))
	}
	dropIn(t, filepath.Join(dir, "words.service"), text.String())
	out, log := verify(analyze, []string{dir}, "words.service")
	_, dump, loaded := strings.Cut(out, "-> Unit words.service:\n")
	if !loaded {
		t.Skipf("systemd-analyze verify loads no unit here:\n%.500s", log)
	}
	u, err := Load(os.DirFS(dir), []string{"."}, "words.service")
	if err != nil {
		t.Fatal(err)
	}
	if len(u.Options) != 2+2*lines || len(u.Problems) > 0 {
		t.Fatalf("%d options, problems %v", len(u.Options), u.Problems)
	}
	want := strings.ReplaceAll(strings.ReplaceAll(dump, "\tEnvironment: ", "\x00E "), "\tCommand Line: ", "\x00C ")
	vars, _ := u.Environment("Service")
	compareEach(t, want, "\x00E ", vars)
	var commands []string
	for _, o := range u.All("Service", "ExecStart") {
		all, _ := Commands(o.Value)
		for _, c := range all {
			for i, word := range c.Argv {
				c.Argv[i] = shellQuote(Specifiers(word, u.Name))
			}
			commands = append(commands, strings.Join(c.Argv, " "))
		}
	}
	compareEach(t, want, "\x00C ", commands)
}

func randomValue(rng *rand.Rand) string {
	parts := []string{"a", "b=", " ", "  ", `"`, `"`, "'", "'", `\`, `\\`, `\s`, `\t`, `\x41`, `\x4`, `\102`, `\10`, `\u00e4`, `\u0`, `\U0001F600`, `\U1`, `\"`, `\'`, "%i", "%n", "%%", "4", "\v"}
	var b strings.Builder
	for range rng.IntN(9) {
		b.WriteString(parts[rng.IntN(len(parts))])
	}
	return b.String() + " " // a backslash at the end would continue the line
}

// compareEach compares the entries of a dump that start with a mark.
func compareEach(t *testing.T, dump, mark string, got []string) {
	t.Helper()
	entries := strings.Split(dump, mark)[1:]
	if len(entries) != len(got) {
		t.Errorf("systemd has %d of %q, not %d", len(entries), mark, len(got))
	}
	for i := range min(len(entries), len(got)) {
		line, _, _ := strings.Cut(entries[i], "\n")
		if line != got[i] {
			t.Errorf("systemd has %q, not %q", line, got[i])
		}
	}
}
