package timing

import (
	"bufio"
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"path"
	"slices"
	"sort"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/commands"
	"forensics/analyzers/console"
	"forensics/analyzers/serial"
)

const (
	// maxEvent bounds a line of a recording. Capture writes at most 64 KiB of
	// output in one event, each byte of it as six at most.
	maxEvent = 1 << 20
	// maxCast bounds a recording: a day of output at full speed of the line.
	maxCast = 4 << 30
	// maxCasts bounds how many recordings a run may have.
	maxCasts = 16
)

// casts takes the run's recordings. Each is one console's: the transcript beside
// it that holds the same bytes gives the stages.
func (t *Times) casts(p *analyzers.Pass) {
	n := 0
	for _, a := range p.Run.Of(bundle.Copy) {
		tr := transcriptOf(p, a)
		if tr == nil || t.mark(Cast, powerOn) != nil {
			continue
		}
		if n++; n > maxCasts {
			p.Problem(a.Path, fmt.Sprintf("more than %d recordings of consoles: not read", maxCasts))
			return
		}
		c := &cast{artifact: a, transcript: tr, wanted: wanted(p, tr)}
		err := c.read()
		if err != nil {
			p.Problem(a.Path, "times of the console: "+err.Error())
		}
		c.into(t, p, err == nil)
	}
}

// transcriptOf returns the transcript that a recording repeats, by its name:
// serial.cast is serial.log with times.
func transcriptOf(p *analyzers.Pass, a *bundle.Artifact) *console.Transcript {
	i := strings.LastIndex(a.Path, ".cast")
	if i < 0 {
		return nil
	}
	stem, packed := a.Path[:i], a.Path[i+len(".cast"):]
	for _, t := range console.From(p) {
		name := strings.TrimSuffix(t.Path, packed)
		if t.Artifact.Kind == bundle.Serial && strings.TrimSuffix(name, path.Ext(name)) == stem {
			return t
		}
	}
	return nil
}

// place is a byte of the transcript whose time is wanted.
type place struct {
	stage string
	at    int64
	ev    bundle.Evidence
}

// wanted returns where the stages begin in tr, in order of bytes. A loader names
// a file when it begins to read it: it is loaded at the end of the line.
func wanted(p *analyzers.Pass, tr *console.Transcript) []place {
	var ps []place
	for _, b := range serial.From(p) {
		if b.Path != tr.Path {
			continue
		}
		for _, s := range serial.Stages {
			if ev, ok := b.Reached[s]; ok {
				at := ev.Start
				if s == "kernel-loaded" {
					at = max(ev.Start, ev.End-1)
				}
				ps = append(ps, place{s, at, ev})
			}
		}
	}
	if ev, ok := firstCommand(p, tr.Path); ok {
		ps = append(ps, place{"shell", ev.Start, ev})
	}
	slices.SortStableFunc(ps, func(a, b place) int { return cmp.Compare(a.at, b.at) })
	return ps
}

// firstCommand returns where a shell's first command stands in the transcript.
func firstCommand(p *analyzers.Pass, transcript string) (bundle.Evidence, bool) {
	for _, d := range commands.From(p) {
		if d.Path == transcript && d.Kind == bundle.Serial && len(d.Commands) > 0 {
			return d.Commands[0].Echo, true
		}
	}
	return bundle.Evidence{}, false
}

// event is a line of a recording.
type event struct {
	at   float64
	code string
	text string
}

var errEvent = errors.New(`not an event, [seconds, "code", "text"]`)

// parseEvent reads [1.5, "o", "text"]. It takes the array apart itself: a
// recording has an event for every few bytes, and a general decoder would take
// most of the time of a comparison.
func parseEvent(line []byte) (event, error) {
	body, open := bytes.CutPrefix(bytes.TrimSpace(line), []byte("["))
	body, closed := bytes.CutSuffix(body, []byte("]"))
	number, rest, two := bytes.Cut(body, []byte(","))
	code, text, three := bytes.Cut(rest, []byte(","))
	if !open || !closed || !two || !three {
		return event{}, errEvent
	}
	at, err := strconv.ParseFloat(string(bytes.TrimSpace(number)), 64)
	if err != nil || !sane(at) {
		return event{}, errEvent
	}
	e := event{at: at}
	var ok, ok2 bool
	e.code, ok = unquote(bytes.TrimSpace(code))
	if e.text, ok2 = unquote(bytes.TrimSpace(text)); !ok || !ok2 {
		return event{}, errEvent
	}
	return e, nil
}

// unquote decodes a JSON string.
func unquote(raw []byte) (string, bool) {
	if len(raw) < 2 || raw[0] != '"' {
		return "", false
	}
	if inner := raw[1 : len(raw)-1]; raw[len(raw)-1] == '"' && isPlain(inner) {
		return string(inner), true
	}
	var s string
	err := json.Unmarshal(raw, &s)
	return s, err == nil
}

