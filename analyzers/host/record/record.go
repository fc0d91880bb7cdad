// Package record reads probes: JSON records of one command each, as a bundle's
// collector writes them.
//
// A Record is {name, argv, exit_status, stdout, stderr, start, duration, where};
// an artifact holds one, several one after the other (JSON lines), or an array.
// where is "host" or "guest"; a record that does not say, and does not lie under
// host/ or guest/, is left out: whose answer it is decides what it means.
//
// Left out: start and duration. Records are read in the order in which they
// stand, which is no proof of the order in which they ran.
package record

import (
	"path"
	"strconv"
	"strings"

	"forensics/analyzers/host/jsonspan"
)

// Record is one probe.
type Record struct {
	Name  string // the file's where the record has none
	Guest bool   // it ran in the guest, else on the host
	Argv  []string
	// Exit is the exit status, when Exited: the record of a probe that was
	// killed or never started has none.
	Exit   int
	Exited bool
	// Stdout and Stderr are nil where the record lacks them. All values keep
	// the raw bytes that they stand in.
	Stdout, Stderr *jsonspan.Value
	Value          *jsonspan.Value
}

// Read reads the records of the artifact that file names. Those before damage
// are returned beside the error.
func Read(file string, data []byte) ([]*Record, error) {
	values, err := jsonspan.Parse(data)
	var records []*Record
	for _, v := range values {
		each := []*jsonspan.Value{v}
		if v.Kind == jsonspan.Array {
			each = v.Elems
		}
		for _, e := range each {
			if r := read(file, e); r != nil {
				records = append(records, r)
			}
		}
	}
	return records, err
}

func read(file string, v *jsonspan.Value) *Record {
	r := &Record{Name: v.Get("name").String(), Value: v, Stdout: v.Get("stdout"), Stderr: v.Get("stderr")}
	where := v.Get("where").String()
	if where == "" {
		where, _, _ = strings.Cut(file, "/")
	}
	r.Guest = where == "guest"
	if r.Name == "" {
		r.Name = strings.TrimSuffix(path.Base(file), path.Ext(file))
	}
	r.Argv, _ = v.Get("argv").Strings()
	if x := v.Get("exit_status"); x != nil && x.Kind == jsonspan.Number {
		n, err := strconv.Atoi(x.Text)
		r.Exit, r.Exited = n, err == nil
	}
	if len(r.Argv) == 0 || where != "host" && where != "guest" {
		return nil
	}
	return r
}
