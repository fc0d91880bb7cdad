package unitfile

import (
	"bytes"
	"strings"
	"testing"

	"github.com/coreos/go-systemd/v22/unit"
)

// benchFile is a long unit file that go-systemd reads too.
func benchFile() []byte {
	var b strings.Builder
	b.WriteString("[Unit]\nDescription=a unit\n[Service]\n")
	for b.Len() < 64<<10 {
		b.WriteString("# why the next line is there\nEnvironment=\"PATH=/usr/local/bin:/usr/bin:/bin\" LANG=C\nExecStart=/usr/bin/tool --option value \"a b c\"\n\n")
	}
	return []byte(b.String())
}

func BenchmarkParse(b *testing.B) {
	data := benchFile()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if f := Parse(data); len(f.Options) == 0 {
			b.Fatal("no options")
		}
	}
}

func BenchmarkGoSystemd(b *testing.B) {
	data := benchFile()
	b.SetBytes(int64(len(data)))
	for b.Loop() {
		if options, err := unit.DeserializeOptions(bytes.NewReader(data)); err != nil || len(options) == 0 {
			b.Fatal(err)
		}
	}
}
