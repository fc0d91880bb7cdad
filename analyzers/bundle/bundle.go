// Package bundle finds runs in a tree of files and gives access to their
// artifacts.
//
// A run is one boot of one virtual machine. An artifact is one file that the
// run left behind: raw bytes, never changed. Evidence is a span of those bytes
// with a printable quote; everything that the program claims about a run
// points back to evidence.
//
// What an artifact is, is decided by its content; its name only breaks ties
// (captures are known to lie about their names). Find groups files into runs
// by the rules that stand above it.
//
// A directory may be packed. An archive (tar, plain or compressed, or zip, told
// by content) counts as a directory of its name and "!", so that paths read
// "boots.tar.gz!/2026-11-23/serial.log"; package archive says how it is read.
// A transcript in it makes it a run of its own. An archive without one belongs
// to the run that it stands in, as a directory below would. What merely repeats
// files that stand unpacked counts once. A single compressed file
// ("serial.log.gz") is an artifact whose content, size, digest and offsets are
// those of what it holds.
//
// The package reads through an fs.FS that the caller roots (os.Root.FS keeps
// symbolic links from leaving it); it has no other door to the world. Files
// over MaxText are not read as text, and the report says so. Nothing is unpacked
// to disk.
package bundle

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"path"
	"slices"
	"sort"
	"strings"
	"sync"
	"time"
	"unicode/utf8"
	"unsafe"

	"forensics/analyzers/bundle/archive"
)

// MaxText is the largest artifact that is read as text, in bytes.
const MaxText = 64 << 20

// MaxQuote bounds a quote, in runes.
const MaxQuote = 240

// maxShown is how much of a span is looked at for its quote.
const maxShown = 16 << 10

// Kind names what an artifact's content is.
type Kind string

// The kinds of artifact. Analyzers read them but for Excerpt, Report, Copy,
// Binary and Empty, which are listed only.
const (
	Serial   Kind = "serial"         // bytes of a serial console, boot loader to shell
	Journal  Kind = "journal"        // journalctl text: short, json or export form
	Capture  Kind = "capture"        // answers of commands, as a harness saved them
	Harness  Kind = "harness"        // what the driver of the console logged
	Metadata Kind = "metadata"       // JSON about the image, QEMU and the times
	BuildLog Kind = "build-log"      // output of nix build
	Dmesg    Kind = "dmesg"          // kernel ring buffer as text
	Probe    Kind = "probe"          // JSON records of host or guest probes
	Manifest Kind = "manifest"       // manifest.json of a captured bundle
	Driver   Kind = "driver-log"     // consoles of several machines, as a test driver mixed them
	Excerpt  Kind = "excerpt"        // repeats a part of another artifact of the run
	Copy     Kind = "copy"           // kept for people in a captured bundle: repeats what is read elsewhere
	Report   Kind = "report"         // prose that a person wrote: decides nothing
	ISO      Kind = "iso"            // an ISO 9660 image
	Access   Kind = "access"         // how a capture came to the guest's shell
	Promises Kind = "promises"       // what an image promises, as capture recorded it
	NativeJ  Kind = "journal-native" // a binary journal file
	Archive  Kind = "archive"        // a tar or zip file: its members are artifacts of their own
	Binary   Kind = "binary"         // anything else that is not text
	Empty    Kind = "empty"          // no bytes
	Unknown  Kind = "unknown"        // text of no known kind; an answer of a command may look so, and is read as one
)

// CopiesDir is where a captured bundle keeps texts of the image. They are not
// read: what they promise stands in the promises, and a unit file is not the
// answer of a command.
const CopiesDir = "iso/files"

// Artifact is one file of a run.
type Artifact struct {
	Path string // slash path relative to the run's directory
	Kind Kind
	Size int64

	fsys   fs.FS
	name   string // path within fsys
	packed bool   // the file is compressed

	once sync.Once
	data []byte
	err  error

	summed sync.Once
	sum    string
}

// NewArtifact returns an artifact that holds data, for tests and for artifacts
// that do not come from a file.
func NewArtifact(name string, kind Kind, data []byte) *Artifact {
	a := &Artifact{Path: name, Kind: kind, Size: int64(len(data)), data: data}
	a.once.Do(func() {})
	return a
}

// Bytes returns the artifact's content. It fails when the file cannot be read
// or is larger than MaxText. The caller must not change the bytes.
func (a *Artifact) Bytes() ([]byte, error) {
	a.once.Do(func() {
		if a.Size > MaxText {
			a.err = fmt.Errorf("%d bytes: larger than the %d that are read as text", a.Size, MaxText)
			return
		}
		f, err := a.fsys.Open(a.name)
		if err != nil {
			a.err = plain(err)
			return
		}
		defer f.Close()
		a.data, a.err = readAll(f, a.Size)
		if a.err == nil && len(a.data) > MaxText {
			a.data, a.err = nil, fmt.Errorf("larger than the %d bytes that are read as text", MaxText)
		}
		a.err = plain(a.err)
	})
	return a.data, a.err
}

