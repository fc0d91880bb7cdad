package commands

import (
	"fmt"
	"strings"
	"testing"

	"forensics/analyzers/bundle"
)

// lines makes an answer of text, whose evidence is as in a file of it.
func lines(text string) []Line {
	var ls []Line
	at := int64(0)
	for i, s := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		ls = append(ls, Line{s, bundle.Evidence{Path: "a", Line: i + 1, Start: at, End: at + int64(len(s))}})
		at += int64(len(s)) + 1
	}
	return ls
}

// outline writes v without white space, and "LINE:START-END" of each string.
func outline(d *Document, v *Value) string {
	var parts []string
	switch {
	case v.IsArray():
		for _, e := range v.Elems() {
			parts = append(parts, outline(d, e))
		}
		return "[" + strings.Join(parts, " ") + "]"
	case v.String() != "":
		ev := d.Evidence(v)
		return fmt.Sprintf("%s@%d:%d-%d", v.String(), ev.Line, ev.Start, ev.End)
	case v.Number() != "":
		return v.Number()
	case len(v.members) > 0 || v.IsEmpty():
		for _, m := range v.members {
			parts = append(parts, m.name+"="+outline(d, m.value))
		}
		return "{" + strings.Join(parts, " ") + "}"
	}
	return fmt.Sprint(v.IsTrue())
}

var documents = []struct{ name, answer, want string }{
	{"one line", `[{"a":"x","n":1.50},true,null,{}]`, "[{a=x@1:6-9 n=1.50} true false {}]"},
	{"many lines", "{\n  \"a\" : [\n    \"x\"\n  ]\n}\n", "{a=[x@3:16-19]}"},
	{"one after the other", "{\"a\":\"x\"}\n{\"a\":\"y\"} {\"a\":\"z\"}\n", "{a=x@1:5-8} {a=y@2:15-18} {a=z@2:25-28}"},
	{"with the kernel between", "{\n[    1.234567] usb: x\n\"a\":\"x\"}\n", "{a=x@3:28-31}"},
	{"between other lines", "WARNING: x\n{\"a\":\"x\"}\n__EXIT__=0\n", "{a=x@2:16-19} rest 2"},
	{"behind a bracket of other text", "[ OK ] Started\n[]\n", "[] rest 1"},
	{"the last one cut", "{\"a\":\"x\"}\n{\"a\":", "{a=x@1:5-8} rest 1"},
	{"cut", `{"a":"x"`, ""},
	{"a string alone", `"x"`, ""},
	{"nothing", "", ""},
	{"a name that repeats", `{"a":"x","a":"y"}`, "{a=x@1:5-8 a=y@1:13-16}"},
	{"too deep", strings.Repeat("[", 65) + strings.Repeat("]", 65), ""},
	{"deep", strings.Repeat("[", 64) + strings.Repeat("]", 64), strings.Repeat("[", 64) + strings.Repeat("]", 64)},
}

func describe(d *Document) string {
	if d == nil {
		return ""
	}
	var parts []string
	for _, v := range d.Values {
		parts = append(parts, outline(d, v))
	}
	if len(d.Rest) > 0 {
		parts = append(parts, fmt.Sprint("rest ", len(d.Rest)))
	}
	return strings.Join(parts, " ")
}

func TestDocument(t *testing.T) {
	for _, c := range documents {
		if got := describe(document(lines(c.answer))); got != c.want {
			t.Errorf("%s: got %s, want %s", c.name, got, c.want)
		}
	}
	if v := document(lines(documents[10].answer)).Values[0].Get("a"); v.String() != "y" {
		t.Errorf("of a name that repeats, %q counts", v.String())
	}
	if v := (*Value)(nil); v.Get("a") != nil || v.Elems() != nil || v.String() != "" || v.Number() != "" || v.IsTrue() || v.IsArray() || v.IsEmpty() {
		t.Error("no value has something")
	}
	// What the terminal shows otherwise than it stands there keeps its line.
	l := lines(`["x"]`)
	l[0].Evidence.End += 5
	if ev := document(l).Evidence(document(l).Values[0].Elems()[0]); ev.End != 10 {
		t.Errorf("%+v", ev)
	}
}

