package corpus

import (
	"embed"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// recorded are the expectations of the runs that come with the program.
//
//go:embed testimage-runs/*/expect.yaml
var recorded embed.FS

// Covering returns the recorded runs in which condition id is only accepted as
// passed, and as failed.
func Covering(id string) (pass, fail []string, err error) {
	err = fs.WalkDir(recorded, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := recorded.ReadFile(p)
		if err != nil {
			return err
		}
		e, err := parse(data)
		if err != nil {
			return err
		}
		name := path.Base(path.Dir(p))
		switch want := e.Verdicts[id].Accept; {
		case slices.Equal(want, []string{"pass"}):
			pass = append(pass, name)
		case slices.Equal(want, []string{"fail"}):
			fail = append(fail, name)
		}
		return nil
	})
	return pass, fail, err
}

// Names joins names of runs for one line.
func Names(names []string) string {
	if len(names) == 0 {
		return "none"
	}
	return strings.Join(names, ", ")
}
