// Package tty knows what a writer deserves: whether it is a terminal, how wide,
// whether colours and more than ASCII may be written, and whether somebody is
// there to watch progress.
//
// The environment comes in as a function, so that tests need no real one.
package tty

import (
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// Terminal is what is known about a writer.
type Terminal struct {
	IsTerminal bool
	Width      int  // columns; 100 when it is no terminal
	Colour     bool // SGR sequences do what they should
	ASCII      bool // nothing but ASCII can be shown
}

const (
	defaultWidth = 100
	maxWidth     = 160 // longer lines are hard to read
)

// Of describes w in the environment env.
func Of(w io.Writer, env func(string) string) Terminal {
	t := Terminal{Width: defaultWidth}
	if f, ok := w.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		t.IsTerminal = true
		if n, _, err := term.GetSize(int(f.Fd())); err == nil && n > 0 {
			t.Width = min(n, maxWidth)
		}
	}
	dumb := env("TERM") == "dumb"
	t.Colour = colour(t.IsTerminal && !dumb, env)
	t.ASCII = dumb || !utf8Locale(env)
	return t
}

// colour applies https://no-color.org and https://force-color.org. Who asks
// for none and for some gets none.
func colour(auto bool, env func(string) string) bool {
	if env("NO_COLOR") != "" {
		return false
	}
	switch strings.ToLower(env("FORCE_COLOR")) {
	case "":
		return auto
	case "0", "false":
		return false
	}
	return true
}

// utf8Locale reports whether the locale is one of UTF-8. Where none is set at
// all (containers), terminals show UTF-8 all the same; systemd sees it so too.
func utf8Locale(env func(string) string) bool {
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if v := strings.ToLower(env(name)); v != "" {
			return strings.Contains(v, "utf-8") || strings.Contains(v, "utf8")
		}
	}
	return true
}

// Progress shows on one line how far long work is. It writes only to
// terminals, and only once the work takes longer than patience.
type Progress struct {
	mu    sync.Mutex
	w     io.Writer
	on    bool
	since time.Time
	shown int // columns of what stands on the line now
	width int
}

const patience = 500 * time.Millisecond

// NewProgress returns progress on w, which t describes.
func NewProgress(w io.Writer, t Terminal) *Progress {
	return &Progress{w: w, on: t.IsTerminal, since: time.Now(), width: t.Width}
}

// Step shows that done of all pieces are finished.
func (p *Progress) Step(what string, done, all int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if !p.on || time.Since(p.since) < patience {
		return
	}
	p.put(fmt.Sprintf("%s %d of %d", what, done, all))
}

// Line shows a text that is safe to show, cut to the terminal's width.
func (p *Progress) Line(text string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.on {
		p.put(text)
	}
}

func (p *Progress) put(s string) {
	if r := []rune(s); len(r) >= p.width {
		s = string(r[:max(p.width-1, 0)])
	}
	n := utf8.RuneCountInString(s)
	fmt.Fprintf(p.w, "\r%s%s", s, strings.Repeat(" ", max(0, p.shown-n)))
	p.shown = n
}

// Clear takes the line away until the next one.
func (p *Progress) Clear() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
}

func (p *Progress) clear() {
	if p.shown > 0 {
		fmt.Fprintf(p.w, "\r%s\r", strings.Repeat(" ", p.shown))
	}
	p.shown = 0
}

// Done takes the line away for good.
func (p *Progress) Done() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.clear()
	p.on = false
}
