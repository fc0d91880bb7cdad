package probe

import (
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"forensics/rules"
)

var params = map[string][]string{
	"unit": {"setup.service"}, "disk": {"/dev/vda"}, "names": {"sudo", "a b", "it's"}, "empty": {},
	"bad-option": {"--all"}, "bad-line": {"a\nreboot"}, "evil": {"$(reboot);`reboot` \"x\" 'y' \\"},
}

func load(text string) ([]Spec, error) {
	return Load(params, rules.Source{Name: "my.yaml", Data: []byte(text)})
}

func TestLoad(t *testing.T) {
	list, err := load(`probes:
  - name: unit-active
    where: guest
    argv: [systemctl, is-active, "${unit}"]
    limit: 10s
    conditions: [vm.unit-inactive]
    root: true
    poll: {until: settled, every: 5s, limit: 10m}
    output: json
  - {name: a, where: host, shell: 'echo ${disk} "$HOME"', login: true, limit: 1m, when: {tool: lsblk}}
  - {name: b, where: host, shell: exit 1, limit: 1m}
`)
	if err != nil || len(list) != 3 {
		t.Fatal(list, err)
	}
	s := list[0]
	if s.Name != "unit-active" || s.Where != Guest || len(s.Argv) != 3 || s.Limit != 10*time.Second || !s.Root || !s.JSON || s.Script ||
		s.Poll.Every != 5*time.Second || s.Poll.Limit != 10*time.Minute || !slices.Equal(s.Conditions, []string{"vm.unit-inactive"}) {
		t.Errorf("%+v", s)
	}
	if s := list[1]; fmt.Sprint(s.Argv) != `[bash -lc echo ${disk} "$HOME"]` || !s.Script || s.Tool != "lsblk" || s.Poll != nil {
		t.Errorf("%+v", s)
	}
	if s := list[2]; fmt.Sprint(s.Argv) != `[sh -c exit 1]` {
		t.Errorf("%+v", s)
	}
}

// TestLoadReplaces: a later list's probe takes the earlier one's place; one of
// the same name elsewhere is another.
func TestLoadReplaces(t *testing.T) {
	src := func(name, text string) rules.Source {
		return rules.Source{Name: name, Data: []byte("probes:\n" + text)}
	}
	list, err := Load(nil,
		src("a", "- {name: x, where: host, argv: [one], limit: 1s}\n- {name: y, where: host, argv: [two], limit: 1s}\n"),
		src("b", "- {name: z, where: host, argv: [three], limit: 1s}\n- {name: x, where: host, argv: [four], limit: 1s}\n- {name: x, where: guest, argv: [five], limit: 1s}\n"))
	var got []string
	for _, s := range list {
		got = append(got, s.Argv[0])
	}
	if want := "four two three five"; strings.Join(got, " ") != want || err != nil {
		t.Errorf("%v %v, want %s", got, err, want)
	}
}

const good = "name: p, where: host, argv: [x], limit: 1s"

