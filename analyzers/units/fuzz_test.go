package units

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/tools/txtar"
)

// FuzzAnswers holds that any text, as a capture and as a journal, is read
// without a failure of the analyzer, twice with the same facts.
func FuzzAnswers(f *testing.F) {
	files, _ := filepath.Glob("testdata/*.txtar")
	for _, name := range files {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		for _, file := range txtar.Parse(data).Files {
			f.Add(string(file.Data))
		}
	}
	for _, c := range reasons {
		f.Add(failing(c.body, c.end))
	}
	f.Fuzz(func(t *testing.T, text string) {
		files := map[string]string{"serial.log": "ISOLINUX 6.04\r\r\n" + text, "capture.txt": "● a.service - A\n" + text, "journal.log": failing(text, "")}
		a, b := facts(t, files), facts(t, files)
		if strings.Join(a, "\n") != strings.Join(b, "\n") {
			t.Error("the same bytes give different facts")
		}
	})
}
