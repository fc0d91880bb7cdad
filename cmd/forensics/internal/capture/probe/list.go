package probe

import (
	"bytes"
	"cmp"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"maps"
	"regexp"
	"slices"
	"strings"
	"time"
	"unicode/utf8"

	"forensics/rules"

	"go.yaml.in/yaml/v4"
)

//go:embed probes.yaml
var builtIn []byte

// Builtin returns the list that comes with the program.
func Builtin() rules.Source { return rules.Source{Name: "probes.yaml", Data: builtIn} }

// Bounds on a list: it may be a stranger's.
const (
	maxSource   = 1 << 20 // bytes
	maxProbes   = 500
	maxMistakes = 100
	maxLimit    = time.Hour
)

// Load reads lists, the built-in one among them where the caller names it. A
// probe of a later list takes the place of one of the same name and place in an
// earlier. Commands may name the parameters of params, those that HostParams
// finds, and optional ones (see Optional). The error is of type rules.Mistakes
// and holds all that is wrong.
func Load(params map[string][]string, lists ...rules.Source) ([]Spec, error) {
	known := slices.Concat(slices.Collect(maps.Keys(params)), hostParams, Optional())
	slices.Sort(known)
	l := &loader{known: known}
	for _, src := range lists {
		l.list(src)
	}
	if len(l.mistakes) > 0 {
		return nil, l.sorted(lists)
	}
	return l.specs, nil
}

type loader struct {
	known    []string
	file     string
	specs    []Spec
	mistakes rules.Mistakes
}

func (l *loader) mistake(n *yaml.Node, format string, args ...any) {
	m := &rules.Mistake{File: l.file, Text: fmt.Sprintf(format, args...)}
	if n != nil {
		m.Line, m.Column = n.Line, n.Column
	}
	if len(l.mistakes) < maxMistakes {
		l.mistakes = append(l.mistakes, m)
	}
}