// isPlain reports whether a JSON string says what it stands for.
func isPlain(inner []byte) bool {
	for _, c := range inner {
		if c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' {
			return false
		}
	}
	return true
}

// header is the first line of a recording.
type header struct {
	Version   int   `json:"version"`
	Timestamp int64 `json:"timestamp"` // seconds since 1970, when time was 0
}

// cast reads one recording.
type cast struct {
	artifact   *bundle.Artifact
	transcript *console.Transcript
	wanted     []place

	header header
	head   bundle.Evidence // the header
	offset int64           // bytes of the transcript that were told so far
	at     float64         // time of the last event
	quiet  float64         // time of the last output
	beyond bool            // it goes on where the transcript was cut
	end    line            // the last one; its text is a copy
	marks  []Mark
	gaps   []gap
}

// line is a line of the recording, without its LF.
type line struct {
	number int
	start  int64
	text   []byte
}

func (c *cast) evidence(l line) bundle.Evidence {
	quote := bundle.Printable(string(l.text[:min(len(l.text), 4*bundle.MaxQuote)]))
	return bundle.Evidence{Path: c.artifact.Path, Line: l.number, Start: l.start, End: l.start + int64(len(l.text)), Quote: quote}
}

// gap is the longest silence of a stage.
type gap struct {
	stage   string
	seconds float64
	after   int64 // bytes of the transcript before it
	to      bundle.Evidence
}

// read goes through the recording.
func (c *cast) read() error {
	r, size, done, err := c.artifact.ReaderAt()
	if err != nil {
		return err
	}
	defer done()
	if size > maxCast {
		err = fmt.Errorf("larger than %d bytes: the rest is not read", int64(maxCast))
	}
	in := bufio.NewReaderSize(io.NewSectionReader(r, 0, min(size, maxCast)), maxEvent)
	return errors.Join(c.lines(in), err)
}

// lines reads until the end, or until something is wrong. A last line without LF
// was cut off and is no event.
func (c *cast) lines(in *bufio.Reader) error {
	var start int64
	for n := 1; ; n++ {
		text, err := in.ReadSlice('\n')
		switch {
		case errors.Is(err, io.EOF):
			return c.last()
		case errors.Is(err, bufio.ErrBufferFull):
			return fmt.Errorf("line %d: longer than %d bytes", n, maxEvent)
		case err != nil:
			return fmt.Errorf("line %d: %w", n, err)
		}
		if err := c.line(line{n, start, bytes.TrimRight(text, "\r\n")}); err != nil {
			return fmt.Errorf("line %d: %w", n, err)
		}
		start += int64(len(text))
	}
}

func (c *cast) line(l line) error {
	switch {
	case l.number == 1:
		if json.Unmarshal(l.text, &c.header) != nil || c.header.Version != 2 {
			return errors.New("not the header of an asciicast, version 2")
		}
		c.head = c.evidence(l)
	case len(l.text) == 0:
		return nil
	case !c.told():
		if err := c.event(l); err != nil {
			return err
		}
	}
	c.end = line{l.number, l.start, append(c.end.text[:0], l.text...)}
	return nil
}

func (c *cast) event(l line) error {
	e, err := parseEvent(l.text)
	if err != nil {
		return err
	}
	if e.at < c.at {
		return fmt.Errorf("time goes back from %.6f to %.6f", c.at, e.at)
	}
	if e.code == "o" {
		if err := c.output(e, l); err != nil {
			return err
		}
	}
	c.at = e.at
	return nil
}

// last takes the time of the last event: behind the shell nothing else of the
// events is wanted, and none was read.
func (c *cast) last() error {
	if !c.told() {
		return nil
	}
	e, err := parseEvent(c.end.text)
	if err != nil {
		return fmt.Errorf("line %d: %w", c.end.number, err)
	}
	c.at = max(c.at, e.at)
	return nil
}

// told reports whether the shell was reached.
func (c *cast) told() bool {
	n := len(c.marks)
	return n > 0 && c.marks[n-1].Stage == "shell"
}

// output takes bytes that the guest printed.
func (c *cast) output(e event, l line) error {
	n, same := aligned(c.transcript.Data[c.offset:], e.text)
	if !same {
		return fmt.Errorf("it prints something else than %s does at byte %d", c.transcript.Path, c.offset+int64(n))
	}
	c.silence(e.at-c.quiet, l)
	c.quiet = e.at
	for _, w := range c.wanted {
		if w.at >= c.offset && w.at < c.offset+int64(n) {
			c.marks = append(c.marks, Mark{Clock: Cast, Stage: w.stage, At: e.at, Evidence: []bundle.Evidence{w.ev, c.evidence(l)}})
		}
	}
	c.offset += int64(n)
	c.beyond = c.beyond || n < len(e.text) && c.offset == int64(len(c.transcript.Data))
	return nil
}

