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
	f.Add(`[{"unit":"a.service","load":"loaded","active":"failed"},{"job":7,"unit":"a.service","type":"start","state":"waiting"}]`)
	f.Add("1min 2.345s a.service\n└─b.service @2.503s +9us\nStartup finished in 1y 2month (kernel) + 3w 4d 5h = 6min 7ms.\n")
	f.Add("Id=a.service\nType=simple\n\nType=oneshot\nId=b.service\n")
	for _, c := range reasons {
		f.Add(failing(c.body, c.end))
	}
	f.Fuzz(func(t *testing.T, text string) {
		files := map[string]string{"serial.log": "ISOLINUX 6.04\r\r\n" + text, "capture.txt": "● a.service - A\n" + text, "journal.log": failing(text, ""),
			"list.txt": "$ systemctl list-units --output=json\n" + text, "times.txt": "$ systemd-analyze blame\n" + text, "show.txt": "$ systemctl show a b\n" + text}
		a, b := facts(t, files), facts(t, files)
		if strings.Join(a, "\n") != strings.Join(b, "\n") {
			t.Error("the same bytes give different facts")
		}
	})
}
