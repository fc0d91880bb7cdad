package record

import (
	"fmt"
	"testing"
)

func describe(file, data string) string {
	rs, err := Read(file, []byte(data))
	s := ""
	for _, r := range rs {
		s += fmt.Sprintf("%s guest=%v %q exit=%d,%v out=%q err=%q\n", r.Name, r.Guest, r.Argv, r.Exit, r.Exited, r.Stdout.String(), r.Stderr.String())
	}
	if err != nil {
		s += "error\n"
	}
	return s
}

var cases = []struct{ file, data, want string }{
	{"probes.jsonl", `{"name":"a","argv":["ip","-j","addr"],"exit_status":0,"stdout":"[]","stderr":"","where":"guest"}` + "\n" + `{"argv":["id"],"exit_status":null,"where":"host"}`,
		"a guest=true [\"ip\" \"-j\" \"addr\"] exit=0,true out=\"[]\" err=\"\"\nprobes guest=false [\"id\"] exit=0,false out=\"\" err=\"\"\n"},
	{"guest/vgs.json", `[{"argv":["vgs"],"exit_status":5,"stderr":"no"}]`, "vgs guest=true [\"vgs\"] exit=5,true out=\"\" err=\"no\"\n"},
	// Whose, what and how are needed; a record that breaks off is none.
	{"vgs.json", `{"argv":["vgs"],"exit_status":0}`, ""},
	{"guest/vgs.json", `{"argv":[],"exit_status":0}`, ""},
	{"guest/vgs.json", `{"argv":"vgs","exit_status":0}`, ""},
	{"guest/vgs.json", `{"argv":["vgs"],"where":"elsewhere"}`, ""},
	{"guest/a.json", `{"argv":["a"],"exit_status":0.5} {"argv":`, "a guest=true [\"a\"] exit=0,false out=\"\" err=\"\"\nerror\n"},
}

func TestRead(t *testing.T) {
	for _, c := range cases {
		if got := describe(c.file, c.data); got != c.want {
			t.Errorf("%s: %s\n got %s\nwant %s", c.file, c.data, got, c.want)
		}
	}
}

// FuzzRead: every record has a command, and its values stand in the bytes.
func FuzzRead(f *testing.F) {
	for _, c := range cases {
		f.Add([]byte(c.data))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		rs, _ := Read("guest/a.json", data)
		for _, r := range rs {
			if len(r.Argv) == 0 || r.Value.Start < 0 || r.Value.End > int64(len(data)) || r.Value.Start >= r.Value.End {
				t.Fatalf("%+v", r)
			}
		}
	})
}
