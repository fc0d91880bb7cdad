package journal

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"time"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/journal/native"
)

// The bounds of reading one machine's native files. What is over maxEntries or
// maxText goes from the old end: what holds at last stands at the new one.
const (
	maxFiles   = 64
	maxEntries = 300_000
	maxText    = 64 << 20 // bytes of messages
	maxCache   = 32 << 20 // of all files together
	minCache   = 256 << 10
	work       = 1 << 30 // see native.Limits, and eight times the file
)

// readNative reads the run's native files, a Log for each machine whose journal
// the kernels on the console do not contradict.
func readNative(p *analyzers.Pass, shown *kernels) []*Log {
	files := openAll(p)
	defer func() {
		for _, f := range files {
			f.close()
		}
	}()
	var order []native.ID
	by := map[native.ID]*machine{}
	for _, f := range files {
		id := f.journal.Header.Machine
		if by[id] == nil {
			by[id] = &machine{max: maxEntries, maxText: maxText, log: &Log{Path: f.path, Kind: bundle.NativeJ, Form: formNative}}
			order = append(order, id)
		}
		by[id].files = append(by[id].files, f)
	}
	var logs []*Log
	for _, id := range order {
		m := by[id]
		m.merge()
		m.tell(p)
		if ofThisBoot(p, m.log, shown) {
			logs = append(logs, m.log)
		}
	}
	// A second machine id in the same boot is the guest's own, from before its
	// /etc was there. In another boot it is another machine's, say the host's,
	// and what that one says must not count for the guest.
	for _, l := range logs[min(1, len(logs)):] {
		if !slices.ContainsFunc(boots(l.Entries), func(b string) bool { return slices.Contains(boots(logs[0].Entries), b) }) {
			for _, l := range logs {
				p.Problem(l.Path, fmt.Sprintf("native journals of %d machines: which is the guest's is not shown, so none counts; analyze the guest's alone", len(logs)))
			}
			return nil
		}
	}
	return logs
}

// openAll opens the run's native files in path order. What cannot be read is told
// of and left out.
func openAll(p *analyzers.Pass) []*file {
	as := p.Run.Of(bundle.NativeJ)
	var files []*file
	for i, a := range as {
		if i == maxFiles {
			p.Problem(a.Path, fmt.Sprintf("more than %d native journal files: this and %d more are not read", maxFiles, len(as)-i-1))
			break
		}
		f, err := openFile(a, max(maxCache/min(len(as), maxFiles), minCache))
		if err != nil {
			p.Problem(a.Path, fmt.Sprintf("native journal not read: %v", err))
			continue
		}
		files = append(files, f)
	}
	return files
}

// file is one native file being read; next is its next entry.
type file struct {
	path    string
	journal *native.File
	close   func() error
	next    native.Entry
	err     error
	most    int // entries, no more than the file has room for
	lines   lineCounter
	// values are short values that stood in entries before, by offset.
	values map[int64]string
}

func openFile(a *bundle.Artifact, cache int) (*file, error) {
	r, size, done, err := a.ReaderAt()
	if err != nil {
		return nil, err
	}
	j, err := native.Open(r, size, native.Limits{Value: maxMessage, Work: work + 8*size, Cache: cache})
	if err != nil {
		done()
		return nil, err
	}
	most := int(min(j.Header.Entries, uint64(size)/64, maxEntries*2))
	return &file{path: a.Path, journal: j, close: done, most: most, lines: lineCounter{r: r}, values: map[int64]string{}}, nil
}

func (f *file) advance() { f.err = f.journal.Next(&f.next) }

// machine merges the files of one machine.
type machine struct {
	files        []*file
	log          *Log
	max, maxText int
	text         int // bytes of the messages kept
	dropped      int
}

func (m *machine) merge() {
	n := 0
	for _, f := range m.files {
		n += f.most
		f.advance()
	}
	m.log.Entries = make([]Entry, 0, min(n, m.max+m.max/4)+1)
	for {
		f := m.first()
		if f == nil {
			m.trim(0)
			return
		}
		if e, ok := f.entry(); ok {
			m.log.Entries = append(m.log.Entries, e)
			m.text += len(e.Message)
			m.trim(1)
		}
		m.pass(f)
	}
}

// first returns the file whose next entry is the oldest, nil at the end.
func (m *machine) first() *file {
	var best *file
	for _, f := range m.files {
		if f.err == nil && (best == nil || older(f, best) < 0) {
			best = f
		}
	}
	return best
}

// pass goes behind the next entry of f, also in files that repeat it.
func (m *machine) pass(f *file) {
	for _, g := range m.files {
		if g != f && g.err == nil && older(f, g) == 0 {
			g.advance()
		}
	}
	f.advance()
}

// older compares the next entries of two files as libsystemd does
// (journal_file_compare_locations): by number where one source gave both, by
// the time since boot in one boot, else by the clock, which may have jumped.
func older(f, g *file) int {
	a, b := &f.next, &g.next
	same := f.journal.Header.Seqnums == g.journal.Header.Seqnums
	if same && a.Seqnum != b.Seqnum {
		return cmp.Compare(a.Seqnum, b.Seqnum)
	}
	if a.Boot == b.Boot && a.Monotonic != b.Monotonic {
		return cmp.Compare(a.Monotonic, b.Monotonic)
	}
	if a.Realtime != b.Realtime {
		return cmp.Compare(a.Realtime, b.Realtime)
	}
	if a.Hash != b.Hash {
		return cmp.Compare(a.Hash, b.Hash)
	}
	return bytes.Compare(a.Boot[:], b.Boot[:])
}

