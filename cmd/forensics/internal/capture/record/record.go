// Package record writes a bundle: the directory that holds what one capture
// saw of one boot.
//
// # Nouns
//
// A bundle is a directory with a manifest (manifest.json, schema
// forensics.bundle/1) and files. A stream is a file that grows while the
// capture runs, and is only ever appended to. A whole file is there as a whole
// or not at all. A list holds one JSON value a line, each whole.
//
// # Invariants
//
//   - The directory can be analysed at any moment, also after a kill. From the
//     first moment the manifest is there and says that the capture has not
//     ended; only Finish replaces it, at once.
//   - What was written stays: bytes go to the file in the call that brings them,
//     without a buffer of ours, and a stream that lost bytes takes no more, so
//     that it is always a prefix of what was sent.
//   - A file that cannot be written is told once, by its name, to the caller and
//     in the manifest. It breaks no other: each tries for itself.
//   - The manifest tells the truth, also on a full disk: its space is taken when
//     the bundle is made. A bundle that lost bytes is not complete, whatever the
//     caller says.
//   - No name leads out of the directory, by dots, links or drive letters.
//
// Names that start with a dot are the package's own, and are not analysed:
// files on their way to their name, and the space kept for the manifest.
//
// Left out: a lock (Create refuses a directory that is in use because it holds
// a manifest), compression, and syncing each write. A loss of power may cost the
// last seconds; the death of the process costs nothing.
package record

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"io/fs"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"forensics/analyzers/bundle"
)

// Schema names the form of the manifest.
const Schema = "forensics.bundle/1"

// Names at the top of a bundle.
const (
	manifestName = "manifest.json"
	reserveName  = ".manifest.json.reserve"
)

// reserveSize is the space kept for the manifest, in bytes. An entry takes some
// 200: it is enough for 5,000 files, and a bundle has some hundred.
const reserveSize = 1 << 20

// maxProblems bounds the manifest's list of problems: what goes wrong in a loop
// must not use up the manifest's space.
const maxProblems = 500

// maxName bounds a name, in bytes: what common file systems take.
const maxName = 255

// unfinished is why a bundle whose capture was killed is not complete.
const unfinished = "capture has not ended"

// ErrFinished is what is wrong with writing to a bundle after Finish.
var ErrFinished = errors.New("the bundle is finished")

// Manifest is the content of manifest.json.
type Manifest struct {
	Schema   string     `json:"schema"`
	Tool     Tool       `json:"tool"`
	Start    time.Time  `json:"start"`
	End      *time.Time `json:"end,omitempty"` // absent until the capture has ended
	Complete bool       `json:"complete"`
	Why      string     `json:"why,omitempty"` // why it is not complete
	Files    []File     `json:"files"`         // sorted by path, without the manifest
	Problems []string   `json:"problems"`      // sentences, in the order of events
}

// Tool is the program that wrote a bundle.
type Tool struct {
	Name    string `json:"name"`
	Version string `json:"version"`
}

// File is a file of a bundle.
type File struct {
	Path   string      `json:"path"` // slash path in the bundle
	Kind   bundle.Kind `json:"kind"` // by the file's content alone
	Size   int64       `json:"size"` // bytes
	SHA256 string      `json:"sha256"`
}

// Bundle is a bundle that is being written. Its methods may be called
// concurrently.
type Bundle struct {
	dir      string
	disk     disk
	now      func() time.Time
	manifest Manifest
	problems problems

	mu       sync.Mutex
	streams  map[string]*stream
	lists    map[string]*stream
	whole    map[string]File
	told     map[string]bool // files whose trouble was told
	failed   map[string]bool // files whose last try to make or replace them failed
	finished bool
	result   error
}

// Create makes the bundle dir, which must not exist or be empty, and writes its
// manifest. Its parent is made where it lacks. The error says what to do.
func Create(dir, tool, version string, start time.Time) (*Bundle, error) {
	d, err := open(dir)
	if err != nil {
		return nil, err
	}
	b := newBundle(dir, d)
	b.manifest.Tool, b.manifest.Start = Tool{tool, version}, start.UTC()
	if err := b.begin(); err != nil {
		d.close()
		return nil, fmt.Errorf("%s: %w: choose a directory on a disk with space, which you may write to", dir, err)
	}
	return b, nil
}

func newBundle(dir string, d disk) *Bundle {
	return &Bundle{
		dir: dir, disk: d, now: time.Now,
		manifest: Manifest{Schema: Schema, Why: unfinished, Files: []File{}, Problems: []string{}},
		streams:  map[string]*stream{}, lists: map[string]*stream{}, whole: map[string]File{}, told: map[string]bool{}, failed: map[string]bool{},
	}
}

