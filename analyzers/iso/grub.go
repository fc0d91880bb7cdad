package iso

import (
	"path"
	"slices"
	"strconv"
	"strings"
)

// grub reads a configuration of GRUB 2: words and quotes as its shell splits
// them, no expressions. What stands inside if, for, while or a function may or
// may not happen; what it sets is unknown, and an entry in it makes the
// numbers of those behind it unknown. A variable that is not set to literal
// text stays as it is written.
type grub struct {
	files    files
	includes int
	reading  map[string]bool // files that source the next one
	vars     map[string]string
	doubt    map[string]bool // set where it may not happen
	top      []*item
	unsure   bool // an entry may stand before those that follow
	offered  int
	sets     int // assignments so far
}

// item is an entry or submenu.
type item struct {
	entry
	id     string
	kids   []*item // of a submenu
	sub    bool
	unsure bool // whether it is there, or its number
	vars   map[string]string
}

// token is one word of GRUB's shell, or one of ; { } and the line's end as ";".
type token struct {
	text       string
	start, end int
	op         bool
	parts      []part
}

// part of a word: text, or a variable's name.
type part struct {
	text string
	isV  bool
	raw  string
}

// parseGrub reads the menu that starts in c.
func parseGrub(c *config, fs files) *menu {
	g := &grub{files: fs, vars: map[string]string{}, doubt: map[string]bool{}, reading: map[string]bool{}}
	g.file(c, scope{items: &g.top})
	m := &menu{}
	var add func(items []*item)
	add = func(items []*item) {
		for _, it := range items {
			if it.sub {
				add(it.kids)
				continue
			}
			m.entries = append(m.entries, &it.entry)
		}
	}
	add(g.top)
	def, ok := g.value("default")
	if !ok {
		def = "0"
	}
	if g.doubt["default"] || strings.Contains(def, "$") {
		return m
	}
	if it := pick(g.top, def); it != nil && !it.unsure {
		m.chosen = &it.entry
	}
	return m
}

// pick follows a default such as 0, 1>2, a title or an id.
func pick(items []*item, def string) *item {
	head, rest, more := strings.Cut(def, ">")
	it := find(items, head)
	switch {
	case it == nil && more: // titles may hold the mark
		return find(items, def)
	case it == nil || it.sub != more:
		return nil
	case more && !it.unsure:
		return pick(it.kids, rest)
	case more:
		return nil
	}
	return it
}

// find returns the entry of that number, id or title.
func find(items []*item, name string) *item {
	if n, err := strconv.Atoi(name); err == nil {
		if n < 0 || n >= len(items) {
			return nil
		}
		return items[n]
	}
	for _, it := range items {
		if it.id == name || it.name == name {
			return it
		}
	}
	return nil
}

func (g *grub) value(name string) (string, bool) {
	v, ok := g.vars[name]
	return v, ok
}

// scope is where commands stand.
type scope struct {
	items *[]*item // nil inside an entry
	in    *item    // the entry
	maybe bool
	depth int // of includes
}

func (g *grub) file(c *config, s scope) {
	if g.includes++; g.includes > maxIncludes || s.depth > maxIncluded || g.reading[c.path] {
		g.unsure = true
		return
	}
	g.reading[c.path] = true
	defer delete(g.reading, c.path)
	r := &grubReader{grub: g, c: c, tokens: tokens(c.data)}
	r.block(s, 0)
}

// grubReader is grub at one file.
type grubReader struct {
	*grub
	c      *config
	tokens []token
	at     int
}

// maxNested bounds blocks within blocks.
const maxNested = 40

// block reads commands up to the "}" that ends it.
func (r *grubReader) block(s scope, nested int) {
	conditional := 0
	for r.at < len(r.tokens) {
		t := r.tokens[r.at]
		if t.op {
			r.at++
			if t.text == "}" && nested > 0 {
				return
			}
			continue
		}
		inner := s
		inner.maybe = s.maybe || conditional > 0
		switch t.text {
		case "if", "for", "while", "until":
			conditional++
			r.at++
		case "fi", "done":
			conditional = max(0, conditional-1)
			r.at++
		case "then", "else", "do":
			r.at++
		case "function":
			r.skipTo("{")
			inner.maybe = true
			r.nest(inner, nested)
		case "menuentry", "submenu":
			r.offer(inner, nested)
		default:
			r.command(inner, r.words())
		}
	}
}

func (r *grubReader) nest(s scope, nested int) {
	if nested < maxNested {
		r.block(s, nested+1)
	}
}

// skipTo moves behind the next op.
func (r *grubReader) skipTo(op string) {
	for r.at < len(r.tokens) {
		t := r.tokens[r.at]
		r.at++
		if t.op && t.text == op {
			return
		}
	}
}

