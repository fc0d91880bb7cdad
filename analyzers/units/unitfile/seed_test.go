package unitfile

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// wholeFiles are the bytes that tests and fuzz targets start from: every file
// of the trees, the parse cases, and the unit files of this machine where it
// has some.
func wholeFiles(t testing.TB) map[string][]byte {
	all := map[string][]byte{}
	for _, tr := range trees(t) {
		for _, f := range tr.archive.Files {
			if strings.Contains(f.Name, "systemd/") {
				all[tr.name+"/"+f.Name] = f.Data
			}
		}
	}
	for _, c := range parseCases {
		all[c.name] = []byte(c.in)
	}
	here, err := filepath.Glob("/usr/lib/systemd/*/*.*")
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range here {
		if data, err := os.ReadFile(name); err == nil && len(data) < maxFile && (isConfig(name[strings.LastIndexByte(name, '/')+1:]) || unitSuffix(name)) {
			all[name] = data
		}
	}
	return all
}

func unitSuffix(name string) bool {
	_, ok := splitName(filepath.Base(name))
	return ok
}