// begin writes the first manifest and takes the last one's space.
func (b *Bundle) begin() error {
	if err := b.replace(manifestName, b.manifest.bytes()); err != nil {
		return err
	}
	// Random bytes take their space also where the file system compresses.
	ballast := make([]byte, reserveSize)
	rand.Read(ballast)
	f, err := b.disk.create(reserveName)
	if err == nil {
		_, err = f.Write(ballast)
		err = errors.Join(err, f.Sync(), f.Close())
	}
	if err != nil {
		b.disk.remove(reserveName)
		b.disk.remove(manifestName) // the directory was empty before
		return fmt.Errorf("keeping space for the manifest: %w", plain(err))
	}
	return nil
}

// Dir returns the bundle's directory, for programs that write into it
// themselves (QEMU's screenshot): Finish lists what they left.
func (b *Bundle) Dir() string { return b.dir }

// Note adds a sentence to the manifest's problems.
func (b *Bundle) Note(problem string) { b.problems.add(problem) }

// File makes the stream name, whose directories are made where they lack. Its
// writer may be used concurrently. The first Write that fails returns the
// error, which names the file; what is sent after that is counted as lost and
// dropped without another error, so that whoever drains a port goes on.
func (b *Bundle) File(name string) (io.WriteCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	s, err := b.newStream(name)
	if err != nil {
		return nil, err
	}
	b.streams[name] = s
	return s, nil
}

// newStream makes a file that does not exist. The caller holds b.mu.
func (b *Bundle) newStream(name string) (*stream, error) {
	if err := b.usable(name); err != nil {
		return nil, err
	}
	if b.streams[name] != nil || b.lists[name] != nil {
		return nil, fmt.Errorf("%s: the bundle has this file already", name)
	}
	f, err := b.make(name)
	if b.failed[name] = err != nil; err != nil {
		return nil, b.trouble(name, err)
	}
	return &stream{name: name, problems: &b.problems, f: f, hash: sha256.New()}, nil
}

// make creates a file and its directories.
func (b *Bundle) make(name string) (file, error) {
	if dir := path.Dir(name); dir != "." {
		if err := b.disk.mkdirs(dir); err != nil {
			return nil, err
		}
	}
	return b.disk.create(name)
}

// usable reports what is wrong with writing to name now.
func (b *Bundle) usable(name string) error {
	if b.finished {
		return fmt.Errorf("%s: %w", name, ErrFinished)
	}
	if err := checkName(name); err != nil {
		return fmt.Errorf("%q: %w", name, err)
	}
	return nil
}

// checkName reports why name is none of a bundle's file. Names must mean the
// same file on every system.
func checkName(name string) error {
	switch {
	case !fs.ValidPath(name) || name == ".":
		return errors.New("not a plain slash path below the bundle")
	case len(name) > maxName:
		return fmt.Errorf("a name has at most %d bytes", maxName)
	case strings.ContainsAny(name, `\:*?"<>|`) || strings.ContainsFunc(name, func(r rune) bool { return r < ' ' || r == 0x7f }):
		return errors.New(`a name has no control characters and none of \ : * ? " < > |`)
	case strings.HasPrefix(name, ".") || strings.Contains(name, "/."):
		return errors.New("names that start with a dot are not analysed")
	case strings.EqualFold(name, manifestName):
		return errors.New("only Finish writes the manifest")
	case !filepath.IsLocal(filepath.FromSlash(name)):
		return errors.New("a reserved name on this system")
	}
	return nil
}

// trouble returns err under the file's name, and notes it when it is the first
// about this file. The caller holds b.mu.
func (b *Bundle) trouble(name string, err error) error {
	err = fmt.Errorf("%s: %w", name, plain(err))
	if !b.told[name] {
		b.told[name] = true
		b.problems.add(err.Error())
	}
	return err
}

// plain drops the path that package os puts into its errors: the bundle's name
// for the file stands before it.
func plain(err error) error {
	var pe *fs.PathError
	if errors.As(err, &pe) {
		return pe.Err
	}
	return err
}

