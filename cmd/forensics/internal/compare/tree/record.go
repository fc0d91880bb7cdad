package tree

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io/fs"
	"path"
	"strings"
	"time"

	"forensics/analyzers/bundle"
)

// recordPath is where a captured bundle lists its image.
const recordPath = "iso/tree.jsonl"

// maxRecord is how many files a record lists.
const maxRecord = 400_000

// recordedFile is a line of the record.
type recordedFile struct {
	Path   string `json:"path"`
	Type   string `json:"type"`
	Mode   string `json:"mode"`
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256"`
	Link   string `json:"link"`
}

// record is what a bundle keeps of an image.
type record struct {
	data    []byte
	lines   *bundle.LineIndex
	volumes map[string]*volume
	copies  map[string]*bundle.Artifact // by the path in the image
}

// recorded returns the listing that the run recorded, nil when there is none.
func (c *comparer) recorded(s *side, run *bundle.Run) *volume {
	a := run.Artifact(recordPath)
	if a == nil {
		return nil
	}
	data, err := a.Bytes()
	if err != nil {
		c.note("%s of %s: %v", a.Path, s.run, err)
		return nil
	}
	r, problem := parseRecord(data)
	if problem != "" {
		c.note("%s of %s: %s", a.Path, s.run, problem)
	}
	top := r.volumes[""]
	if top == nil {
		return nil
	}
	for _, a := range run.Artifacts {
		if name, ok := strings.CutPrefix(a.Path, bundle.CopiesDir+"/"); ok {
			r.copies[name] = a
		}
	}
	return top
}

// parseRecord reads a record. Lines that are none are left out, and the volumes
// are then partial; problem says so.
func parseRecord(data []byte) (r *record, problem string) {
	r = &record{data: data, lines: bundle.NewLineIndex(data), volumes: map[string]*volume{}, copies: map[string]*bundle.Artifact{}}
	bad, n := 0, 0
	for at := 0; at < len(data); {
		line, _, whole := bytes.Cut(data[at:], []byte("\n"))
		start := at
		at += len(line) + 1
		if len(bytes.TrimSpace(line)) == 0 {
			continue
		}
		if n++; n > maxRecord {
			problem = fmt.Sprintf("more than %d entries: the rest is not compared", maxRecord)
			break
		}
		var e recordedFile
		if err := json.Unmarshal(line, &e); err != nil || !r.add(&e, span{int64(start), int64(start + len(line))}) {
			if bad++; bad == 1 {
				problem = fmt.Sprintf("line %d: no entry of an image", r.lines.Line(int64(start)))
				if !whole {
					problem = fmt.Sprintf("line %d: the last entry breaks off", r.lines.Line(int64(start)))
				}
			}
		}
	}
	if problem != "" || n == maxRecord {
		for _, v := range r.volumes {
			v.partial = true
		}
	}
	return r, problem
}

// add takes up an entry, and reports whether it is one.
func (r *record) add(e *recordedFile, at span) bool {
	p, ok := strings.CutPrefix(e.Path, "/")
	if !ok || e.Size < 0 || strings.ContainsAny(p, "\x00\n") || e.SHA256 != "" && len(e.SHA256) != 64 {
		return false
	}
	in, name := "", p
	if i := strings.LastIndex(p, "!/"); i >= 0 {
		in, name = p[:i], p[i+2:]
	}
	f := &file{name: name, line: at, known: execBits, sum: e.SHA256, link: e.Link}
	switch e.Type {
	case "file":
		f.kind, f.size = regular, e.Size
	case "directory":
		f.kind = directory
	case "link":
		f.kind = link
	case "other":
	default:
		return false
	}
	var mode fs.FileMode
	if _, err := fmt.Sscanf(e.Mode, "%o", &mode); err != nil || in == "" {
		f.known = 0
	}
	f.mode = mode & execBits
	v := r.volumes[in]
	if v == nil {
		v = &volume{name: in, image: recordPath, rec: r, mark: bundle.Span(recordPath, r.data, r.lines, at.start, at.end)}
		r.volumes[in] = v
	}
	if name == "" {
		return f.kind == directory
	}
	if path.Clean("/"+name) != "/"+name {
		return false
	}
	v.files = append(v.files, f)
	return true
}

// Open opens the copy of the file at a path of the image.
func (r *record) Open(name string) (fs.File, error) {
	a := r.copies[copied(name)]
	if a == nil {
		return nil, errNoBytes
	}
	data, err := a.Bytes()
	if err != nil {
		return nil, err
	}
	return &copyFile{bytes.NewReader(data), path.Base(name)}, nil
}

// copied is the path below bundle.CopiesDir at which a bundle keeps a file.
func copied(name string) string { return strings.ReplaceAll(name, "!", ".d") }

// copyFile is an open copy.
type copyFile struct {
	*bytes.Reader
	name string
}

func (f *copyFile) Close() error               { return nil }
func (f *copyFile) Stat() (fs.FileInfo, error) { return f, nil }
func (f *copyFile) Name() string               { return f.name }
func (f *copyFile) Mode() fs.FileMode          { return 0o444 }
func (f *copyFile) ModTime() time.Time         { return time.Time{} }
func (f *copyFile) IsDir() bool                { return false }
func (f *copyFile) Sys() any                   { return nil }