// silence notes that nothing was printed for so long before line to, and
// returns whether that is the longest silence of its stage.
func (c *cast) silence(seconds float64, to line) (longest *gap) {
	stage := powerOn
	for _, w := range c.wanted {
		if w.at < c.offset {
			stage = w.stage
		}
	}
	i := slices.IndexFunc(c.gaps, func(g gap) bool { return g.stage == stage })
	if i < 0 {
		i, c.gaps = len(c.gaps), append(c.gaps, gap{stage: stage, seconds: -1})
	}
	if c.gaps[i].seconds >= seconds {
		return nil
	}
	c.gaps[i] = gap{stage: stage, seconds: seconds, after: c.offset, to: c.evidence(to)}
	return &c.gaps[i]
}

// aligned returns how many of data's bytes text repeats, and whether it does as
// far as both go. A recording holds U+FFFD for each byte that is no UTF-8.
func aligned(data []byte, text string) (int, bool) {
	if len(text) <= len(data) && string(data[:len(text)]) == text {
		return len(text), true
	}
	n := 0
	for _, r := range text {
		if n == len(data) {
			return n, true // the transcript was cut
		}
		got, width := utf8.DecodeRune(data[n:])
		switch {
		case got != r && utf8.FullRune(data[n:]):
			return n, false
		case got != r: // cut within a character
			return len(data), true
		}
		n += width
	}
	return n, true
}

// into hands over what was read and, where all of it was, how long the machine
// ran.
func (c *cast) into(t *Times, p *analyzers.Pass, whole bool) {
	if c.head.Path == "" {
		return
	}
	t.Marks = append(t.Marks, Mark{Clock: Cast, Stage: powerOn, Evidence: []bundle.Evidence{c.head}})
	t.Marks = append(t.Marks, c.marks...)
	var last *gap
	if whole && !c.beyond && !c.misses() {
		last = c.ends(t, p)
	}
	for i := range c.gaps {
		g := &c.gaps[i]
		s := Span{Clock: Cast, What: Silence, Subject: g.stage, Seconds: g.seconds, Open: g == last}
		if ev, ok := before(c.transcript, g.after); ok {
			s.Evidence = append(s.Evidence, ev)
		}
		s.Evidence = append(s.Evidence, g.to)
		t.keep(s)
	}
}

// misses reports whether a stage stands in the transcript behind what the
// recording holds: it broke off, and its last stage may have been left.
func (c *cast) misses() bool {
	n := len(c.wanted)
	return !c.told() && n > 0 && c.wanted[n-1].at >= c.offset
}

// ends notes how long the machine ran: until something was printed or typed for
// the last time or, where it holds all of the transcript, until QEMU
// ended. It returns the silence at the end, if that is the longest of its stage.
func (c *cast) ends(t *Times, p *analyzers.Pass) (last *gap) {
	end := Mark{Clock: Cast, At: c.at, Evidence: []bundle.Evidence{c.evidence(c.end)}}
	all := c.offset == int64(len(c.transcript.Data))
	if ran, ev, ok := c.ran(p); ok && (all || c.told()) && ran > end.At {
		end.At, end.Evidence = ran, []bundle.Evidence{ev}
	}
	t.Ends = append(t.Ends, end)
	if c.told() || !all {
		return nil
	}
	if last = c.silence(end.At-c.quiet, c.end); last != nil {
		last.to = end.Evidence[0]
	}
	return last
}

// maxBlank is how many empty lines may stand between a silence and the text
// before it.
const maxBlank = 64

// before returns the last line with text that begins before byte at.
func before(t *console.Transcript, at int64) (bundle.Evidence, bool) {
	i := sort.Search(len(t.Lines), func(i int) bool { return t.Lines[i].Start >= at }) - 1
	for n := 0; i >= 0 && n < maxBlank; i, n = i-1, n+1 {
		if strings.TrimSpace(t.Lines[i].Text) != "" {
			return t.Evidence(&t.Lines[i]), true
		}
	}
	return bundle.Evidence{}, false
}

// ran returns how long the machine ran, by the qemu.json beside the recording:
// the time that it gives for the start is time 0 of the recording.
func (c *cast) ran(p *analyzers.Pass) (float64, bundle.Evidence, bool) {
	for _, d := range documents(p) {
		if path.Dir(d.path) != path.Dir(c.artifact.Path) {
			continue
		}
		for _, v := range d.values {
			from, err := time.Parse(time.RFC3339Nano, v.Get("started").String())
			to, err2 := time.Parse(time.RFC3339Nano, v.Get("ended").String())
			if err == nil && err2 == nil && from.Unix() == c.header.Timestamp {
				return to.Sub(from).Seconds(), d.at(v.Get("ended")), true
			}
		}
	}
	return 0, bundle.Evidence{}, false
}
