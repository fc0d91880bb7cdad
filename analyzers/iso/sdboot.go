package iso

import (
	"path"
	"strings"
)

// parseLoader reads systemd-boot's configuration (loader.conf(5) and the Boot
// Loader Specification): loader.conf and the type 1 entries.
//
// The default is a pattern for names of entries. Only a pattern that one entry
// fits is taken; without one, or with @saved, the choice rests on versions and
// EFI variables, and is taken only where there is one entry.
func parseLoader(conf *config, names []string, fs files) *menu {
	m := &menu{}
	var def value
	if conf != nil {
		conf.each(func(line string, at place) {
			key, rest := word(line)
			if key == "default" {
				def = value{rest, at}
			}
		})
	}
	for _, n := range names {
		if c := fs(n); c != nil && len(m.entries) < maxOffered {
			m.entries = append(m.entries, loaderEntry(c, strings.TrimSuffix(path.Base(n), ".conf")))
		}
	}
	var fit []*entry
	for _, e := range m.entries {
		if def.text == "" || matches(def.text, e.name) {
			fit = append(fit, e)
		}
	}
	if len(fit) == 1 {
		m.chosen = fit[0]
		if def.text != "" {
			m.by = &def.at
		}
	}
	return m
}

// matches reports whether the default's pattern fits an entry's id; both may
// be written with .conf.
func matches(pattern, name string) bool {
	for _, n := range []string{name, name + ".conf"} {
		if ok, err := path.Match(strings.ToLower(pattern), strings.ToLower(n)); ok && err == nil {
			return true
		}
	}
	return false
}

func loaderEntry(c *config, name string) *entry {
	e := &entry{name: name, at: place{c, 0, min(len(c.data), 1)}}
	c.each(func(line string, at place) {
		key, rest := word(line)
		switch key {
		case "title":
			e.at = at
		case "linux":
			e.kernel, e.kernAt = rest, at
		case "initrd":
			e.initrds = append(e.initrds, rest)
		case "options":
			if e.args == "" {
				e.argsAt = at
			}
			e.argsAt.end = at.end
			e.args = join(e.args, rest)
		case "efi", "uki":
			e.open = true
		}
	})
	return e
}
