package units

import (
	"forensics/analyzers/analyzertest"
	"strings"
	"testing"
)

// FuzzAnswers holds that any text, as a capture and as a journal, is read
// without a failure of the analyzer, twice with the same facts.
func FuzzAnswers(f *testing.F) {
	analyzertest.Seed(f)
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