// WriteFile writes a file as a whole or not at all. It replaces one that
// WriteFile wrote before.
func (b *Bundle) WriteFile(name string, data []byte) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.usable(name); err != nil {
		return err
	}
	if b.streams[name] != nil || b.lists[name] != nil {
		return fmt.Errorf("%s: the bundle has this file already, as one that grows", name)
	}
	err := b.replace(name, data)
	if b.failed[name] = err != nil; err != nil {
		return b.trouble(name, err)
	}
	sum := sha256.Sum256(data)
	b.whole[name] = File{Path: name, Size: int64(len(data)), SHA256: hex.EncodeToString(sum[:])}
	return nil
}

// replace writes data beside name, and gives it the name when it is on disk.
func (b *Bundle) replace(name string, data []byte) error {
	part := path.Join(path.Dir(name), "."+path.Base(name)+".part")
	b.disk.remove(part) // of a try that failed
	f, err := b.make(part)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Sync(), f.Close()); err == nil {
		err = b.disk.rename(part, name)
	}
	if err != nil {
		b.disk.remove(part)
	}
	return err
}

// Append adds v as one line of JSON to the list name. A line is there as a
// whole or not at all: one that does not fit on the disk is taken back.
func (b *Bundle) Append(name string, v any) error {
	line, err := json.Marshal(v)
	if err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.usable(name); err != nil {
		return err
	}
	s := b.lists[name]
	if s == nil {
		if s, err = b.newStream(name); err != nil {
			return err
		}
		b.lists[name] = s
	}
	if err := s.line(append(line, '\n')); err != nil {
		return b.trouble(name, err)
	}
	return nil
}

// Finish closes all files and writes the manifest: what is there, and whether
// it is all that there should be. Bytes that were lost make the bundle
// incomplete. A second call does nothing and returns what the first did. The
// error is about the manifest and names the directory.
func (b *Bundle) Finish(complete bool, why string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.finished {
		return b.result
	}
	b.finished = true
	defer b.disk.close()
	hurt := b.closeAll()
	m := &b.manifest
	var changed []string
	m.Files, changed = b.files()
	end := b.now().UTC()
	m.End = &end
	m.Complete, m.Why = verdict(complete, why, append(hurt, changed...))
	m.Problems = b.problems.all()
	b.result = b.end()
	return b.result
}

// verdict says whether a bundle is complete, and why not: hurt are the files
// that are not as they were written.
func verdict(complete bool, why string, hurt []string) (bool, string) {
	if complete && len(hurt) == 0 {
		return true, ""
	}
	var reasons []string
	if why = bundle.Printable(why); !complete && why != "" {
		reasons = append(reasons, why)
	}
	if len(hurt) > 0 {
		slices.Sort(hurt)
		reasons = append(reasons, "not all that was written is there: "+strings.Join(slices.Compact(hurt), ", "))
	}
	if len(reasons) == 0 {
		reasons = []string{"capture did not say why"}
	}
	return false, strings.Join(reasons, "; ")
}

// end writes the manifest into the space kept for it. Where even that does not
// take it (a file system that never overwrites), the kept space is released;
// where it is still too long, it goes without its files.
func (b *Bundle) end() error {
	err := b.disk.overwrite(reserveName, b.manifest.bytes())
	if err == nil {
		err = b.disk.rename(reserveName, manifestName)
	}
	if err == nil {
		return nil
	}
	b.disk.remove(reserveName)
	if err = b.replace(manifestName, b.manifest.bytes()); err == nil {
		return nil
	}
	short := b.manifest
	short.Files = []File{}
	short.Problems = append(slices.Clone(short.Problems), "the files are not listed: "+plain(err).Error())
	if b.replace(manifestName, short.bytes()) == nil {
		return nil
	}
	return fmt.Errorf("%s: %s: %w: the bundle still says %q", b.dir, manifestName, plain(err), unfinished)
}

// bytes returns the manifest as text.
func (m *Manifest) bytes() []byte {
	data, err := json.MarshalIndent(m, "", "  ")
	if err != nil {
		panic(err) // text, numbers and times only
	}
	return append(data, '\n')
}

// closeAll closes streams and lists, and returns the names of files that
// are not all that was sent.
func (b *Bundle) closeAll() []string {
	var hurt []string
	for _, set := range []map[string]*stream{b.streams, b.lists} {
		for name, s := range set {
			s.Close()
			if s.hurt() {
				hurt = append(hurt, name)
			}
		}
	}
	for name, failed := range b.failed {
		if failed {
			hurt = append(hurt, name)
		}
	}
	return hurt
}

