package report

import (
	"reflect"
	"strings"
	"time"
	"unicode"

	"forensics/analyzers/bundle"
)

// Clean makes s safe to show and one line: no control bytes, no escape
// sequence, nothing that turns, hides or joins other text.
func Clean(s string) string {
	s = printable(s)
	marks := 0
	return strings.Map(func(r rune) rune {
		switch {
		case unicode.In(r, unicode.Cf, unicode.Co, unicode.Cc, unicode.Zl, unicode.Zp), filler(r):
			return -1
		case unicode.In(r, unicode.Mn, unicode.Me):
			// A letter with a tower of marks paints over the lines around it.
			if marks++; marks > 2 {
				return -1
			}
		case unicode.IsSpace(r):
			marks = 0
			return ' '
		default:
			marks = 0
		}
		return r
	}, s)
}

// maxText bounds a string in a report, in runes; quotes are far shorter.
const maxText = 4000

// printable is bundle.Printable for texts longer than a quote.
func printable(s string) string {
	var b strings.Builder
	for n := 0; s != ""; n += bundle.MaxQuote {
		if n >= maxText {
			b.WriteString(" …")
			break
		}
		cut := cutAt(s, bundle.MaxQuote)
		if b.Len() > 0 && (s[0] == ' ' || s[0] == '\n') {
			b.WriteByte(' ')
		}
		b.WriteString(bundle.Printable(s[:cut]))
		s = s[cut:]
	}
	return b.String()
}

// cutAt returns the length of the longest head of s of at most n runes that
// ends before a space, or of n runes when there is none.
func cutAt(s string, n int) int {
	runes, space := 0, 0
	for i, r := range s {
		if runes == n {
			if space > 0 {
				return space
			}
			return i
		}
		if r == ' ' || r == '\n' {
			space = i
		}
		runes++
	}
	return len(s)
}

// filler reports whether r is a letter by its class and shows nothing.
func filler(r rune) bool {
	return r == 0x115f || r == 0x1160 || r == 0x3164 || r == 0xffa0
}

// ascii is Clean for terminals that do not show UTF-8: there, some bytes of
// multi-byte letters are control codes.
func ascii(s string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < 0x80:
			return r
		case r == '…':
			return '~'
		case r == '—' || r == '–' || r == '‐':
			return '-'
		case r == '‘' || r == '’' || r == '“' || r == '”':
			return '\''
		}
		return '?'
	}, Clean(s))
}

// mapped returns a deep copy of r with f applied to every string in it.
func mapped(r *Report, f func(string) string) *Report {
	c := copyOf(reflect.ValueOf(r), f).Interface().(*Report)
	return c
}

func copyOf(v reflect.Value, f func(string) string) reflect.Value {
	c := reflect.New(v.Type()).Elem()
	switch v.Kind() {
	case reflect.String:
		c.SetString(f(v.String()))
	case reflect.Pointer, reflect.Interface:
		if v.IsNil() {
			return v
		}
		e := copyOf(v.Elem(), f)
		if v.Kind() == reflect.Interface {
			return e
		}
		c.Set(reflect.New(e.Type()))
		c.Elem().Set(e)
	case reflect.Slice:
		if v.IsNil() {
			return v
		}
		c.Set(reflect.MakeSlice(v.Type(), v.Len(), v.Len()))
		for i := range v.Len() {
			c.Index(i).Set(copyOf(v.Index(i), f))
		}
	case reflect.Map:
		if v.IsNil() {
			return v
		}
		c.Set(reflect.MakeMap(v.Type()))
		for _, k := range v.MapKeys() {
			c.SetMapIndex(copyOf(k, f), copyOf(v.MapIndex(k), f))
		}
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() {
			return v
		}
		for i := range v.NumField() {
			c.Field(i).Set(copyOf(v.Field(i), f))
		}
	default:
		return v
	}
	return c
}
