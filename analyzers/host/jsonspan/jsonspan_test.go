package jsonspan

import (
	"encoding/json"
	"strings"
	"testing"
)

const sample = `{
  "qemu": {
    "command": [
      "/usr/bin/qemu-system-x86_64",
      "-m",
      "2048"
    ],
    "pid": 17, "ok": true, "none": null
  },
  "stderr": "one\ntwo \u00e9\ud83d\ude00\n\nlast\\n"
}
{"second": 1}
`

func TestParse(t *testing.T) {
	vs, err := Parse([]byte(sample))
	if err != nil || len(vs) != 2 {
		t.Fatalf("got %d values, %v", len(vs), err)
	}
	for _, tt := range []struct {
		path string
		raw  string
		line int
	}{
		{"qemu pid", "17", 8},
		{"qemu ok", "true", 8},
		{"qemu none", "null", 8},
		{"stderr", `"one\ntwo \u00e9\ud83d\ude00\n\nlast\\n"`, 10},
	} {
		v := vs[0].Get(strings.Fields(tt.path)...)
		if v == nil {
			t.Errorf("%s: absent", tt.path)
			continue
		}
		if got := sample[v.Start:v.End]; got != tt.raw {
			t.Errorf("%s: span %q, want %q", tt.path, got, tt.raw)
		}
		if got := 1 + strings.Count(sample[:v.Start], "\n"); got != tt.line {
			t.Errorf("%s: line %d, want %d", tt.path, got, tt.line)
		}
	}
	if e := vs[0].Get("qemu", "command").Elems[2]; sample[e.Start:e.End] != `"2048"` {
		t.Errorf("element: %q", sample[e.Start:e.End])
	}
	if vs[0].Get("qemu", "absent", "deeper") != nil {
		t.Error("an absent name was found")
	}
}

func TestLines(t *testing.T) {
	vs, _ := Parse([]byte(sample))
	var got []string
	vs[0].Get("stderr").Lines([]byte(sample), func(text string, start, end int64) bool {
		got = append(got, text+"|"+sample[start:end])
		return true
	})
	want := []string{"one|one", `two é😀|two \u00e9\ud83d\ude00`, "|", `last\n|last\\n`}
	if strings.Join(got, "\n") != strings.Join(want, "\n") {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestBroken(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{`{"a": "x", "b": [1, 2`, "x"},
		{`{"a": "x", "b"`, "x"},
		{`{"a": "x"`, "x"},
		{`{"a": "x", `, "x"},
		{`{"a": "x", "b":`, "x"},
		{`{"a": "x"} trailing`, "x"},
	} {
		vs, err := Parse([]byte(tt.in))
		if err == nil {
			t.Errorf("%s: no error", tt.in)
		}
		if len(vs) == 0 || vs[0].Get("a").String() != tt.want {
			t.Errorf("%s: what was complete is lost", tt.in)
		}
	}
	if _, err := Parse([]byte(strings.Repeat("[", 1000))); err == nil {
		t.Error("deep nesting was accepted")
	}
	if vs, err := Parse(nil); err != nil || len(vs) != 0 {
		t.Errorf("empty: %v, %v", vs, err)
	}
}

// FuzzParse: every value's span is valid JSON that decodes to the same value,
// and the lines of a string are the string.
func FuzzParse(f *testing.F) {
	f.Add([]byte(sample))
	f.Add([]byte(`["\ud800x", "\u0000", "` + "\xff" + `"]`))
	f.Fuzz(func(t *testing.T, data []byte) {
		vs, _ := Parse(data)
		for _, v := range vs {
			check(t, data, v)
		}
	})
}

func check(t *testing.T, data []byte, v *Value) {
	if v.Start < 0 || v.End > int64(len(data)) || v.Start > v.End {
		t.Fatalf("span %d-%d of %d", v.Start, v.End, len(data))
	}
	if v.Kind == String {
		var s string
		if err := json.Unmarshal(data[v.Start:v.End], &s); err != nil || s != v.Text {
			t.Fatalf("span %q is not %q (%v)", data[v.Start:v.End], v.Text, err)
		}
		var lines []string
		v.Lines(data, func(text string, _, _ int64) bool { lines = append(lines, text); return true })
		if got := strings.Join(lines, "\n"); got != strings.TrimSuffix(s, "\n") {
			t.Fatalf("lines %q of %q", got, s)
		}
	}
	for _, m := range v.Members {
		check(t, data, m.Value)
	}
	for _, e := range v.Elems {
		check(t, data, e)
	}
}