// FuzzDocument: every value of an answer stands in it.
func FuzzDocument(f *testing.F) {
	for _, c := range documents {
		f.Add(c.answer)
	}
	f.Fuzz(func(t *testing.T, text string) {
		d := document(lines(text))
		if d == nil {
			return
		}
		var walk func(*Value)
		walk = func(v *Value) {
			if ev := d.Evidence(v); ev.Start < 0 || ev.Start > ev.End || ev.End > int64(len(text)) || strings.Count(text[:ev.Start], "\n") != ev.Line-1 {
				t.Fatalf("%+v of %d bytes", ev, len(text))
			}
			for _, m := range v.members {
				walk(m.value)
			}
			for _, e := range v.elems {
				walk(e)
			}
		}
		for _, v := range d.Values {
			walk(v)
		}
	})
}

var records = []struct{ file, data, want string }{
	{"probes.jsonl", `{"argv":["/bin/ip","-j","addr show"],"exit_status":0,"stdout":"one\n\ntw\u00f6\\n\r\n","stderr":"three","where":"guest"}` + "\n" + `{"argv":["id"],"exit_status":null,"where":"guest","stderr":"killed\n","stdout":""}`,
		"$ ip -j 'addr show'\n1 one\n1 \n1 twö\\n\n1 three\n? id\n2 killed\n"},
	{"guest/vgs.json", `[{"stderr":"no","stdout":"yes","argv":["sh","-lc","vgs | cat"],"exit_status":5}]`, "$ vgs | cat\n1 no\n1 yes\n"},
	{"probes.jsonl", `{"argv":["bash","x","-c"],"exit_status":0,"where":"guest"} {"argv":["echo","it's"],"exit_status":0,"where":"guest","stdout":"\ud83d\ude00"}`, "$ bash x -c\n$ echo 'it'\\''s'\n1 😀\n"},
	// The host's, whose it is nobody knows, no command, and what breaks off.
	{"probes.jsonl", `{"argv":["vgs"],"exit_status":0,"stdout":"x","where":"host"}`, ""},
	{"host/vgs.json", `{"argv":["vgs"],"exit_status":0,"stdout":"x"}`, ""},
	{"vgs.json", `{"argv":["vgs"],"exit_status":0,"stdout":"x"}`, ""},
	{"guest/vgs.json", `{"argv":[],"stdout":"x"} {"argv":"vgs","stdout":"x"} {"argv":[7],"stdout":"x"} 7 null`, ""},
	{"guest/vgs.json", `{"argv":["a"],"exit_status":0} {"argv":["b"],"stdout":"x`, "$ a\n"},
}

func probed(t testing.TB, file string, data []byte) string {
	var b strings.Builder
	for _, c := range fromProbes(bundle.NewArtifact(file, bundle.Probe, data)).Commands {
		mark := "$"
		if !c.Done {
			mark = "?"
		}
		fmt.Fprintf(&b, "%s %s\n", mark, c.Text)
		end := int64(0)
		for _, l := range c.Answer {
			if ev := l.Evidence; ev.Start < end || ev.End < ev.Start || ev.End > int64(len(data)) || ev.Line != 1+strings.Count(string(data[:ev.Start]), "\n") {
				t.Errorf("%s: evidence %+v", file, ev)
			}
			end = l.Evidence.End
			fmt.Fprintf(&b, "%d %s\n", l.Evidence.Line, l.Text)
		}
	}
	return b.String()
}

func TestProbes(t *testing.T) {
	for _, c := range records {
		if got := probed(t, c.file, []byte(c.data)); got != c.want {
			t.Errorf("%s: %s\n got %s\nwant %s", c.file, c.data, got, c.want)
		}
	}
}

// FuzzProbes: the lines of any record stand in it, one behind the other.
func FuzzProbes(f *testing.F) {
	for _, c := range records {
		f.Add([]byte(c.data))
	}
	f.Fuzz(func(t *testing.T, data []byte) { probed(t, "guest/a.json", data) })
}