// words takes a command up to its end.
func (r *grubReader) words() []token {
	from := r.at
	for r.at < len(r.tokens) && !r.tokens[r.at].op {
		r.at++
	}
	return r.tokens[from:r.at]
}

// offer reads menuentry and submenu: title, options, block.
func (r *grubReader) offer(s scope, nested int) {
	ws := r.words()
	it := &item{sub: ws[0].text == "submenu", unsure: s.maybe || r.unsure}
	it.at = place{r.c, ws[0].start, ws[len(ws)-1].end}
	if len(ws) > 1 {
		it.name = r.expand(ws[1])
	}
	for i, w := range ws {
		switch {
		case i+1 < len(ws) && (w.text == "--id" || len(w.parts) == 1 && w.parts[0].isV && w.parts[0].text == "menuentry_id_option"):
			it.id = r.expand(ws[i+1])
		case strings.HasPrefix(w.text, "--id="):
			it.id = strings.TrimPrefix(r.expand(w), "--id=")
		}
	}
	r.unsure = r.unsure || s.maybe
	inner := scope{in: it, depth: s.depth}
	if it.sub {
		inner = scope{items: &it.kids, depth: s.depth}
	} else {
		it.vars = map[string]string{}
	}
	if s.items != nil && r.offered < maxOffered {
		r.offered++
		*s.items = append(*s.items, it)
	}
	if r.at < len(r.tokens) && r.tokens[r.at].text == "{" {
		r.at++
		unsure := r.unsure
		if it.sub {
			r.unsure = false
		}
		r.nest(inner, nested)
		r.unsure = unsure
	}
}

// command reads one simple command.
func (r *grubReader) command(s scope, ws []token) {
	switch ws[0].text {
	case "set":
		if len(ws) > 1 {
			r.set(s, ws[1])
		}
	case "source", "configfile", ".":
		r.source(s, ws)
	case "linux", "linuxefi", "linux16":
		if s.in != nil {
			r.linux(s, ws)
		}
	case "initrd", "initrdefi", "initrd16":
		if s.in != nil && !s.maybe {
			for _, w := range ws[1:min(len(ws), maxInitrds)] {
				s.in.initrds = append(s.in.initrds, r.in(s.in, w))
			}
		}
	case "chainloader", "multiboot", "multiboot2", "halt", "reboot", "exit", "fwsetup":
		if s.in != nil {
			s.in.open = true
		}
	case "blscfg", "syslinux_configfile", "legacy_configfile", "eval":
		r.unsure = true // these make entries of their own
	case "unset":
		for _, w := range ws[1:] {
			r.set(s, token{parts: append(slices.Clone(w.parts), part{text: "=$"})})
		}
	default:
		// name=value alone is what set does.
		if name, _, ok := strings.Cut(ws[0].text, "="); ok && identifier(name) {
			r.set(s, ws[0])
		}
	}
}

func identifier(s string) bool {
	for _, c := range s {
		if c != '_' && (c < '0' || c > '9') && (c < 'A' || c > 'Z') && (c < 'a' || c > 'z') {
			return false
		}
	}
	return s != ""
}

// set assigns literal text. What a block that may not happen, or an entry,
// assigns is in doubt for those outside.
func (r *grubReader) set(s scope, w token) {
	name, v, ok := strings.Cut(r.in(s.in, w), "=")
	r.sets++
	switch {
	case !ok || len(name) > 64 || r.sets > maxSets:
	case s.maybe || s.in == nil && strings.Contains(v, "$"):
		r.doubt[name] = true
		delete(r.vars, name)
		if s.in != nil {
			delete(s.in.vars, name)
		}
	case s.in != nil:
		s.in.vars[name] = v
	case len(v) <= maxArgs:
		delete(r.doubt, name)
		r.vars[name] = v
	}
}

// source reads another file in place of the command.
func (r *grubReader) source(s scope, ws []token) {
	if len(ws) < 2 || s.in != nil {
		if s.in != nil {
			s.in.open = true
		}
		return
	}
	name := r.expand(ws[1])
	if v, ok := strings.CutPrefix(name, "$prefix/"); ok {
		name = path.Join(r.c.dir, v)
	}
	name = local(strings.ReplaceAll(name, "${prefix}", r.c.dir))
	if strings.Contains(name, "$") {
		r.unsure = true // whatever it holds may come before the next entry
		return
	}
	if c := r.files(name); c != nil {
		s.depth++
		r.file(c, s)
	}
}

// local drops the device from a GRUB path: ($root)/boot or (cd0)/boot.
func local(p string) string {
	if strings.HasPrefix(p, "(") {
		if _, rest, ok := strings.Cut(p, ")"); ok {
			return rest
		}
	}
	for _, v := range []string{"$root/", "${root}/"} {
		if strings.HasPrefix(p, v) {
			return p[len(v)-1:]
		}
	}
	return p
}