// trim drops the oldest entries once there are more than allowed and the
// slack, which keeps the rest from being moved often.
func (m *machine) trim(slack int) {
	es := m.log.Entries
	if len(es) <= m.max+slack*m.max/4 && m.text <= m.maxText+slack*m.maxText/4 {
		return
	}
	n := 0
	for len(es)-n > m.max || m.text > m.maxText && len(es)-n > 1 {
		m.text -= len(es[n].Message)
		n++
	}
	m.dropped += n
	m.log.Entries = slices.Delete(es, 0, n)
}

// tell says what was not read.
func (m *machine) tell(p *analyzers.Pass) {
	for _, f := range m.files {
		if f.err != nil && f.err != io.EOF {
			p.Problem(f.path, fmt.Sprintf("native journal read in part: %v", f.err))
		}
		if n := f.journal.Short; n > 0 {
			p.Problem(f.path, fmt.Sprintf("native journal %d bytes shorter than its header says: what stood at its end is missing", n))
		}
		if s := &f.journal.Skipped; s.Any() {
			p.Problem(f.path, fmt.Sprintf("native journal damaged%s: %s", left(f.journal.Header.State), s))
		}
		if n := f.journal.Skipped.Costly; n > 0 {
			p.Problem(f.path, fmt.Sprintf("native journal read in part: %d fields are not decompressed, too many bytes were", n))
		}
	}
	if m.dropped > 0 {
		p.Problem(m.log.Path, fmt.Sprintf("native journal: the oldest %d entries are not kept, beyond %d entries or %d bytes of messages", m.dropped, m.max, m.maxText))
	}
}

func left(s native.State) string {
	if s == native.Online {
		return " (journald had not closed it)"
	}
	return ""
}

// entry makes the Entry of the next native entry.
func (f *file) entry() (Entry, bool) {
	n := &f.next
	var r record
	f.journal.Fields(n, func(name []byte) bool {
		at, ok := wanted(name)
		// The entry's own boot and times count, as they do in the other forms.
		return ok && at != fBoot && at != fRealtime && at != fMonotonic
	}, func(fd *native.Field) {
		at, _ := wanted(fd.Name)
		if r.seen[at] {
			return
		}
		if at == fMessage {
			r.cut = !fd.Whole
		}
		r.put(at, f.value(fd))
	})
	if !r.seen[fMessage] {
		return Entry{}, false
	}
	r.put(fBoot, f.boot(n.Boot))
	e := r.bare()
	e.When = time.UnixMicro(int64(n.Realtime)).UTC()
	if e.Monotonic < 0 {
		e.Monotonic = float64(n.Monotonic) / 1e6
	}
	e.Evidence = bundle.Evidence{Path: f.path, Line: f.lines.line(n.Offset), Start: n.Offset, End: n.Offset + n.Size, Quote: quote(&e)}
	if q := e.Evidence.Quote; strings.HasSuffix(q, e.Message) {
		e.Message = q[len(q)-len(e.Message):] // one string in memory, not two
	}
	return e, true
}

// maxShared and maxValues bound the values that entries share in memory, as
// they do in the file.
const maxShared, maxValues = 128, 1 << 15

func (f *file) value(fd *native.Field) string {
	if len(fd.Value) > maxShared {
		return string(fd.Value)
	}
	s, ok := f.values[fd.At]
	if !ok {
		if len(f.values) >= maxValues {
			clear(f.values)
		}
		s = string(fd.Value)
		f.values[fd.At] = s
	}
	return s
}

// boot shares the ids, of which there are few. No object stands at a negative
// offset.
func (f *file) boot(id native.ID) string {
	if s := f.values[-1]; s != "" && s == id.String() {
		return s
	}
	f.values[-1] = id.String()
	return f.values[-1]
}

// quote writes e as the short forms do.
func quote(e *Entry) string {
	who := e.Ident
	if who == "" {
		who = "unknown" // journalctl's word
	}
	if e.PID != 0 {
		who += "[" + strconv.Itoa(e.PID) + "]"
	}
	return bundle.Printable(who + ": " + e.Message[:min(len(e.Message), maxQuoted)])
}

// lineCounter counts line feeds up to offsets that grow.
type lineCounter struct {
	r   io.ReaderAt
	at  int64
	lfs int
	buf []byte
}

func (c *lineCounter) line(offset int64) int {
	if c.buf == nil {
		c.buf = make([]byte, 64<<10)
	}
	for c.at < offset {
		n, err := c.r.ReadAt(c.buf[:min(int64(len(c.buf)), offset-c.at)], c.at)
		c.lfs += bytes.Count(c.buf[:n], []byte{'\n'})
		c.at += int64(n)
		if err != nil {
			break
		}
	}
	return 1 + c.lfs
}