func TestMistakes(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", "my.yaml: empty: a list has the key probes"},
		{"- a\n", "my.yaml:1:1: a list of probes must be a mapping with the keys probes"},
		{"{}\n", "my.yaml:1:1: the list has no probes: write them below the key probes"},
		{"probe: []\n", "my.yaml:1:1: unknown key \"probe\" in a list of probes (did you mean \"probes\"?)\nmy.yaml:1:1: the list has no probes: write them below the key probes"},
		{"probes: x\n", "my.yaml:1:9: probes must be a list"},
		{"probes: [x]\n", "my.yaml:1:10: a probe must be a mapping with the keys " + strings.Join(specKeys, ", ")},
		{"probes:\n  - {name: p, where: host, limit: 1s}\n", "my.yaml:2:5: the probe has no command: write argv or shell"},
		{"probes:\n  - {argv: [x]}\n", "my.yaml:2:5: the probe has no name\nmy.yaml:2:5: the probe has no where\nmy.yaml:2:5: the probe has no limit"},
		{"probes:\n  - {" + good + ", shell: y}\n", "my.yaml:2:57: the probe has argv and shell: write one of them"},
		{"probes:\n  - {" + good + ", login: true}\n", "my.yaml:2:57: login is for shell: an argv has no shell"},
		{"probes:\n  - {" + good + ", limits: 1s}\n", "my.yaml:2:50: unknown key \"limits\" in a probe (did you mean \"limit\"?)"},
		{"probes:\n  - {" + good + ", name: q}\n", "my.yaml:2:50: key \"name\" stands twice in a probe"},
		{"probes:\n  - {name: P_1, where: host, argv: [x], limit: 1s}\n", "my.yaml:2:12: \"P_1\" is no name: lower-case letters and digits, joined by hyphens"},
		{"probes:\n  - {name: p, where: there, argv: [x], limit: 1s}\n", "my.yaml:2:22: where is \"there\": write host or guest"},
		{"probes:\n  - {name: p, where: hosts, argv: [x], limit: 1s}\n", "my.yaml:2:22: where is \"hosts\": write host or guest (did you mean \"host\"?)"},
		{"probes:\n  - {name: p, where: host, argv: [x], limit: 10}\n", "my.yaml:2:46: limit \"10\" is no duration: write 10s or 5m"},
		{"probes:\n  - {name: p, where: host, argv: [x], limit: 0s}\n", "my.yaml:2:46: limit 0s is out of range: more than 0, at most 1h0m0s"},
		{"probes:\n  - {name: p, where: host, argv: [x], limit: 2h}\n", "my.yaml:2:46: limit 2h is out of range: more than 0, at most 1h0m0s"},
		{"probes:\n  - {name: p, where: host, argv: [], limit: 1s}\n", "my.yaml:2:34: argv is empty"},
		{"probes:\n  - {name: p, where: host, argv: x, limit: 1s}\n", "my.yaml:2:34: argv must be a list"},
		{"probes:\n  - {name: p, where: host, argv: [x, ''], limit: 1s}\n", "my.yaml:2:38: an argument is empty"},
		{"probes:\n  - {name: p, where: host, argv: [x, [y]], limit: 1s}\n", "my.yaml:2:38: an argument must be text"},
		{"probes:\n  - {name: p, where: host, argv: [x, \"${unti}\"], limit: 1s}\n", "my.yaml:2:38: unknown parameter ${unti} (did you mean \"unit\"?)"},
		{"probes:\n  - {name: p, where: host, shell: 'x \"${unit}\"', limit: 1s}\n", "my.yaml:2:35: ${unit} stands within quotes: write it bare, its value is quoted for the shell"},
		{"probes:\n  - {" + good + ", conditions: [vm]}\n", "my.yaml:2:63: \"vm\" is no condition: write phase.name"},
		{"probes:\n  - {" + good + ", root: true}\n", "my.yaml:2:56: root is for the guest's probes: leave it out on the host"},
		{"probes:\n  - {" + good + ", poll: {until: settled, every: 1s, limit: 1s}}\n", "my.yaml:2:56: poll is for the guest's probes: leave it out on the host"},
		{"probes:\n  - {name: p, where: guest, argv: [x], limit: 1s, poll: {until: '(', every: 1s}}\n", "my.yaml:2:57: the poll has no limit\nmy.yaml:2:65: until is neither settled nor a regular expression: error parsing regexp: missing closing ): `(?m)(`"},
		{"probes:\n  - {" + good + ", output: xml}\n", "my.yaml:2:58: output is \"xml\": write text or json"},
		{"probes:\n  - {" + good + ", when: {tool: a b}}\n", "my.yaml:2:63: \"a b\" is no program's name"},
		{"probes:\n  - {" + good + ", root: maybe}\n", "my.yaml:2:56: root must be true or false\nmy.yaml:2:56: root is for the guest's probes: leave it out on the host"},
		{"probes:\n  - {" + good + "}\n  - {" + good + "}\n", "my.yaml:3:5: probe p on the host stands twice in this list"},
		{"probes: []\n---\nprobes: []\n", "my.yaml:2:1: a second document: only one is read"},
		{"probes: \xff", "my.yaml: not UTF-8 text"},
		{"probes: &a [*a]", "my.yaml:1:13: a probe must be a mapping with the keys " + strings.Join(specKeys, ", ")},
	} {
		_, err := load(tt.in)
		if err == nil || err.Error() != tt.want {
			t.Errorf("%s\n got %v\nwant %s", tt.in, err, tt.want)
		}
		if ms := (rules.Mistakes)(nil); err != nil && !errors.As(err, &ms) {
			t.Errorf("%T", err)
		}
	}
}

func TestFill(t *testing.T) {
	for _, tt := range []struct{ shell, in, want string }{
		{"", "cat ${disk}", "cat|/dev/vda"},
		{"", "for ${names}", "for|sudo|a b|it's"},
		{"", "x-${names}", "x-sudo"}, // the first one
		{"", "echo ${evil}", "echo|$(reboot);`reboot` \"x\" 'y' \\"},
		{"", "cat ${empty}", "parameter empty has no value"},
		{"", "cat ${gone}", "parameter gone has no value"},
		{"", "wipefs ${bad-option}", `parameter bad-option: "--all" could be taken for an option`},
		{"", "cat ${bad-line}", `parameter bad-line: "a\nreboot" has a control character`},
		{"", "echo ${UNIT} $unit", "echo|${UNIT}|$unit"}, // the shell's own
		{"sh", "for c in ${names}; do :; done", `sh|-c|for c in sudo 'a b' 'it'\''s'; do :; done`},
		{"sh", "cat ${disk}", "sh|-c|cat /dev/vda"},
		{"sh", "cat ${bad-line}", `parameter bad-line: "a\nreboot" has a control character`},
	} {
		s := Spec{Argv: strings.Fields(tt.in)}
		if tt.shell != "" {
			s = Spec{Argv: []string{"sh", "-c", tt.in}, Script: true}
		}
		ready, left := Fill([]Spec{s}, params)
		got := ""
		if len(ready) == 1 {
			got = strings.Join(ready[0].Argv, "|")
		} else if len(left) == 1 {
			got = left[0].Why
		}
		if got != tt.want {
			t.Errorf("%s\n got %s\nwant %s", tt.in, got, tt.want)
		}
	}
}

