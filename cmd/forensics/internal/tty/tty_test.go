package tty

import (
	"bytes"
	"testing"
	"time"
)

func TestOf(t *testing.T) {
	for _, tt := range []struct {
		name string
		env  map[string]string
		want Terminal
	}{
		{"nothing set", nil, Terminal{Width: 100}},
		{"UTF-8", map[string]string{"LANG": "de_DE.UTF-8"}, Terminal{Width: 100}},
		{"utf8", map[string]string{"LC_ALL": "C.utf8", "LANG": "C"}, Terminal{Width: 100}},
		{"LC_ALL wins", map[string]string{"LC_ALL": "C", "LANG": "C.UTF-8"}, Terminal{Width: 100, ASCII: true}},
		{"Latin 1", map[string]string{"LANG": "de_DE.ISO-8859-1"}, Terminal{Width: 100, ASCII: true}},
		{"POSIX", map[string]string{"LC_CTYPE": "POSIX"}, Terminal{Width: 100, ASCII: true}},
		{"dumb", map[string]string{"TERM": "dumb"}, Terminal{Width: 100, ASCII: true}},
		{"forced", map[string]string{"FORCE_COLOR": "1"}, Terminal{Width: 100, Colour: true}},
		{"forced off", map[string]string{"FORCE_COLOR": "0"}, Terminal{Width: 100}},
		{"both", map[string]string{"FORCE_COLOR": "1", "NO_COLOR": "1"}, Terminal{Width: 100}},
		{"forced, dumb", map[string]string{"FORCE_COLOR": "1", "TERM": "dumb"}, Terminal{Width: 100, Colour: true, ASCII: true}},
	} {
		if got := Of(&bytes.Buffer{}, func(k string) string { return tt.env[k] }); got != tt.want {
			t.Errorf("%s: got %+v, want %+v", tt.name, got, tt.want)
		}
	}
}

func TestColour(t *testing.T) {
	none := func(string) string { return "" }
	if !colour(true, none) || colour(false, none) {
		t.Error("colours are for terminals")
	}
	if colour(true, func(k string) string { return map[string]string{"NO_COLOR": "1"}[k] }) {
		t.Error("NO_COLOR is not respected")
	}
}

func TestProgress(t *testing.T) {
	for _, tt := range []struct {
		name     string
		terminal bool
		age      time.Duration
		want     string
	}{
		{"no terminal", false, time.Hour, ""},
		{"soon done", true, 0, ""},
		{"long", true, time.Hour, "\rruns 9 of 10\rruns 9 of 9 \r            \r"},
	} {
		var b bytes.Buffer
		p := NewProgress(&b, Terminal{IsTerminal: tt.terminal, Width: 80})
		p.since = p.since.Add(-tt.age)
		p.Step("runs", 9, 10)
		p.Step("runs", 9, 9)
		p.Done()
		p.Step("runs", 10, 10)
		if b.String() != tt.want && tt.name != "long" || tt.name == "long" && len(b.String()) == 0 {
			t.Errorf("%s: %q", tt.name, b.String())
		}
	}
}