// sorted returns the mistakes by list and place.
func (l *loader) sorted(lists []rules.Source) rules.Mistakes {
	rank := map[string]int{}
	for i, src := range lists {
		rank[src.Name] = i
	}
	slices.SortStableFunc(l.mistakes, func(a, b *rules.Mistake) int {
		return cmp.Or(cmp.Compare(rank[a.File], rank[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	return l.mistakes
}

func (l *loader) list(src rules.Source) {
	l.file = src.Name
	root := l.open(src.Data)
	if root == nil {
		return
	}
	m := l.mapping(root, "a list of probes", "probes")
	if m == nil {
		return
	}
	if m["probes"] == nil {
		l.mistake(root, "the list has no probes: write them below the key probes")
	}
	here := map[string]bool{}
	for _, n := range l.items(m["probes"], "probes") {
		s, ok := l.spec(n)
		if !ok {
			continue
		}
		key := string(s.Where) + " " + s.Name
		if here[key] {
			l.mistake(n, "probe %s on the %s stands twice in this list", s.Name, s.Where)
			continue
		}
		here[key] = true
		l.add(n, s)
	}
}

func (l *loader) add(n *yaml.Node, s Spec) {
	i := slices.IndexFunc(l.specs, func(o Spec) bool { return o.Name == s.Name && o.Where == s.Where })
	switch {
	case i >= 0:
		l.specs[i] = s
	case len(l.specs) == maxProbes:
		l.mistake(n, "more than %d probes", maxProbes)
	default:
		l.specs = append(l.specs, s)
	}
}

// open parses one YAML document; nil, and a mistake, where that is impossible.
func (l *loader) open(data []byte) *yaml.Node {
	switch {
	case len(data) > maxSource:
		l.mistake(nil, "%d bytes: larger than the %d allowed", len(data), maxSource)
		return nil
	case !utf8.Valid(data):
		l.mistake(nil, "not UTF-8 text")
		return nil
	}
	yl, err := yaml.NewLoader(bytes.NewReader(data))
	if err != nil {
		l.syntax(err)
		return nil
	}
	var n, second yaml.Node
	if err := yl.Load(&n); err != nil && !errors.Is(err, io.EOF) {
		l.syntax(err)
		return nil
	}
	if len(n.Content) == 0 {
		l.mistake(nil, "empty: a list has the key probes")
		return nil
	}
	if err := yl.Load(&second); err == nil {
		l.mistake(&second, "a second document: only one is read")
	} else if !errors.Is(err, io.EOF) {
		l.syntax(err)
		return nil
	}
	return n.Content[0]
}

func (l *loader) syntax(err error) {
	n, text := (*yaml.Node)(nil), err.Error()
	var le *yaml.LoadError
	if errors.As(err, &le) {
		n, text = &yaml.Node{Line: le.Mark.Line, Column: max(1, le.Mark.Column)}, le.Message
		if le.ContextMsg != "" {
			text = le.ContextMsg + ": " + le.Message
		}
	}
	l.mistake(n, "%s", text)
}

// mapping returns the values of a mapping by key, nil when it is none.
func (l *loader) mapping(n *yaml.Node, what string, known ...string) map[string]*yaml.Node {
	if n.Kind != yaml.MappingNode {
		l.mistake(n, "%s must be a mapping with the keys %s", what, strings.Join(known, ", "))
		return nil
	}
	m := map[string]*yaml.Node{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		k := n.Content[i]
		switch {
		case !slices.Contains(known, k.Value):
			l.mistake(k, "unknown key %q in %s%s", k.Value, what, hint(k.Value, known))
		case m[k.Value] != nil:
			l.mistake(k, "key %q stands twice in %s", k.Value, what)
		default:
			m[k.Value] = n.Content[i+1]
		}
	}
	return m
}

func (l *loader) items(n *yaml.Node, what string) []*yaml.Node {
	if n == nil {
		return nil
	}
	if n.Kind != yaml.SequenceNode {
		l.mistake(n, "%s must be a list", what)
		return nil
	}
	return n.Content
}

// text returns a scalar's text, and a mistake for anything else or nothing.
func (l *loader) text(n *yaml.Node, what string) string {
	switch {
	case n == nil:
		return ""
	case n.Kind != yaml.ScalarNode:
		l.mistake(n, "%s must be text", what)
		return ""
	case n.Tag == "!!null" || strings.TrimSpace(n.Value) == "":
		l.mistake(n, "%s is empty", what)
		return ""
	case strings.ContainsRune(n.Value, 0):
		l.mistake(n, "%s has a NUL", what)
		return ""
	}
	return n.Value
}

func (l *loader) flag(n *yaml.Node, what string) bool {
	v := l.text(n, what)
	if v != "" && v != "true" && v != "false" {
		l.mistake(n, "%s must be true or false", what)
	}
	return v == "true"
}

// oneOf is a word out of a few, the first where there is none.
func (l *loader) oneOf(n *yaml.Node, what string, words ...string) string {
	v := l.text(n, what)
	switch {
	case v == "":
		return words[0]
	case !slices.Contains(words, v):
		l.mistake(n, "%s is %q: write %s%s", what, v, strings.Join(words, " or "), hint(v, words))
	}
	return v
}

func (l *loader) duration(n *yaml.Node, what string, most time.Duration) time.Duration {
	v := l.text(n, what)
	if v == "" {
		return 0
	}
	d, err := time.ParseDuration(v)
	switch {
	case err != nil:
		l.mistake(n, "%s %q is no duration: write 10s or 5m", what, v)
	case d <= 0 || d > most:
		l.mistake(n, "%s %s is out of range: more than 0, at most %s", what, v, most)
	}
	return d
}

var (
	nameRe = regexp.MustCompile(`^[a-z][a-z0-9]*(?:-[a-z0-9]+)*$`)
	idRe   = regexp.MustCompile(`^[a-z][a-z0-9-]*(?:\.[a-z0-9-]+)+$`)
	toolRe = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9_.+-]*$`)
)

// specKeys are the keys of a probe.
var specKeys = []string{"name", "where", "argv", "shell", "login", "limit", "conditions", "root", "poll", "output", "when"}

func (l *loader) spec(n *yaml.Node) (Spec, bool) {
	before := len(l.mistakes)
	m := l.mapping(n, "a probe", specKeys...)
	if m == nil {
		return Spec{}, false
	}
	for _, key := range []string{"name", "where", "limit"} {
		if m[key] == nil {
			l.mistake(n, "the probe has no %s", key)
		}
	}
	s := Spec{
		Name:  l.text(m["name"], "name"),
		Where: Where(l.oneOf(m["where"], "where", string(Host), string(Guest))),
		Limit: l.duration(m["limit"], "limit", maxLimit),
		Root:  l.flag(m["root"], "root"),
		JSON:  l.oneOf(m["output"], "output", "text", "json") == "json",
	}
	if s.Name != "" && !nameRe.MatchString(s.Name) {
		l.mistake(m["name"], "%q is no name: lower-case letters and digits, joined by hyphens", s.Name)
	}
	for _, c := range l.items(m["conditions"], "conditions") {
		id := l.text(c, "a condition")
		if id != "" && !idRe.MatchString(id) {
			l.mistake(c, "%q is no condition: write phase.name", id)
		}
		s.Conditions = append(s.Conditions, id)
	}
	l.command(n, m, &s)
	if m["poll"] != nil {
		s.Poll = l.poll(m["poll"])
	}
	if m["when"] != nil {
		s.Tool = l.when(m["when"])
	}
	if s.Where == Host {
		for _, key := range []string{"root", "poll"} {
			if m[key] != nil {
				l.mistake(m[key], "%s is for the guest's probes: leave it out on the host", key)
			}
		}
	}
	return s, len(l.mistakes) == before
}

func (l *loader) command(n *yaml.Node, m map[string]*yaml.Node, s *Spec) {
	argv, shell := m["argv"], m["shell"]
	switch {
	case argv == nil && shell == nil:
		l.mistake(n, "the probe has no command: write argv or shell")
	case argv != nil && shell != nil:
		l.mistake(shell, "the probe has argv and shell: write one of them")
	case shell != nil:
		script := strings.TrimSpace(l.text(shell, "shell"))
		s.Argv, s.Script = []string{"sh", "-c", script}, true
		if l.flag(m["login"], "login") {
			s.Argv = []string{"bash", "-lc", script}
		}
		l.parameters(shell, script, true)
		return
	default:
		words := l.items(argv, "argv")
		if argv.Kind == yaml.SequenceNode && len(words) == 0 {
			l.mistake(argv, "argv is empty")
		}
		for _, w := range words {
			word := l.text(w, "an argument")
			s.Argv = append(s.Argv, word)
			l.parameters(w, word, false)
		}
	}
	if m["login"] != nil {
		l.mistake(m["login"], "login is for shell: an argv has no shell")
	}
}

// parameters checks the parameters that a text names.
func (l *loader) parameters(n *yaml.Node, text string, script bool) {
	for _, p := range pieces(text) {
		if p.param == "" {
			continue
		}
		if !slices.Contains(l.known, p.param) {
			l.mistake(n, "unknown parameter ${%s}%s", p.param, hint(p.param, l.known))
		}
		if script && p.quoted {
			l.mistake(n, "${%s} stands within quotes: write it bare, its value is quoted for the shell", p.param)
		}
	}
}

func (l *loader) poll(n *yaml.Node) *Poll {
	m := l.mapping(n, "poll", "until", "every", "limit")
	if m == nil {
		return nil
	}
	for _, key := range []string{"until", "every", "limit"} {
		if m[key] == nil {
			l.mistake(n, "the poll has no %s", key)
		}
	}
	p := &Poll{Every: l.duration(m["every"], "every", maxLimit), Limit: l.duration(m["limit"], "limit", maxLimit)}
	until := l.text(m["until"], "until")
	if until == "" || until == "settled" {
		return p
	}
	re, err := regexp.Compile("(?m)" + until)
	if err != nil {
		l.mistake(m["until"], "until is neither settled nor a regular expression: %v", err)
	}
	p.until = re
	return p
}

func (l *loader) when(n *yaml.Node) string {
	m := l.mapping(n, "when", "tool")
	if m == nil {
		return ""
	}
	tool := l.text(m["tool"], "tool")
	if tool != "" && !toolRe.MatchString(tool) {
		l.mistake(m["tool"], "%q is no program's name", tool)
	}
	return tool
}

// hint names the known word that starts as word does, or has one letter other,
// more or less.
func hint(word string, known []string) string {
	for _, k := range known {
		if near(word, k) {
			return fmt.Sprintf(" (did you mean %q?)", k)
		}
	}
	return ""
}

// near reports whether at most one run of two bytes tells a and b apart.
func near(a, b string) bool {
	i := 0
	for i < min(len(a), len(b)) && a[i] == b[i] {
		i++
	}
	j := 0
	for j < min(len(a), len(b))-i && a[len(a)-1-j] == b[len(b)-1-j] {
		j++
	}
	return a != b && max(len(a), len(b))-i-j <= 2 && min(len(a), len(b)) > 2
}