// TestQuoting: what a shell makes of a quoted value is the value.
func TestQuoting(t *testing.T) {
	needShell(t)
	for _, v := range []string{"plain", "a b", "it's", "", "$HOME", "`id`", `\`, `"`, "*", "~", "a;b", "#x", "é", "a=b", "{a,b}", "!x"} {
		out, err := exec.Command("sh", "-c", "printf %s "+quote(v)).Output()
		if err != nil || string(out) != v {
			t.Errorf("%q: %q %v", v, out, err)
		}
	}
}

func TestQuotedPlaces(t *testing.T) {
	for _, tt := range []struct {
		in     string
		quoted bool
	}{
		{"cat ${p}", false}, {`cat "${p}"`, true}, {`cat '${p}'`, true}, {`echo "a" ${p}`, false}, {`echo "a\"" ${p}`, false},
		{`echo 'a\' ${p}`, false}, {`echo "it's" ${p}`, false}, {`echo "x' ${p}"`, true}, {`\${p}`, true}, {`\\ ${p}`, false},
	} {
		for _, p := range pieces(tt.in) {
			if p.param == "p" && p.quoted != tt.quoted {
				t.Errorf("%s: quoted %v", tt.in, p.quoted)
			}
		}
	}
}

func TestPoll(t *testing.T) {
	list, err := load("probes:\n  - {name: p, where: guest, argv: [x], limit: 1s, poll: {until: '^inet \\d', every: 1s, limit: 1s}}\n")
	if err != nil {
		t.Fatal(err)
	}
	settled, match := &Poll{}, list[0].Poll
	for _, tt := range []struct {
		poll    *Poll
		answers string
		want    bool
	}{
		{settled, "", false},
		{settled, "inactive\n", false},
		{settled, "inactive\n|inactive\n", true},
		{settled, "inactive|activating|activating", false},
		{settled, "activating|inactive", false},
		{settled, "activating|inactive|inactive", true},
		{settled, "failed|failed", true},
		{settled, "|", false},
		{settled, "STATE=pending\nDETAIL=pending|STATE=pending\nDETAIL=pending", false},
		{settled, "STATE=applied\nDETAIL=auto-applied|STATE=applied\nDETAIL=auto-applied\n", true},
		{match, "", false},
		{match, "no inet 1", false},
		{match, "x\ninet 10.0.2.15/24", true},
	} {
		var answers []string
		if tt.answers != "" {
			answers = strings.Split(tt.answers, "|")
		}
		if got := tt.poll.Done(answers); got != tt.want {
			t.Errorf("%q: %v", tt.answers, got)
		}
	}
}

func TestSelect(t *testing.T) {
	list := builtin(t)
	for _, tt := range []struct{ need, has, not string }{
		{"host.network", "cache", "memory"},
		{"vm.lvm", "vgs", "cache"},
		{"host.nix", "nix-flake", "python"},
	} {
		var names []string
		for _, s := range Select(list, []string{tt.need}) {
			names = append(names, s.Name)
		}
		if !slices.Contains(names, tt.has) || slices.Contains(names, tt.not) {
			t.Errorf("%s: %v", tt.need, names)
		}
	}
	if got := Select(list, nil); got != nil {
		t.Errorf("nothing needed: %v", got)
	}
}

func FuzzLoad(f *testing.F) {
	f.Add(builtIn)
	f.Add([]byte("probes:\n  - {" + good + "}\n"))
	f.Add([]byte("probes:\n  - {name: p, where: host, shell: 'x \"${unit}\"', limit: 1s}\n"))
	f.Add([]byte("probes: &a [*a]"))
	f.Fuzz(func(t *testing.T, data []byte) {
		list, err := load(string(data))
		if err != nil {
			var ms rules.Mistakes
			if !errors.As(err, &ms) || len(ms) == 0 || len(ms) > maxMistakes {
				t.Fatalf("%T: %v", err, err)
			}
			return
		}
		ready, left := Fill(list, params)
		if len(ready)+len(left) != len(list) {
			t.Fatalf("%d and %d of %d", len(ready), len(left), len(list))
		}
		for _, s := range list {
			if s.Name == "" || len(s.Argv) == 0 || s.Argv[0] == "" || s.Limit <= 0 || s.Where != Host && s.Where != Guest {
				t.Fatalf("%+v", s)
			}
		}
	})
}
