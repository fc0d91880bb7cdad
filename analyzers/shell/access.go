package shell

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

// access reads how a capture came to its shell: it asked the session itself for
// its user id, in a frame with a checksum.
func access(p *analyzers.Pass, a *bundle.Artifact) *Identity {
	data, err := a.Bytes()
	if err != nil {
		p.Problem(a.Path, err.Error())
		return nil
	}
	var r struct {
		Root string `json:"root"`
		UID  string `json:"uid"`
	}
	if err := json.Unmarshal(data, &r); err != nil {
		p.Problem(a.Path, "no record of an access: "+err.Error())
		return nil
	}
	lines := bundle.NewLineIndex(data)
	at := func(key string) (bundle.Evidence, bool) {
		i := bytes.Index(data, []byte(`"`+key+`": `))
		if i < 0 {
			return bundle.Evidence{}, false
		}
		line, _, _ := bytes.Cut(data[i:], []byte("\n"))
		line = bytes.TrimRight(line, ", \r")
		return bundle.Span(a.Path, data, lines, int64(i), int64(i+len(line))), true
	}
	if ev, ok := at("root"); ok && strings.HasPrefix(r.Root, "refused: ") {
		p.State("shell.refused", "sudo", bundle.Printable(strings.TrimPrefix(r.Root, "refused: ")), ev)
	}
	ev, ok := at("uid")
	if !ok || !answeredRe.MatchString(r.UID) {
		return nil
	}
	p.State("shell.uid", "", r.UID, ev)
	if r.UID == "0" {
		p.State("shell.root", "", "yes", ev)
	}
	return &Identity{Path: a.Path, UIDs: []UID{{r.UID, ev}}}
}

var answeredRe = regexp.MustCompile(`^\d{1,10}$`)