func (r *grubReader) linux(s scope, ws []token) {
	e := &s.in.entry
	if s.maybe || e.kernel != "" || len(ws) < 2 {
		e.open = true
		return
	}
	e.kernel = r.in(s.in, ws[1])
	e.kernAt = place{r.c, ws[0].start, ws[1].end}
	var args []string
	size := 0
	for _, w := range ws[2:] {
		a := r.in(s.in, w)
		if size += len(a); size > maxArgs {
			e.open = true
			return
		}
		args = append(args, a)
	}
	e.args = strings.Join(args, " ")
	if e.args != "" {
		e.argsAt = place{r.c, ws[0].start, ws[len(ws)-1].end}
	}
}

func (g *grub) expand(t token) string { return g.in(nil, t) }

// in is a word's text inside entry it; variables without literal text stay.
func (g *grub) in(it *item, t token) string {
	var b strings.Builder
	for _, p := range t.parts {
		if !p.isV {
			b.WriteString(p.text)
			continue
		}
		v, ok := g.vars[p.text]
		if it != nil {
			if own, mine := it.vars[p.text]; mine {
				v, ok = own, true
			}
		}
		if !ok || g.doubt[p.text] {
			v = p.raw
		}
		if b.Len()+len(v) > maxArgs {
			return b.String() + "$" // not literal any more
		}
		b.WriteString(v)
	}
	return b.String()
}

// tokens splits a script as grub-core/script/yylex.l does.
func tokens(data []byte) []token {
	l := &lexer{data: data}
	for l.at < len(data) {
		switch c := data[l.at]; {
		case c == '\\' && l.at+1 < len(data) && data[l.at+1] == '\n':
			l.at += 2
		case c == ' ' || c == '\t' || c == '\r':
			l.at++
		case c == '\n' || c == ';' || c == '{' || c == '}' || c == '|' || c == '&':
			text := string(c)
			if c == '\n' {
				text = ";"
			}
			l.out = append(l.out, token{text: text, start: l.at, end: l.at + 1, op: true})
			l.at++
		case c == '#':
			for l.at < len(data) && data[l.at] != '\n' {
				l.at++
			}
		default:
			l.word()
		}
	}
	return l.out
}

type lexer struct {
	data []byte
	at   int
	out  []token
	lit  []byte
	cur  token
}

func (l *lexer) flush() {
	if len(l.lit) > 0 {
		l.cur.parts = append(l.cur.parts, part{text: string(l.lit)})
		l.lit = l.lit[:0]
	}
}

// word reads one word; the braces of ${name} belong to it.
func (l *lexer) word() {
	l.cur = token{start: l.at}
	quote := byte(0)
scan:
	for l.at < len(l.data) {
		c := l.data[l.at]
		switch {
		case quote == '\'' && c != '\'':
			l.lit = append(l.lit, c)
		case c == '\'' && quote != '"', c == '"' && quote != '\'':
			if quote == 0 {
				quote = c
			} else {
				quote = 0
			}
		case c == '\\' && l.at+1 < len(l.data):
			l.at++
			if l.data[l.at] != '\n' {
				l.lit = append(l.lit, l.data[l.at])
			}
		case c == '$' && l.variable():
			continue
		case quote == 0 && strings.IndexByte(" \t\r\n;{}|&", c) >= 0:
			break scan
		default:
			l.lit = append(l.lit, c)
		}
		l.at++
	}
	l.flush()
	l.cur.end = l.at
	l.cur.text = written(l.cur.parts)
	l.out = append(l.out, l.cur)
}

// written is a word as it stands there, without its quotes.
func written(parts []part) string {
	var b strings.Builder
	for _, p := range parts {
		if p.isV {
			b.WriteString(p.raw)
		} else {
			b.WriteString(p.text)
		}
	}
	return b.String()
}

// variable reads $name or ${name}.
func (l *lexer) variable() bool {
	rest := l.data[l.at+1:]
	n, brace := 0, len(rest) > 0 && rest[0] == '{'
	if brace {
		rest = rest[1:]
	}
	for n < len(rest) && n < 64 && (identifier(string(rest[n])) || !brace && n == 0 && rest[n] == '?') {
		n++
	}
	size := 1 + n
	if brace {
		if n >= len(rest) || rest[n] != '}' {
			return false
		}
		size += 2
	}
	if n == 0 {
		return false
	}
	l.flush()
	l.cur.parts = append(l.cur.parts, part{string(rest[:n]), true, string(l.data[l.at : l.at+size])})
	l.at += size
	return true
}
