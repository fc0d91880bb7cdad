package qemu

import (
	"errors"
	"io"
	"regexp"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/host/hosttext"
	"forensics/analyzers/host/jsonspan"
)

// document is one JSON artifact.
type document struct {
	*hosttext.Log
	index *bundle.LineIndex
}

func (d *document) at(v *jsonspan.Value) bundle.Evidence { return d.span(v.Start, v.End) }

func (d *document) span(start, end int64) bundle.Evidence {
	e := bundle.Evidence{Path: d.Path, Line: d.index.Line(start), Start: start, End: end}
	e.Quote = bundle.Printable(string(d.Data[start:min(end, start+16*bundle.MaxQuote)]))
	return e
}

// metadata reads a JSON artifact: flat or nested metadata, qemu.json, or a
// manifest.
func (r *reader) metadata(l *hosttext.Log) {
	values, err := jsonspan.Parse(l.Data)
	if err != nil {
		text := err.Error()
		if errors.Is(err, io.ErrUnexpectedEOF) {
			text = "the JSON text breaks off; what stands before was read"
		}
		r.problem(l.Path, text)
	}
	d := &document{Log: l, index: bundle.NewLineIndex(l.Data)}
	for _, v := range values[:min(len(values), maxLaunches)] {
		r.image(d, v)
		r.image(d, v.Get("artifact"))
		r.process(d, v.Get("qemu"))
		r.process(d, v)
		r.times(d, v)
	}
}

var (
	// A path of nix's store: 32 digits of its base 32, a dash, a name. At
	// line or value start; the object's own path, without what lies below.
	storeRe = regexp.MustCompile(`^/nix/store/[0-9a-df-np-sv-z]{32}-[A-Za-z0-9+._?=-]+`)
	// A NAR hash: SRI form, or nix's older sha256:BASE32.
	narRe = regexp.MustCompile(`^sha256(?:-[A-Za-z0-9+/]{43}=|:[0-9a-df-np-sv-z]{52})$`)
)

// image states what the metadata says about the boot image.
func (r *reader) image(d *document, v *jsonspan.Value) {
	for _, key := range []string{"iso_path", "store_path", "deriver"} {
		f := v.Get(key)
		if s := f.String(); s != "" {
			r.path(s, key == "iso_path", d.at(f))
		}
	}
	if h := v.Get("nar_hash"); narRe.MatchString(h.String()) {
		r.State("nix.nar-hash", "", h.Text, d.at(h))
	}
}

// path states what a path of the boot image shows: the image itself, and the
// store object it lies in.
func (r *reader) path(s string, image bool, e bundle.Evidence) {
	if image && strings.HasSuffix(s, ".iso") {
		r.State("iso.image", "", s, e)
	}
	if p := storeRe.FindString(s); p != "" {
		r.State("nix.store-path", "", p, e)
	}
}

// process states how QEMU was run: object "qemu" of nested metadata
// (command, version) or the whole of qemu.json (argv, version, exit_status,
// stderr).
func (r *reader) process(d *document, v *jsonspan.Value) {
	own := false
	for _, key := range []string{"command", "argv"} {
		f := v.Get(key)
		if argv, ok := f.Strings(); ok {
			own = own || isQEMU(argv)
			r.launch(argv, []bundle.Evidence{d.at(f)}, func(i int) bundle.Evidence { return d.at(f.Elems[i]) })
		} else if argv, ok := SplitCommand(f.String()); ok {
			r.launch(argv, []bundle.Evidence{d.at(f)}, func(int) bundle.Evidence { return d.at(f) })
		}
	}
	if f := v.Get("version"); f.String() != "" {
		if m := versionRe.FindStringSubmatch(f.Text); m != nil {
			r.State("qemu.version", "", m[1], d.at(f))
		} else if own && numberRe.MatchString(f.Text) {
			r.State("qemu.version", "", f.Text, d.at(f))
		}
	}
	if !own {
		return
	}
	if f := v.Get("exit_status"); f != nil && (f.Kind == jsonspan.Number || exitRe.MatchString(f.String())) {
		r.State("qemu.exit", "", exitText(f.Text), d.at(f))
	}
	r.stderr(d, v.Get("stderr"))
}

var (
	// qemu-system-x86_64 --version: "QEMU emulator version 8.2.2 (Debian …)".
	versionRe = regexp.MustCompile(`QEMU emulator version (\d+\.\d+(?:\.\d+)*)`)
	numberRe  = regexp.MustCompile(`^\d+\.\d+(?:\.\d+)*$`)
	// A wait status as this program, Python or a shell writes it.
	exitRe = regexp.MustCompile(`^(?:-?\d{1,3}|signal \d{1,2})$`)
)

// exitText writes a wait status: Python gives a signal as a negative number.
func exitText(s string) string {
	if n, ok := strings.CutPrefix(s, "-"); ok {
		return "signal " + n
	}
	return s
}

// stderr reads the messages in qemu.json.
func (r *reader) stderr(d *document, v *jsonspan.Value) {
	var ms messages
	v.Lines(d.Data, func(text string, start, end int64) bool {
		ms.add(text, func(string) bundle.Evidence { return d.span(start, end) })
		return true
	})
	ms.state(r)
}

// times states when the run began and ended.
func (r *reader) times(d *document, v *jsonspan.Value) {
	state := func(name string, paths ...string) {
		for _, p := range paths {
			f := v.Get(strings.Fields(p)...)
			if t := stamp(f.String()); t != "" {
				r.State(name, "", t, d.at(f))
				return
			}
		}
	}
	state("run.started", "timings start", "start", "started", "generated_at")
	state("run.ended", "timings end", "end", "ended")
}