// files lists what is in the directory now, and names what is not as it was
// written.
func (b *Bundle) files() (list []File, changed []string) {
	known := map[string]File{}
	for _, set := range []map[string]*stream{b.streams, b.lists} {
		for name, s := range set {
			known[name] = s.file()
		}
	}
	for name, f := range b.whole {
		known[name] = f
	}
	for name, f := range known {
		if size, err := b.disk.size(name); err != nil {
			b.problems.add(fmt.Sprintf("%s: written, and gone now: %v", name, plain(err)))
			changed = append(changed, name)
			delete(known, name)
		} else if size != f.Size {
			b.problems.add(fmt.Sprintf("%s: %d bytes were written, it has %d now", name, f.Size, size))
			changed = append(changed, name)
			delete(known, name) // listed as it is now
		}
	}
	b.foreign(known)
	list = []File{}
	for _, f := range known {
		f.Kind = b.disk.kind(f.Path)
		list = append(list, f)
	}
	slices.SortFunc(list, func(a, b File) int { return strings.Compare(a.Path, b.Path) })
	return list, changed
}

// foreign adds the files that others wrote into the directory.
func (b *Bundle) foreign(known map[string]File) {
	names, err := b.disk.names()
	if err != nil {
		b.problems.add("listing the bundle: " + plain(err).Error())
	}
	for _, name := range names {
		base := path.Base(name)
		if _, ok := known[name]; ok || name == manifestName || strings.HasPrefix(base, ".") {
			continue
		}
		size, sum, err := b.disk.digest(name)
		if err != nil {
			b.problems.add(fmt.Sprintf("%s: %v", name, plain(err)))
			continue
		}
		known[name] = File{Path: name, Size: size, SHA256: sum}
	}
}

// problems are the sentences of the manifest. They have a lock of their own
// because streams note theirs while Finish waits for them.
type problems struct {
	mu   sync.Mutex
	list []string
	more int
}

func (p *problems) add(s string) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.list) == maxProblems {
		p.more++
		return
	}
	p.list = append(p.list, bundle.Printable(s))
}

func (p *problems) all() []string {
	p.mu.Lock()
	defer p.mu.Unlock()
	all := slices.Clone(p.list)
	if all == nil {
		all = []string{}
	}
	if p.more > 0 {
		all = append(all, fmt.Sprintf("%d more problems", p.more))
	}
	return all
}

// stream is a file that grows.
type stream struct {
	name     string
	problems *problems

	mu     sync.Mutex
	f      file
	hash   hash.Hash
	size   int64
	broken bool  // takes no more
	lost   int64 // bytes sent and not written
	closed bool
}

// Write appends p. See Bundle.File for what happens when it cannot.
func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return 0, fmt.Errorf("%s: %w", s.name, fs.ErrClosed)
	}
	if s.broken {
		s.lost += int64(len(p))
		return len(p), nil
	}
	n, err := s.f.Write(p)
	s.took(p[:n])
	if err == nil {
		return n, nil
	}
	s.broken, s.lost = true, int64(len(p)-n)
	err = fmt.Errorf("%s: %w after %d bytes", s.name, plain(err), s.size)
	s.problems.add(err.Error())
	return n, err
}

func (s *stream) took(p []byte) {
	s.hash.Write(p)
	s.size += int64(len(p))
}

// line appends p whole, or takes back what was written of it.
func (s *stream) line(p []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.broken {
		s.lost += int64(len(p))
		return errors.New("an earlier line broke off")
	}
	n, err := s.f.Write(p)
	if err == nil {
		s.took(p)
		return nil
	}
	s.lost += int64(len(p))
	if n > 0 && s.f.Truncate(s.size) != nil {
		s.took(p[:n])
		s.broken, s.lost = true, s.lost-int64(n)
	}
	return err
}

// Close brings the stream to the disk. A second Close does nothing.
func (s *stream) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.closed {
		return nil
	}
	s.closed = true
	err := errors.Join(s.f.Sync(), s.f.Close())
	if s.lost > 0 {
		s.problems.add(fmt.Sprintf("%s: %d bytes were written and %d lost", s.name, s.size, s.lost))
	}
	if err != nil {
		// What was written may not be on the disk.
		s.broken = true
		err = fmt.Errorf("%s: %w", s.name, plain(err))
		s.problems.add(err.Error())
	}
	return err
}

// hurt reports whether the stream is not what was sent.
func (s *stream) hurt() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.broken || s.lost > 0
}

func (s *stream) file() File {
	s.mu.Lock()
	defer s.mu.Unlock()
	return File{Path: s.name, Size: s.size, SHA256: hex.EncodeToString(s.hash.Sum(nil))}
}
