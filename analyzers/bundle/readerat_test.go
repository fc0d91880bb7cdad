package bundle

import (
	"io"
	"io/fs"
	"testing"
	"testing/fstest"
)

// streamed hides that its files can be read at any offset.
type streamed struct{ fs.FS }

func (s streamed) Open(name string) (fs.File, error) {
	f, err := s.FS.Open(name)
	return struct{ fs.File }{f}, err
}

func TestReaderAt(t *testing.T) {
	files := fstest.MapFS{"a": {Data: []byte("0123456789")}}
	for name, a := range map[string]*Artifact{
		"a file":              {name: "a", fsys: files, Size: 10},
		"read from the start": {name: "a", fsys: streamed{files}, Size: 10},
		"bytes":               NewArtifact("a", NativeJ, []byte("0123456789")),
		"no bytes":            NewArtifact("a", NativeJ, nil),
	} {
		r, size, done, err := a.ReaderAt()
		if err != nil {
			t.Fatalf("%s: %v", name, err)
		}
		got, err := io.ReadAll(io.NewSectionReader(r, 4, size))
		if want := "456789"[:max(0, min(6, size-4))]; string(got) != want || err != nil || size != a.Size {
			t.Errorf("%s: %q of %d bytes, %v", name, got, size, err)
		}
		if err := done(); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestReaderAtFails(t *testing.T) {
	for name, a := range map[string]*Artifact{
		"no file":           {name: "b", fsys: fstest.MapFS{}},
		"too large to hold": {name: "a", fsys: streamed{fstest.MapFS{"a": {}}}, Size: MaxText + 1},
	} {
		if _, _, _, err := a.ReaderAt(); err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
