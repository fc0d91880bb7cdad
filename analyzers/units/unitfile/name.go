package unitfile

import (
	"errors"
	"path"
	"strconv"
	"strings"
)

// maxName is UNIT_NAME_MAX of systemd.
const maxName = 255

// kinds are the suffixes of units, and whether a unit of that kind may have
// an alias.
var kinds = map[string]bool{
	"automount": false, "device": true, "mount": false, "path": true, "scope": false, "service": true,
	"slice": false, "socket": true, "swap": false, "target": true, "timer": true,
}

// configKinds are the relatives: one file of a name, no alias, no template.
var configKinds = map[string]bool{"network": true, "netdev": true, "link": true}

const nameChars = "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ:-_.\\"

// A unitName is a unit's name taken apart: prefix@instance.kind.
type unitName struct {
	prefix, instance, kind string
	at                     bool // it has an '@': a template, or an instance of one
}

func splitName(name string) (unitName, bool) {
	stem, kind, _ := cutLast(name, ".")
	n := unitName{kind: kind}
	n.prefix, n.instance, n.at = strings.Cut(stem, "@")
	_, known := kinds[kind]
	ok := known && len(name) <= maxName && n.prefix != "" &&
		strings.Trim(n.prefix, nameChars) == "" && strings.Trim(n.instance, nameChars+"@") == ""
	return n, ok
}

func cutLast(s, sep string) (before, after string, found bool) {
	if i := strings.LastIndex(s, sep); i >= 0 {
		return s[:i], s[i+len(sep):], true
	}
	return s, "", false
}

func (n unitName) String() string {
	if n.at {
		return n.prefix + "@" + n.instance + "." + n.kind
	}
	return n.prefix + "." + n.kind
}

func (n unitName) isInstance() bool { return n.at && n.instance != "" }

func (n unitName) isTemplate() bool { return n.at && n.instance == "" }

func (n unitName) template() unitName { return n.with("") }

func (n unitName) with(instance string) unitName {
	n.instance = instance
	return n
}

// isConfig reports whether name is that of a network, a link or a device.
func isConfig(name string) bool {
	return configKinds[strings.TrimPrefix(path.Ext(name), ".")] && len(name) <= maxName && !strings.Contains(name, "/")
}

// aliasOK reports whether a link of one name may stand for the unit of
// another: of one kind, and both or none with an '@'; an instance for the same
// instance or for a template, a template for a template.
func aliasOK(alias, target unitName) bool {
	switch {
	case alias.kind != target.kind || !kinds[alias.kind] || alias.at != target.at:
		return false
	case target.isInstance():
		return alias.instance == target.instance
	}
	return true
}

// Specifiers replaces the specifiers that a unit's name gives: %n and %N, the
// name with and without its kind, %p, the part before '@', %i, the instance,
// %j, what follows the last '-' of %p; %P, %I and %J are the last three
// unescaped; %% is a percent sign. Every other specifier is the machine's, and
// stays.
func Specifiers(value, name string) string {
	if !strings.Contains(value, "%") {
		return value
	}
	n, _ := splitName(name)
	var b strings.Builder
	for i := 0; i < len(value); i++ {
		if value[i] == '%' && i+1 < len(value) {
			if s, ok := n.specifier(value[i+1]); ok {
				b.WriteString(s)
				i++
				continue
			}
		}
		b.WriteByte(value[i])
	}
	return b.String()
}

// specifier returns false too where the name cannot be unescaped.
func (n unitName) specifier(c byte) (string, bool) {
	_, last, dashed := cutLast(n.prefix, "-")
	if !dashed {
		last = n.prefix
	}
	switch c {
	case '%':
		return "%", true
	case 'n':
		return n.String(), true
	case 'N':
		return strings.TrimSuffix(n.String(), "."+n.kind), true
	case 'p':
		return n.prefix, true
	case 'P':
		return unescapeName(n.prefix)
	case 'i':
		return n.instance, true
	case 'I':
		return unescapeName(n.instance)
	case 'j':
		return last, true
	case 'J':
		return unescapeName(last)
	}
	return "", false
}

// unescapeName undoes systemd-escape. go-systemd's UnitNameUnescape leaves
// bytes above \x7f escaped, so every letter outside of ASCII.
func unescapeName(s string) (string, bool) {
	var b strings.Builder
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '-':
			b.WriteByte('/')
		case '\\':
			if len(s)-i < 4 || s[i+1] != 'x' {
				return "", false
			}
			c, err := strconv.ParseUint(s[i+2:i+4], 16, 8)
			if err != nil {
				return "", false
			}
			b.WriteByte(byte(c))
			i += 3
		default:
			b.WriteByte(s[i])
		}
	}
	return b.String(), true
}

var errName = errors.New("no name of a unit, network, link or netdev")
