package iso

import (
	"path"
	"strings"
)

// isolinux reads a configuration of the Syslinux family (doc/syslinux.txt and
// doc/menu.txt there): a directive a line, in any case of letters.
//
// Which entry starts by itself: without a menu program DEFAULT alone says it.
// With one (UI, or a DEFAULT that names one) it is the entry marked MENU
// DEFAULT, else the one that DEFAULT names, else the first. Where these
// disagree, or ONTIMEOUT names another, nothing is said.
type isolinux struct {
	files    files
	includes int
	reading  map[string]bool // files that include the next one
	offered  []*label
	by       map[string]*label
	cur      *label // nil before the first LABEL
	global   value  // APPEND before the first LABEL
	def      value
	ui       bool
	marked   *label // MENU DEFAULT of the first menu
	marks    int
	timeout  value
	depth    int // of MENU BEGIN
	help     bool
}

// label is an entry as it is read.
type label struct {
	entry
	appendAt  place
	hasAppend bool
	submenu   bool
	hidden    bool
}

// value is a directive's argument and where the directive stands.
type value struct {
	text string
	at   place
}

// parseIsolinux reads the menu that starts in c.
func parseIsolinux(c *config, fs files) *menu {
	p := &isolinux{files: fs, by: map[string]*label{}, reading: map[string]bool{}}
	p.file(c, 0)
	m := &menu{}
	for _, l := range p.offered {
		p.finish(l)
		m.entries = append(m.entries, &l.entry)
	}
	p.choose(m)
	return m
}

func (p *isolinux) file(c *config, depth int) {
	if p.includes++; p.includes > maxIncludes || depth > maxIncluded || p.reading[c.path] {
		return
	}
	p.reading[c.path] = true
	defer delete(p.reading, c.path)
	c.each(func(line string, at place) { p.line(line, at, depth) })
}

// word splits the first word, in lower case, from the rest.
func word(line string) (string, string) {
	i := strings.IndexAny(line, " \t")
	if i < 0 {
		return strings.ToLower(line), ""
	}
	return strings.ToLower(line[:i]), strings.TrimSpace(line[i:])
}

func (p *isolinux) line(line string, at place, depth int) {
	key, rest := word(line)
	if p.help {
		p.help = key != "endtext"
		return
	}
	switch key {
	case "text":
		k, _ := word(rest)
		p.help = k == "help"
	case "label":
		p.label(rest, at)
	case "default":
		p.def = value{rest, at}
		p.ui = p.ui || isMenu(rest)
	case "ui":
		p.ui = true
	case "ontimeout":
		p.timeout = value{rest, at}
	case "include":
		p.include(rest, at, depth)
	case "menu":
		p.menu(rest, at, depth)
	case "append":
		p.appended(rest, at)
	case "kernel", "linux", "localboot", "initrd", "com32", "config", "boot", "bss", "pxe", "fdimage", "comboot":
		if p.cur != nil {
			p.cur.directive(key, rest, at)
		}
	}
}

func (p *isolinux) label(name string, at place) {
	p.cur = nil
	if name == "" || len(p.offered) >= maxOffered {
		return
	}
	p.cur = &label{entry: entry{name: name, at: at}, submenu: p.depth > 0}
	p.offered = append(p.offered, p.cur)
	if p.by[name] == nil {
		p.by[name] = p.cur
	}
}

func (l *label) directive(key, rest string, at place) {
	switch key {
	case "kernel", "linux":
		l.kernel, l.kernAt = rest, at
		l.open = strings.ContainsAny(rest, " \t") || key == "kernel" && isModule(rest)
	case "initrd":
		l.initrds = strings.FieldsFunc(rest, func(r rune) bool { return r == ',' || r == ' ' })
	default:
		l.open = true // starts something that is no kernel
	}
}

// isModule reports whether Syslinux runs a file as something else than a
// kernel, as KERNEL does by the name's end.
func isModule(name string) bool {
	switch strings.ToLower(path.Ext(name)) {
	case ".c32", ".cbt", ".com", ".bs", ".bin", ".bss", ".img", ".0":
		return true
	}
	return false
}

// isMenu reports whether a DEFAULT starts a menu program.
func isMenu(s string) bool {
	f, _ := word(s)
	base := strings.TrimSuffix(path.Base(f), ".c32")
	return base == "menu" || base == "vesamenu" || base == "gfxboot"
}

func (p *isolinux) appended(rest string, at place) {
	if p.cur == nil {
		p.global = value{rest, at}
		return
	}
	p.cur.hasAppend, p.cur.args, p.cur.appendAt = true, rest, at
}

func (p *isolinux) menu(rest string, at place, depth int) {
	key, arg := word(rest)
	switch key {
	case "begin":
		p.depth++
		p.cur = nil
	case "end":
		p.depth = max(0, p.depth-1)
		p.cur = nil
	case "include":
		p.include(arg, at, depth)
	case "goto", "exit", "quit", "disabled", "disable":
		if p.cur != nil {
			p.cur.open = true
		}
	case "hide":
		if p.cur != nil {
			p.cur.hidden = true
		}
	case "default":
		if p.cur != nil && !p.cur.submenu {
			if p.marked != p.cur {
				p.marks++
			}
			p.marked = p.cur
		}
	}
}

// include reads another file; names are relative to the first one's folder.
func (p *isolinux) include(rest string, at place, depth int) {
	name, _, _ := strings.Cut(rest, " ")
	if name == "" {
		return
	}
	if !strings.HasPrefix(name, "/") {
		name = path.Join(at.file.dir, name)
	}
	if c := p.files(name); c != nil {
		c.dir = at.file.dir
		p.file(c, depth+1)
	}
}

// finish gives l the arguments that hold for all, and takes initrd= from them.
func (p *isolinux) finish(l *label) {
	switch {
	case l.hasAppend && l.args == "-":
		l.args = ""
	case l.hasAppend:
		l.argsAt = l.appendAt
	case p.global.at.file != nil && p.global.text != "-":
		l.args, l.argsAt = p.global.text, p.global.at
	}
	for _, a := range strings.Fields(l.args) {
		if v, ok := strings.CutPrefix(a, "initrd="); ok {
			l.initrds = append(l.initrds, strings.Split(v, ",")...)
		}
	}
}

// choose finds the entry that starts by itself.
func (p *isolinux) choose(m *menu) {
	named, extra := p.named(p.def.text)
	chosen, by := named, p.def
	if p.ui {
		switch {
		case p.marks > 1, p.marked != nil && named != nil && p.marked != named:
			return
		case p.marked != nil:
			chosen, extra, by = p.marked, "", value{}
		case named == nil && p.def.text != "" && !isMenu(p.def.text):
			return // names what is not there
		case named == nil:
			chosen, by = p.first(), value{}
		}
	}
	if p.timeout.text != "" {
		if other, more := p.named(p.timeout.text); other != chosen || more != extra {
			return
		}
	}
	if chosen == nil {
		return
	}
	m.chosen, m.extra = &chosen.entry, extra
	if by.at.file != nil {
		m.by = &by.at
	}
}

// named returns the entry that a command line starts, and the arguments that
// it adds.
func (p *isolinux) named(line string) (*label, string) {
	if l := p.by[line]; l != nil {
		return l, ""
	}
	name, args, _ := strings.Cut(line, " ")
	return p.by[name], strings.TrimSpace(args)
}

// first returns the first entry of the first menu.
func (p *isolinux) first() *label {
	for _, l := range p.offered {
		if !l.submenu && !l.hidden {
			return l
		}
	}
	return nil
}
