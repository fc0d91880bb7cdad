package probe

import (
	"fmt"
	"os/exec"
	"regexp"
	"slices"
	"strings"
)

// Skip is a probe that was left out.
type Skip struct {
	Spec Spec
	Why  string
}

// Optional returns the names of the parameters that a capture may set: those
// of the run, not of the profile.
func Optional() []string {
	return []string{
		"flake",      // what nix evaluates
		"image",      // the disk image that the guest gets
		"result",     // the directory that holds the build's image
		"store-path", // the path in nix's store that holds the image
		"commands",   // programs that the guest must have
	}
}

// Fill puts the values of params into the commands. A probe whose parameters
// have no value is left out, one whose values may not stand in a command, and a
// host probe whose tool is not on PATH. Whether a guest has a probe's tool, only
// the guest can say.
func Fill(list []Spec, params map[string][]string) (ready []Spec, left []Skip) {
	for _, s := range list {
		if s.Where == Host && s.Tool != "" {
			if _, err := exec.LookPath(s.Tool); err != nil {
				left = append(left, Skip{s, s.Tool + " is not on PATH"})
				continue
			}
		}
		filled, err := s.fill(params)
		if err != nil {
			left = append(left, Skip{s, err.Error()})
			continue
		}
		ready = append(ready, filled)
	}
	return ready, left
}

func (s Spec) fill(params map[string][]string) (Spec, error) {
	argv := make([]string, 0, len(s.Argv))
	for i, word := range s.Argv {
		words, err := fillWord(word, params, s.Script && i == len(s.Argv)-1)
		if err != nil {
			return s, err
		}
		argv = append(argv, words...)
	}
	s.Argv = argv
	return s, nil
}

// fillWord replaces the parameters in one word. A script stays one word, with
// all values of a parameter; an argument that is nothing but a parameter
// becomes as many arguments as it has values, elsewhere the first one counts.
func fillWord(word string, params map[string][]string, script bool) ([]string, error) {
	ps := pieces(word)
	var b strings.Builder
	for _, p := range ps {
		if p.param == "" {
			b.WriteString(p.text)
			continue
		}
		values := params[p.param]
		if len(values) == 0 || slices.Contains(values, "") {
			return nil, fmt.Errorf("parameter %s has no value", p.param)
		}
		for _, v := range values {
			if err := checkValue(v); err != nil {
				return nil, fmt.Errorf("parameter %s: %q %w", p.param, v, err)
			}
		}
		switch {
		case script:
			quoted := make([]string, len(values))
			for i, v := range values {
				quoted[i] = quote(v)
			}
			b.WriteString(strings.Join(quoted, " "))
		case len(ps) == 1:
			return slices.Clone(values), nil
		default:
			b.WriteString(values[0])
		}
	}
	return []string{b.String()}, nil
}

// checkValue refuses what could be more than a name: an option, or a second
// line at a console.
func checkValue(v string) error {
	if strings.HasPrefix(v, "-") {
		return fmt.Errorf("could be taken for an option")
	}
	if strings.ContainsFunc(v, func(r rune) bool { return r < ' ' || r == 0x7f }) {
		return fmt.Errorf("has a control character")
	}
	return nil
}

// plainRe is what no POSIX shell takes for more than itself.
var plainRe = regexp.MustCompile(`^[A-Za-z0-9_@%+,./:=-]+$`)

// quote quotes a word for a POSIX shell, where it must be.
func quote(s string) string {
	if plainRe.MatchString(s) {
		return s
	}
	return "'" + strings.ReplaceAll(s, "'", `'\''`) + "'"
}

// piece is a run of text, or a parameter.
type piece struct {
	text   string
	param  string
	quoted bool // it stands within quotes, as a shell sees it
}

// paramRe is a parameter. Shells have names in lower case too, but not with
// braces in our lists: write $name for those.
var paramRe = regexp.MustCompile(`^\$\{([a-z][a-z0-9-]*)\}`)

// pieces takes a text apart at its parameters.
func pieces(text string) []piece {
	var ps []piece
	start, quote := 0, byte(0)
	for i := 0; i < len(text); {
		c := text[i]
		if m := paramRe.FindStringSubmatch(text[i:]); m != nil {
			if start < i {
				ps = append(ps, piece{text: text[start:i]})
			}
			ps = append(ps, piece{param: m[1], quoted: quote != 0 || i > 0 && text[i-1] == '\\'})
			i += len(m[0])
			start = i
			continue
		}
		switch {
		case c == '\\' && quote != '\'':
			i++ // the next one means itself
			if i < len(text) && text[i] == '$' {
				i-- // but a parameter is found even there, and refused
			}
		case quote == 0 && (c == '\'' || c == '"'):
			quote = c
		case c == quote:
			quote = 0
		}
		i++
	}
	if start < len(text) {
		ps = append(ps, piece{text: text[start:]})
	}
	return ps
}
