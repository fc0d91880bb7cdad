package iso

import (
	"bytes"
	"path"
	"strings"

	"forensics/analyzers/bundle"
)

// menu is what a loader's configuration offers.
type menu struct {
	entries []*entry
	// chosen is the entry that is started when nobody chooses, nil when the
	// configuration alone does not say.
	chosen *entry
	// extra are arguments that the choice adds, and where it stands.
	extra string
	by    *place
}

// entry is one way to start a kernel.
type entry struct {
	name    string
	at      place
	kernel  string // as written
	kernAt  place
	initrds []string
	args    string
	argsAt  place // evidence of args; zero when there are none
	open    bool  // what it starts depends on what is not known here
}

// place is a span of a configuration file.
type place struct {
	file       *config
	start, end int
}

func (p place) evidence() bundle.Evidence {
	return bundle.Span(p.file.path, p.file.data, p.file.lines, int64(p.start), int64(p.end))
}

// config is one configuration file.
type config struct {
	path  string // as evidence names it
	dir   string // folder within its file system
	data  []byte
	lines *bundle.LineIndex
}

// files is where a loader reads from: nil for a file that is not there.
type files func(name string) *config

// Bounds on configurations: real ones have some kilobytes.
const (
	maxConfig   = 256 << 10
	maxIncludes = 32
	maxIncluded = 8 // within each other
	maxOffered  = 500
	maxInitrds  = 32
	maxSets     = 2000
	maxArgs     = 8 << 10 // the kernel takes 2 KiB on x86, 4 KiB elsewhere
)

// newConfig returns the file name within image as evidence names it.
func newConfig(image, name string, data []byte) *config {
	return &config{path: image + "!" + name, dir: path.Dir(name), data: data, lines: bundle.NewLineIndex(data)}
}

// each calls f for each line that is neither blank nor a comment, without
// outer space.
func (c *config) each(f func(line string, at place)) {
	for at := 0; at < len(c.data); {
		end := len(c.data)
		if i := bytes.IndexByte(c.data[at:], '\n'); i >= 0 {
			end = at + i
		}
		line := bytes.TrimSpace(c.data[at:end])
		if len(line) > 0 && line[0] != '#' {
			start := at + bytes.Index(c.data[at:end], line)
			f(string(line), place{c, start, start + len(line)})
		}
		at = end + 1
	}
}

// join joins arguments as loaders do, with one blank.
func join(a, b string) string {
	return strings.TrimSpace(strings.TrimSpace(a) + " " + strings.TrimSpace(b))
}