// readAll reads r to its end, or a byte more than MaxText of it. It makes room
// for size bytes at once, as growing to them needs twice the memory; a size that
// lies keeps none.
func readAll(r io.Reader, size int64) ([]byte, error) {
	var b bytes.Buffer
	b.Grow(int(min(max(size, 0), MaxText)) + bytes.MinRead)
	_, err := b.ReadFrom(io.LimitReader(r, MaxText+1))
	if b.Len() < b.Cap()/2 {
		return bytes.Clone(b.Bytes()), err
	}
	return b.Bytes(), err
}

// Text returns data as a string without copying it. Nobody may change data from
// then on, as nobody may change an artifact's bytes.
func Text(data []byte) string { return unsafe.String(unsafe.SliceData(data), len(data)) }

// ReaderAt opens the artifact for reading at any offset and returns its size.
// The caller calls done when it has read. It is for artifacts that may be
// larger than memory; where the file system only reads from the start, it is as
// Bytes.
func (a *Artifact) ReaderAt() (r io.ReaderAt, size int64, done func() error, err error) {
	if a.fsys != nil {
		f, err := a.fsys.Open(a.name)
		if err != nil {
			return nil, 0, nil, plain(err)
		}
		if r, ok := f.(io.ReaderAt); ok {
			info, err := f.Stat()
			if err != nil {
				f.Close()
				return nil, 0, nil, plain(err)
			}
			return r, info.Size(), f.Close, nil
		}
		f.Close()
		if a.Size > MaxText {
			return nil, 0, nil, archive.ErrPacked
		}
	}
	data, err := a.Bytes()
	if err != nil {
		return nil, 0, nil, err
	}
	return bytes.NewReader(data), int64(len(data)), func() error { return nil }, nil
}

// SHA256 returns the content's digest in hexadecimal, "" when it cannot be
// read. It streams, so that images do not have to fit in memory. It must not run
// at the same time as the first call of Bytes.
func (a *Artifact) SHA256() string {
	a.summed.Do(func() { a.sum = a.digest() })
	return a.sum
}

