package console

import (
	"bytes"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"forensics/analyzers/bundle"
)

func FuzzDecode(f *testing.F) {
	for i, c := range cases {
		if len(c.in) < 1000 {
			f.Add([]byte(c.in), uint16(i))
		}
	}
	f.Fuzz(func(t *testing.T, data []byte, cut uint16) {
		tr := Decode(bundle.NewArtifact("x", bundle.Serial, data), data)
		checkLines(t, tr)
		for i := range tr.Lines {
			checkLine(t, tr, &tr.Lines[i])
		}
		checkPrefix(t, tr, int(cut))
	})
}

// checkLines: the lines cover the data.
func checkLines(t *testing.T, tr *Transcript) {
	want := bytes.Count(tr.Data, []byte("\n"))
	if n := len(tr.Data); n > 0 && tr.Data[n-1] != '\n' {
		want++
	}
	if len(tr.Lines) != want {
		t.Fatalf("%d lines, want %d", len(tr.Lines), want)
	}
	at := int64(0)
	for i, l := range tr.Lines {
		if l.Number != i+1 || l.Start != at || l.End <= l.Start {
			t.Fatalf("line %d is number %d, %d to %d; want a start at %d", i+1, l.Number, l.Start, l.End, at)
		}
		at = l.End
	}
	if at != int64(len(tr.Data)) {
		t.Fatalf("lines end at %d of %d", at, len(tr.Data))
	}
}

// checkLine: text is printable, spans lie within the piece, and within the
// order of the bytes where nothing moved the cursor.
func checkLine(t *testing.T, tr *Transcript, l *Line) {
	if len(l.Pieces) == 0 || l.Typed && l.TypedFrom >= 0 || l.TypedFrom > len(l.Pieces[len(l.Pieces)-1].Text) {
		t.Fatalf("line %d: %+v", l.Number, l)
	}
	raw := tr.Data[l.Start:contentEnd(tr.Data, l)]
	still := !bytes.ContainsAny(raw, "\r\b\x1b")
	if l.Number == 1 && tr.Machine == "" && !tr.EscapesLost && utf8.Valid(raw) && bytes.IndexFunc(raw, unicode.IsControl) < 0 && l.Text != string(raw) {
		t.Fatalf("text %q of %q", l.Text, raw)
	}
	at := l.Start
	for i := range l.Pieces {
		p := &l.Pieces[i]
		if p.Start() < at || p.End() < p.Start() || p.End() > l.End {
			t.Fatalf("line %d: piece %d is %d to %d", l.Number, i, p.Start(), p.End())
		}
		at = p.End()
		checkText(t, tr, p, still)
	}
	if strings.IndexFunc(l.Text, unicode.IsControl) >= 0 || !utf8.ValidString(l.Text) {
		t.Fatalf("line %d: text %q", l.Number, l.Text)
	}
}

func checkText(t *testing.T, tr *Transcript, p *Piece, still bool) {
	if strings.IndexFunc(p.Text, unicode.IsControl) >= 0 || !utf8.ValidString(p.Text) {
		t.Fatalf("text %q", p.Text)
	}
	was := p.Start()
	for j := 0; j <= len(p.Text); j++ {
		start, end := tr.rawSpan(p, j, j+1)
		if start < p.Start() || end > p.End() || end < start || still && start < was {
			t.Fatalf("byte %d of %q is raw %d to %d, in a piece %d to %d, after %d", j, p.Text, start, end, p.Start(), p.End(), was)
		}
		was = start
	}
	if start, end := tr.rawSpan(p, 0, len(p.Text)); start < p.Start() || end > p.End() || end < start {
		t.Fatalf("%q is raw %d to %d", p.Text, start, end)
	}
}

// checkPrefix: what was decoded of a part stays so when more is known, as long
// as that tells the same of the whole. Where CRs were lost, the direction of a
// line hangs on the next one.
func checkPrefix(t *testing.T, tr *Transcript, cut int) {
	if len(tr.Data) == 0 {
		return
	}
	data := tr.Data[:cut%len(tr.Data)]
	part := Decode(bundle.NewArtifact("x", bundle.Serial, data), data)
	if part.crlf != tr.crlf || part.CRsLost != tr.CRsLost || part.EscapesLost != tr.EscapesLost || part.Machine != tr.Machine {
		return
	}
	complete := bytes.Count(data, []byte("\n"))
	for i := range part.Lines[:complete] {
		got, want := show(&part.Lines[i]), show(&tr.Lines[i])
		if tr.CRsLost && i == complete-1 {
			got, want = part.Lines[i].Text, tr.Lines[i].Text
		}
		if got != want || part.Lines[i].Text != tr.Lines[i].Text {
			t.Fatalf("line %d: %s, of the first %d bytes %s", i+1, want, len(data), got)
		}
	}
}

// synthetic returns a transcript of about n bytes: boot, shell dialogue, menu.
func synthetic(n int) []byte {
	const part = "\x1b[2J\x1b[1;1H\x1b)0\x1b[0;30;44m\x0elqqqqqqqqqqqqk\x1b[2;1Hx\x0f Boot menu  \x0ex\x0f\r\r\n" +
		"[    0.090118] On node 0, zone DMA: 1 pages in unavailable ranges\r\r\n" +
		"[\x1b[0;32m  OK  \x1b[0m] Finished \x1b[0;1;39mColdplug All udev Devices\x1b[0m.\r\r\r\n" +
		"\x1bM\r\r\x1b[K[\x1b[0;31m*\x1b[0;1;31m*\x1b[0m    ] A start job is running for /dev/ttyS0 (25s / 1min 30s)\r\r\r\n" +
		"rcu: \tRCU restricting CPUs from NR_CPUS=384 to nr_cpu_ids=2.\r\r\n" +
		"cat /run/state 2>/dev/null || true\r\r\n" +
		"\x1b[?2004l\r\x1b[?2004hX> cat /run/state 2>/dev/null || true\n" +
		"● x.service - Some unit with a description that goes on for a while\r\r\n" +
		"Oct 12 01:16:22 host app[803]: {\"command\": [\"ip\", \"link\", \"set\", \"lan\", \"up\"], \"event\": \"finished\", \"status\": \"success\"}\r\r\n"
	return []byte(strings.Repeat(part, n/len(part)+1))
}

func BenchmarkDecode(b *testing.B) {
	data := synthetic(10 << 20)
	a := bundle.NewArtifact("x", bundle.Serial, data)
	b.Run("Decode", func(b *testing.B) {
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			Decode(a, data)
		}
	})
	// The peer drops escapes; it has no rows, spans or lines.
	b.Run("ansi.Strip", func(b *testing.B) {
		text := string(data)
		b.SetBytes(int64(len(data)))
		b.ReportAllocs()
		for b.Loop() {
			ansi.Strip(text)
		}
	})
}