func (a *Artifact) digest() string {
	h := sha256.New()
	if a.data != nil || a.fsys == nil {
		if a.err != nil {
			return ""
		}
		h.Write(a.data)
		return hex.EncodeToString(h.Sum(nil))
	}
	f, err := a.fsys.Open(a.name)
	if err != nil {
		return ""
	}
	defer f.Close()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// plain drops the path that fs puts into its errors: the report names the
// artifact itself, and a caller's directory is nobody else's business.
func plain(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// Evidence is a span of an artifact's raw bytes.
type Evidence struct {
	Path  string `json:"path"`
	Line  int    `json:"line"`  // 1 + the LFs before Start, as grep -n counts
	Start int64  `json:"start"` // first byte
	End   int64  `json:"end"`   // first byte after
	Quote string `json:"quote"` // printable: see Printable
}

// Detached returns ev with a quote of its own. An artifact's text is in memory as a
// whole as long as any part of it is: what outlives the artifacts is detached.
func (ev Evidence) Detached() Evidence {
	ev.Quote = strings.Clone(ev.Quote)
	return ev
}

// Under returns a copy of evidence with a directory before its paths, to tell
// apart that of several runs.
func Under(dir string, evidence []Evidence) []Evidence {
	evidence = slices.Clone(evidence)
	for i := range evidence {
		evidence[i].Path = dir + "/" + evidence[i].Path
	}
	return evidence
}

// Printable makes artifact bytes safe to show: escape sequences and control
// characters are dropped or shown as U+FFFD, white space is folded, and the
// result is cut at MaxQuote runes. Bidirectional overrides go too: they can
// make a terminal or page show something else than what is there.
func Printable(s string) string { return PrintableAs(s, "") }

// PrintableAs is Printable. Where that is the same as text, which may be in memory
// already, it is text.
func PrintableAs(s, text string) string {
	s = strings.Trim(s, " \t\r\n")
	if shownAsIs(s) {
		return s
	}
	var room [(MaxQuote + 1) * utf8.UTFMax]byte
	b := appendShown(room[:0], s)
	if string(b) == text {
		return text
	}
	return string(b)
}

// appendShown appends what Printable makes of any string.
func appendShown(b []byte, s string) []byte {
	n, space := 0, false
	for i := 0; i < len(s); {
		r, w := rune(s[i]), 1
		if r >= utf8.RuneSelf {
			r, w = utf8.DecodeRuneInString(s[i:])
		}
		if r == 0x1b {
			i += escapeLen(s[i:])
			continue
		}
		i += w
		switch {
		case r > ' ' && r < 0x7f:
		case r == ' ' || r == '\t' || r == '\n' || r == '\r' || r == 0xa0:
			space = len(b) > 0
			continue
		case r < 0x20 || r >= 0x7f && r < 0xa0:
			continue
		case r == utf8.RuneError && w == 1:
			r = '\uFFFD'
		case invisible(r):
			continue
		}
		if space {
			b = append(b, ' ')
			n++
			space = false
		}
		if n >= MaxQuote {
			return append(b, "…"...)
		}
		b = utf8.AppendRune(b, r)
		n++
	}
	return b
}

// shownAsIs reports whether Printable leaves s as it is. Most lines are such, and
// quotes of them need no memory of their own.
func shownAsIs(s string) bool {
	if len(s) > MaxQuote*utf8.UTFMax {
		return false
	}
	n, blank := 0, false
	for i := 0; i < len(s); n++ {
		c := s[i]
		if c > ' ' && c < 0x7f {
			blank = false
			i++
			continue
		}
		if c == ' ' && blank || c < 0x20 || c == 0x7f {
			return false
		}
		blank = c == ' '
		if c < utf8.RuneSelf {
			i++
			continue
		}
		r, w := utf8.DecodeRuneInString(s[i:])
		if r <= 0xa0 || r == utf8.RuneError && w == 1 || invisible(r) {
			return false
		}
		i += w
	}
	return n <= MaxQuote
}

// invisible reports whether r changes how other text is shown without showing
// anything itself.
func invisible(r rune) bool {
	switch {
	case r >= 0x200b && r <= 0x200f, r >= 0x202a && r <= 0x202e, r >= 0x2060 && r <= 0x206f, r == 0xfeff, r >= 0xe0000 && r <= 0xe0fff, r == 0x2028, r == 0x2029:
		return true
	}
	return false
}

// escapeLen returns the length of the escape sequence that s starts with. An
// unterminated one ends at the line end, so that nothing swallows a log.
func escapeLen(s string) int {
	if len(s) < 2 {
		return len(s)
	}
	switch s[1] {
	case '[':
		for i := 2; i < len(s); i++ {
			if c := s[i]; c >= 0x40 && c <= 0x7e {
				return i + 1
			} else if c < 0x20 {
				return i
			}
		}
		return len(s)
	case ']', 'P', '^', '_', 'X':
		for i := 2; i < len(s); i++ {
			switch {
			case s[i] == 7:
				return i + 1
			case s[i] == 0x1b && i+1 < len(s) && s[i+1] == '\\':
				return i + 2
			case s[i] == '\n':
				return i
			}
		}
		return len(s)
	case '(', ')', '*', '+', '%', '#', ' ':
		return min(3, len(s))
	}
	return 2
}

// LineIndex finds line numbers of byte offsets.
type LineIndex struct{ starts []int64 }

// NewLineIndex indexes data.
func NewLineIndex(data []byte) *LineIndex {
	x := &LineIndex{starts: make([]int64, 1, bytes.Count(data, []byte{'\n'})+1)}
	for i := 0; ; {
		j := bytes.IndexByte(data[i:], '\n')
		if j < 0 {
			return x
		}
		i += j + 1
		x.starts = append(x.starts, int64(i))
	}
}

// Line returns the number of the line that holds offset, from 1.
func (x *LineIndex) Line(offset int64) int {
	return sort.Search(len(x.starts), func(i int) bool { return x.starts[i] > offset })
}

// Span returns evidence for data[start:end] of the artifact at p.
func Span(p string, data []byte, x *LineIndex, start, end int64) Evidence {
	start = min(max(start, 0), int64(len(data)))
	end = min(max(end, start), int64(len(data)))
	shown := data[start:min(end, start+maxShown)]
	return Evidence{Path: p, Line: x.Line(start), Start: start, End: end, Quote: Printable(Text(shown))}
}

// Problem is something about the input that the reader of a report must know.
type Problem struct {
	Path string `json:"path"`
	Text string `json:"text"`
}

// Run is one boot.
type Run struct {
	ID        string    // last element of Path
	Path      string    // directory or archive, or that plus common prefix
	Dir       string    // what the artifacts' paths are relative to
	Archive   string    // the archive that holds the run, "" when none does
	Started   time.Time // by the host's clock: metadata, manifest, a harness's log; zero when none tells
	Named     time.Time // in the name, of the start or of a copy; zero when there is none
	Artifacts []*Artifact
	Problems  []Problem
}

// Of returns the run's artifacts of the given kinds, in path order.
func (r *Run) Of(kinds ...Kind) []*Artifact {
	var as []*Artifact
	for _, a := range r.Artifacts {
		for _, k := range kinds {
			if a.Kind == k {
				as = append(as, a)
				break
			}
		}
	}
	return as
}

// Artifact returns the artifact at path p, nil when there is none.
func (r *Run) Artifact(p string) *Artifact {
	for _, a := range r.Artifacts {
		if a.Path == p {
			return a
		}
	}
	return nil
}

func cleanID(p string) string {
	id := path.Base(p)
	if id == "." || id == "/" {
		return "run"
	}
	return id
}
