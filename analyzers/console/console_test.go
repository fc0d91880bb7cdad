package console

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
)

func decode(data string) *Transcript {
	return Decode(bundle.NewArtifact("serial.log", bundle.Serial, []byte(data)), []byte(data))
}

// show writes a line as the tables below expect it: the CRs before the LF, T
// for a typed line or m and the offset for one that is typed from there on, and
// the pieces.
func show(l *Line) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%d", l.CRs)
	switch {
	case l.Typed:
		b.WriteString("T")
	case l.TypedFrom >= 0:
		fmt.Fprintf(&b, "m%d", l.TypedFrom)
	}
	for _, p := range l.Pieces {
		b.WriteByte(' ')
		if p.Paste != Same {
			b.WriteString(p.Paste.String())
		}
		fmt.Fprintf(&b, "%q", p.Text)
	}
	return b.String()
}

// guest is a line of a guest, so that the lines beside it are seen to be part
// of a recording of both directions.
const guest = "guest\r\r\n"

// Each case is one or more lines and what is shown of them, one string a line.
var cases = []struct {
	name string
	in   string
	want []string
}{
	{"empty", "", nil},
	{"one LF", "\n", []string{`0 ""`}},
	{"no end", "abc", []string{`0 "abc"`}},
	{"plain", "abc\ndéf ●\n", []string{`0 "abc"`, `0 "déf ●"`}},

	// A test driver's log: the guest's lines alone.
	{"the log of a test driver", "machine: starting vm\nmachine # abc\nmachine #\n(finished: x, in 0.10 seconds)\nother # no\nmachine # a # b\n",
		[]string{`0 ""`, `0 "abc"`, `0 ""`, `0 ""`, `0 ""`, `0 "a # b"`}},
	{"in colour, from nix", "vm-test-run-x> machine: \x1b[1m\x1b[32mmust succeed: true\x1b[0m\nvm-test-run-x> \x1b[2mmachine # [\x1b[32m  OK  \x1b[0m] up\x1b[0m\n",
		[]string{`0 ""`, `0 "[  OK  ] up"`}},
	{"one machine's lines", "machine # a\nmachine # \x1b[?2004h$ id\n", []string{`0 "a"`, `0 On"$ id"`}},
	{"two machines' lines", "a # x\nb # y\n", []string{`0 "a # x"`, `0 "b # y"`}},
	{"a line that looks like it", "machine # a\nx\n", []string{`0 "machine # a"`, `0 "x"`}},

	// 1. Split on LF only: line endings show who wrote.
	{"endings", "a\r\r\nb\r\r\r\ntyped\nqemu-system-x86_64: -cpu: bad\r\n",
		[]string{`2 "a"`, `3 "b"`, `0T "typed"`, `1 "qemu-system-x86_64: -cpu: bad"`}},
	{"a CR is no line end", "one\rtwo\r\r\n", []string{`2 "two"`}},
	{"typed nothing", guest + "\n" + guest, []string{`2 "guest"`, `0T ""`, `2 "guest"`}},
	{"LF files have no typed lines", "a\nb\nc\n", []string{`0 "a"`, `0 "b"`, `0 "c"`}},
	{"one CR LF among many LF lines", "a\nb\nc\nd\ne\nf\r\n",
		[]string{`0 "a"`, `0 "b"`, `0 "c"`, `0 "d"`, `0 "e"`, `1 "f"`}},

	// 2. CRs that became LFs, escapes that were stripped: see judged.
	{"CRs lost", "hello\n\nmachine ready\n\nhost login: me (automatic login)\n\nid -u\nid -u\n\n\x1b[?2004h\n\n\n[me@host:~]$ id -u\n\n\x1b[?2004l\n1000\n\n\x1b[?2004h[me@host:~]$ pwd\npwd\n\n\x1b[?2004l\n/home/me\n\n",
		[]string{`0 "hello"`, `0 ""`, `0 "machine ready"`, `0 ""`, `0 "host login: me (automatic login)"`, `0 ""`,
			`0T "id -u"`, `0 "id -u"`, `0 ""`, `0 On""`, `0 ""`, `0 ""`, `0 "[me@host:~]$ id -u"`, `0 ""`,
			`0 Off""`, `0 "1000"`, `0 ""`, `0m13 On"[me@host:~]$ pwd"`, `0 "pwd"`, `0 ""`, `0 Off""`, `0 "/home/me"`, `0 ""`}},
	{"CRs lost before an erasure", "a\n\nb\n\nc\n\nStarting x\n\x1b[K[ OK ] x\n\n",
		[]string{`0 "a"`, `0 ""`, `0 "b"`, `0 ""`, `0 "c"`, `0 ""`, `0 "Starting x"`, `0 "[ OK ] x"`, `0 ""`}},
	{"ESC lost", "[?2004hX> ls\n[?2004l[0;1;31mred[0m [main] a[0] [1mb\n]0;me@host: ~\x07[m  end[m\n",
		[]string{`0 On"X> ls"`, `0 Off"red [main] a[0] b"`, `0 "  end"`}},
	{"brackets where ESC is not lost", "\x1b[0m[0;1m a[?2004l [1m]\n", []string{`0 "[0;1m a[?2004l [1m]"`}},

	// 3. Prompt, echo and answer are told apart by bracketed paste mode.
	{"answer", guest + "\x1b[?2004l\rSTATE=applied\r\r\n", []string{`2 "guest"`, `2 Off"STATE=applied"`}},
	{"no answer", guest + "\x1b[?2004l\r\x1b[?2004hPRE-NIXOS> :\r\r\n", []string{`2 "guest"`, `2 Off"" On"PRE-NIXOS> :"`}},
	{"prompt before the switch", "X> \x1b[?2004l\r\x1b[?2004h\x1b[?2004l\r\r\r\n", []string{`3 "X> " Off"" On"" Off""`}},
	{"type-ahead", "export PS1='X> '\n" + guest + "\x1b[?2004hX> poweroff\r\r\n\x1b[?2004l\rpoweroff\n\x1b[?2004hX> id -u\r\r\n\x1b[?2004hX> pwd\n",
		[]string{`0T "export PS1='X> '"`, `2 "guest"`, `2 On"X> poweroff"`, `0m0 Off"poweroff"`, `2 On"X> id -u"`, `0m3 On"X> pwd"`}},
	{"a prompt before it is set", guest + "X> ls\nexport PS1='X> '\nX> ls\n",
		[]string{`2 "guest"`, `0T "X> ls"`, `0T "export PS1='X> '"`, `0m3 "X> ls"`}},
	{"prompt twice", guest + "PS1=\"X> \"\nX> X> ls\n", []string{`2 "guest"`, `0T "PS1=\"X> \""`, `0m6 "X> X> ls"`}},
	// 4. An echo is not an answer: it ends in CR LF like all the guest writes,
	// and only the piece tells.
	{"echo", guest + "id -u\nid -u\r\r\n\x1b[?2004l\r0\r\r\n", []string{`2 "guest"`, `0T "id -u"`, `2 "id -u"`, `2 Off"0"`}},

	// 5. Escapes beyond CSI.
	{"title", "\x1b[1;32m[\x1b]0;me@host: ~\x07me@host:~]$\x1b[0m ls", []string{`0 "[me@host:~]$ ls"`}},
	{"title with UTF-8", "\x1b]0;“a” ✓\x07b", []string{`0 "b"`}},
	{"title with ST", "\x1b]3008;start=1;user=root\x1b\\a", []string{`0 "a"`}},
	{"hyperlink", "Loaded: (\x1b]8;;file://h/etc/x.service\x1b\\/etc/x.service\x1b]8;;\x1b\\; enabled)", []string{`0 "Loaded: (/etc/x.service; enabled)"`}},
	{"title without end", "a\x1b]0;me@host\nnext\r\r\n", []string{`0 "a"`, `2 "next"`}},
	{"title cut by CR", "\x1b]0;me@host\rtext", []string{`0 "text"`}},
	{"DCS without end", "a\x1bPxyz\nnext", []string{`0 "a"`, `0 "next"`}},
	{"long title", "\x1b]0;" + strings.Repeat("t", maxEscape) + "text", []string{`0 "tttttext"`}},
	{"Linux palette", "\x1b]P1dd0000login\x1b]Rx\x1b]P12", []string{`0 "loginx"`}},
	{"ISOLINUX preamble", "\x1be\x1b%@\x1b)0\x1b(B\x1b[0;37;40m\x1b[?25lboot", []string{`0 "boot"`}},
	{"soft reset and size query", "\x1b[!p\x1b]104\x07\x1b[?7h\x1b[6n\x1b[32766;32766H\x1b[6nx", []string{`0 "x"`}},
	{"line drawing by SO", "\x1b)0\x1b[1;1H\x0elqk\x1b[2;1Hx\x0f Boot \x0ex\x1b[3;1Hmqj\x0f", []string{`0 "┌─┐ │ Boot │ └─┘"`}},
	{"line drawing by G0", "\x1b(0tqu\x1b(Btqu", []string{`0 "├─┤tqu"`}},
	{"SO without line drawing", "\x0elogin", []string{`0 "login"`}},
	{"SO ends with its line", "\x1b)0\x0eq\nq", []string{`0 "─"`, `0 "q"`}},
	{"reverse scroll", "\x1bM\r\r\x1b[K[\x1b[0;31m*\x1b[0m ] A start job is running\r\r\r\n", []string{`3 "[* ] A start job is running"`}},
	{"backspaces", "log file: \x1b[K \b \x1b[Kl\bl\x1b[Ki\bi\x1b[Kn\bn", []string{`0 "log file:  lin"`}},
	{"pager status", "\x1b[7mlines 1-23\x1b[27m\x1b[K\r\x1b[K\x1b[0;94m  State:\x1b[0m up\x1b[m\r\r\n", []string{`2 "  State: up"`}},
	{"pager scrolls back", "\x1b[7m(END)\x1b[27m\x1b[K\r\x1b[K\x1b[H\x1bM   Driver: e1000\r\r\n", []string{`2 "   Driver: e1000"`}},
	{"value with colours inside", "inet \x1b[35m10.0.2.15\x1b[0m/24", []string{`0 "inet 10.0.2.15/24"`}},
	{"digits of a switch", "\x1b[?2004l", []string{`0 Off""`}},
	{"switch cut at the end", "a\x1b[?2004", []string{`0 "a"`}},
	{"switch cut by a typed LF", guest + "\x1b[?20\n04l\r0\r\r\n", []string{`2 "guest"`, `0 ""`, `2 Off"0"`}},
	{"SGR cut by a LF", "\x1b[0;1\n;31mred", []string{`0 ""`, `0 "red"`}},
	{"cut, and something else follows", "\x1b[0;1\n12:00 mount\x1b[\nmount", []string{`0 ""`, `0 "12:00 mount"`, `0 "mount"`}},
	{"escape in an escape", "\x1b[0\x1b[1mx\x1b\x1b[1my", []string{`0 "xy"`}},
	{"escape aborted by text", "\x1b[3é", []string{`0 "é"`}},
	{"endless CSI", "\x1b[" + strings.Repeat("1", maxEscape) + "text", []string{`0 "11text"`}},

	// 6. Foreign text is spliced into lines.
	{"glued to the login", guest + "nixos login: nixos (automatic login)export PS1='X> '\n", []string{`2 "guest"`, `0m36 "nixos login: nixos (automatic login)export PS1='X> '"`}},
	{"glued to an older login", guest + "host login: root\nPassword: secret\n", []string{`2 "guest"`, `0m12 "host login: root"`, `0m10 "Password: secret"`}},
	{"glued to something unknown", guest + "\x1b[1mwaiting...\x1b[0mls\n", []string{`2 "guest"`, `0 "waiting...ls"`}},
	{"prompt of the image", guest + "\x1b[1;31m[\x1b]0;root@box: ~\x07root@box:~]#\x1b[0m ls\n", []string{`2 "guest"`, `0m14 "[root@box:~]# ls"`}},
	{"marker broken over two lines", guest + "echo __READ\nY__\r\r\n", []string{`2 "guest"`, `0T "echo __READ"`, `2 "Y__"`}},

	// 9. A menu entry is text of the menu, in the order painted.
	{"menu", "\x1b[2J\x1b[4;1H Installer \x1b[5;1H (serial console=ttyS0,115200n8)\x1b[34;36HPress [Tab]\x1b[37;1HBooting in 2\x1b[37;1HBooting in 1",
		[]string{`0 " Installer  (serial console=ttyS0,115200n8) Press [Tab] Booting in 2 Booting in 1"`}},
	// 10. A transcript may be one line of QEMU.
	{"QEMU alone", "qemu-system-x86_64: -netdev user: Could not set up\r\n", []string{`1 "qemu-system-x86_64: -netdev user: Could not set up"`}},
	// 11. Colours and blobs in text journals.
	{"journal", "Mar 07 14:48:01 h systemd[1]: \x1b[0;1;39m\x1b[0;1;31mx.service: Failed\x1b[0m\nMar 07 14:48:02 h a[2]: [82B blob data]\n",
		[]string{`0 "Mar 07 14:48:01 h systemd[1]: x.service: Failed"`, `0 "Mar 07 14:48:02 h a[2]: [82B blob data]"`}},

	// The row.
	{"tabs", "a\tb\r\t\tc\td\t", []string{`0 "a       b       c       d"`}},
	{"tab moves over text", "abcdefghijk\r\tX", []string{`0 "abcdefghXjk"`}},
	{"repaint", "50%\r100%", []string{`0 "100%"`}},
	{"shorter repaint", "abcdef\rxy", []string{`0 "xycdef"`}},
	{"erase to the end", "abcdef\rxy\x1b[K", []string{`0 "xy"`}},
	{"erase to the start", "abcdef\b\b\b\x1b[1KX", []string{`0 "   Xef"`}},
	{"erase all", "abc\x1b[2Kd", []string{`0 "   d"`}},
	{"erase below", "abc\r\x1b[Jd", []string{`0 "d"`}},
	{"clear the screen", "abc\x1b[2Jd", []string{`0 "abc d"`}},
	{"erase characters", "abcdef\r\x1b[2X\x1b[4GX", []string{`0 "  cXef"`}},
	{"delete characters", "abcdef\r\x1b[2P", []string{`0 "cdef"`}},
	{"insert characters", "abc\r\x1b[2@xy", []string{`0 "xyabc"`}},
	{"columns", "ab\x1b[6Gc\x1b[3Dd\x1b[2Ce", []string{`0 "ab d ce"`}},
	{"status at the right", "Starting x\x1b[20G[ ok ]", []string{`0 "Starting x         [ ok ]"`}},
	{"backspace at the left", "\b\bab", []string{`0 "ab"`}},
	{"wide", "漢字\rx", []string{`0 "x 字"`}},
	{"half of a wide one", "漢字\b\b\bx", []string{`0 " x字"`}},
	{"invalid", "a\xffb\xc3", []string{"0 \"a\ufffdb\ufffd\""}},
	{"controls", "a\x00\x07\x7f\x01b\u0085c", []string{`0 "abc"`}},
	{"form feed", "a\fb", []string{`0 "a b"`}},
	{"beyond the last column", "\x1b[999999999999999999999Gx", []string{fmt.Sprintf("0 %q", strings.Repeat(" ", maxColumns-1)+"x")}},
	{"very long, with tabs", strings.Repeat("1234567\t", maxColumns/8+1), []string{fmt.Sprintf("0 %q", strings.Repeat("1234567 ", maxColumns/8)+"1234567")}},
	{"very long", "\x1b[m" + strings.Repeat("x", maxColumns+5), []string{fmt.Sprintf("0 %q", strings.Repeat("x", maxColumns+5))}},
	{"too long to be text", strings.Repeat("x", maxProper) + "\xff\ty", []string{fmt.Sprintf("0 %q", strings.Repeat("x", maxProper)+"? y")}},
	// Recorded: bash 5.2 on a tty of 80 columns, typed key by key.
	{"readline wraps", "\x1b[?2004hPRE> echo 0123456789012345678901234567890123456789012345678901234567890123456789 \r01234567890123456789\r\n\x1b[?2004l\r01\r\n",
		[]string{`1 On"PRE> echo 012345678901234567890123456789012345678901234567890123456789012345678901234567890123456789"`, `1 Off"01"`}},
	{"a blank and a CR elsewhere", "almost done \rdone", []string{`0 "donest done "`}},
}

func TestDecode(t *testing.T) {
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			var got []string
			tr := decode(c.in)
			for i := range tr.Lines {
				got = append(got, show(&tr.Lines[i]))
			}
			if !slices.Equal(got, c.want) {
				t.Errorf("decode %.200q\n got %s\nwant %s", c.in, strings.Join(got, "\n     "), strings.Join(c.want, "\n     "))
			}
		})
	}
}

// The text of a line with several pieces is that of the terminal, CRs obeyed.
func TestLineText(t *testing.T) {
	for in, want := range map[string]string{
		"\x1b[?2004l\rSTATE=applied\r\r\n":          "STATE=applied",
		"\x1b[?2004l\r\x1b[?2004hX> :\r\r\n":        "X> :",
		"X> \x1b[?2004l\rab\x1b)0\x0eq\r\r\n":       "ab─",
		"\x1b)0\x1b[?2004h\x0eq\x1b[?2004l\r\r\r\n": "─",
	} {
		if got := decode(in).Lines[0].Text; got != want {
			t.Errorf("%q: text %q, want %q", in, got, want)
		}
	}
}

func TestJudged(t *testing.T) {
	for _, c := range []struct {
		name, in           string
		crlf, crs, escapes bool
	}{
		{"serial", "a\r\r\nls\nls\r\r\n", true, false, false},
		{"typed more than printed", "a\r\r\n:\n:\n:\n", true, false, false},
		{"few CRs", "a\r\n" + strings.Repeat("x\n", 9), false, false, false},
		{"doubled", "ISOLINUX 6.04\n\nLoading k\n\nLoading i...ok\n\n", false, true, false},
		{"doubled, twice only", "ISOLINUX 6.04\n\nLoading k\n\n", false, false, false},
		{"paragraphs", "one\ntwo\n\nthree\nfour\n\nfive\nsix\n\n", false, false, false},
		{"paste mode off before LF", "\x1b[?2004l\nOK\n\n\x1b[?2004hX> ls\nls\n\n", false, true, false},
		{"CRs dropped", "\x1b[?2004lOK\n\n\x1b[?2004hX> ls\nls\n\x1b[?2004l\n\n", false, false, false},
		{"modes", "x [?2004h y\n", false, false, true},
		{"SGR", "[0;1;32mOK[0m\n", false, false, true},
		{"title", "]0;a@b: ~\x07\n", false, false, true},
		{"no title", "]0;a@b: ~\n", false, false, false},
		{"words in brackets", "[main] [0] [12m] [?] x[1] [10m ago]\n", false, false, false},
		{"drawing without addresses", "\x1be\x1b)0\x1b(B\x0elqk\x0f\n", false, false, true},
		{"drawing", "\x1b)0\x1b[1;1H\x0elqk\x0f\n", false, false, false},
		{"with ESC", "\x1b[0m [0;1;32m\n", false, false, false},
	} {
		tr := decode(c.in)
		if tr.crlf != c.crlf || tr.CRsLost != c.crs || tr.EscapesLost != c.escapes {
			t.Errorf("%s: crlf %v, CRs lost %v, escapes lost %v", c.name, tr.crlf, tr.CRsLost, tr.EscapesLost)
		}
	}
}

func TestLeftover(t *testing.T) {
	for in, want := range map[string]int{
		"[0m": 3, "[0;1;31mred": 8, "[38:5:1mx": 8, "[?2004hX": 7, "[?25l": 5, "[m": 2, "[m x": 2, "[m[": 2, "]0;a: ~\x07b": 8, "]2;\x07": 4,
		"[main]": 0, "[m]": 0, "[0]": 0, "[1234m": 0, "[0;m": 0, "[?m": 0, "[?2004": 0, "[": 0, "]0;a": 0, "]0;a\x01\x07": 0, "]a;b\x07": 0, "]8;;x\x07": 0,
	} {
		if got := leftover([]byte(in)); got != want {
			t.Errorf("leftover(%q) = %d, want %d", in, got, want)
		}
	}
}

func TestCutPrompt(t *testing.T) {
	tr := decode("export PS1='PRE-NIXOS> '\nx; PS1=\"# \"\nPS1='\\u@\\h$ '\nPS1=''\nPS1=' '\nMYPS1='no> '\necho $PS1='no> '\nPS1='open\n")
	if got, want := tr.Prompts(), []string{"PRE-NIXOS> ", "# "}; !slices.Equal(got, want) {
		t.Errorf("prompts %q, want %q", got, want)
	}
	for in, want := range map[string]string{
		"PRE-NIXOS> id -u":          "PRE-NIXOS> ",
		"PRE-NIXOS>":                "PRE-NIXOS>",
		"# ls":                      "# ",
		"[nixos@nixos:~]$ ls":       "[nixos@nixos:~]$ ",
		"[root@nixos:/etc/nixos]# ": "[root@nixos:/etc/nixos]# ",
		"[root@fedora ~]# ls":       "[root@fedora ~]# ",
		"root@box:~# ls":            "root@box:~# ",
		"root@(none):/# ls":         "root@(none):/# ",
		"me@box:/tmp$":              "me@box:/tmp$",
		"sh-5.2# ls":                "sh-5.2# ",
		"bash-5.2$ ls":              "bash-5.2$ ",
		"~ # ls":                    "~ # ",
		"/ # ls":                    "/ # ",

		"PRE-NIXOS> ": "PRE-NIXOS> ",
		// Nearly.
		"PRE-NIXOS>x":              "",
		"x PRE-NIXOS> ":            "",
		"[nixos@nixos:~] $ ls":     "",
		"[nixos@nixos:~]$ls":       "",
		"[  OK  ] Started a@b:~# ": "",
		"[unit@host:x]$ ":          "",
		"git@host:repo.git# ":      "",
		"root@box: /# ":            "",
		"sh-5# ":                   "",
		"/etc # comment":           "",
		"~# ":                      "",
		"":                         "",
	} {
		p, rest, ok := tr.CutPrompt(in)
		if p != want || ok != (want != "") || p+rest != in {
			t.Errorf("CutPrompt(%q) = %q, %q, %v; want %q", in, p, rest, ok, want)
		}
	}
}

func TestLogin(t *testing.T) {
	for in, want := range map[string]int{
		"nixos login: ":                          13,
		"nixos login: root":                      13,
		"nixos login: nixos (automatic login)":   36,
		"nixos login: nixos (automatic login)ls": 36,
		"(none) login: x":                        14,
		"Password: ":                             10,
		"[sudo] password for nixos: x":           27,
		"nixos login:":                           0,
		"Last login: Mon Oct  6":                 12,
		"the next login: soon":                   0,
		"Password:":                              0,
		"New Password: ":                         0,
		"password for nixos: ":                   0,
	} {
		if got := len(loginRe.FindString(in)); got != want {
			t.Errorf("%q: %d, want %d", in, got, want)
		}
	}
}

func TestEvidence(t *testing.T) {
	const e = "\x1b[35m"
	for _, c := range []struct {
		in    string
		line  int
		piece int
		text  string // of the piece
		raw   string
	}{
		{"a\nplain text\r\r\n", 2, 0, "text", "text"},
		{"inet " + e + "10.0.2.15\x1b[0m/24\r\r\n", 1, 0, "10.0.2.15/24", "10.0.2.15\x1b[0m/24"},
		{"inet " + e + "10.0.2.15\x1b[0m/24\r\r\n", 1, 0, "10.0.2.15", "10.0.2.15"},
		{"x\n\x1b[?2004l\r\x1b[?2004hX> ls\r\r\n", 2, 1, "ls", "ls"},
		{"\x1b[?2004l\rSTATE=applied\r\r\n", 1, 0, "STATE", "STATE"},
		{"abcdef\rxy\r\r\n", 1, 0, "yc", "cdef\rxy"},
		{"\x1b)0\x0elqk\x0f", 1, 0, "─", "q"},
		{"\x1b)0\x0elqk\x0fé", 1, 0, "─┐é", "qk\x0fé"},
		{"a\xffb", 1, 0, "\ufffd", "\xff"},
		{"a\xff\xfe\xfdb", 1, 0, "\ufffd\ufffdb", "\xfe\xfdb"},
		{"漢\t字", 1, 0, "字", "字"},
		{"a\tb", 1, 0, "a       b", "a\tb"},
		{"a\x1b[2;1Hb", 1, 0, "a b", "a\x1b[2;1Hb"},
	} {
		tr := decode(c.in)
		l := tr.Line(c.line)
		p := &l.Pieces[c.piece]
		i := strings.LastIndex(p.Text, c.text)
		if i < 0 {
			t.Errorf("%q: no %q in %q", c.in, c.text, p.Text)
			continue
		}
		ev := tr.TextEvidence(p, i, i+len(c.text))
		if got := c.in[ev.Start:ev.End]; got != c.raw || ev.Line != c.line || ev.Path != "serial.log" {
			t.Errorf("%q: %q is %q on line %d, want %q on %d", c.in, c.text, got, ev.Line, c.raw, c.line)
		}
	}
}

// TestDriverEvidence: spans are those of the guest's words in the driver's log.
func TestDriverEvidence(t *testing.T) {
	const log = "machine: starting vm\nmachine # boot me\nmachine: must succeed: true\n"
	tr := decode(log)
	if tr.Machine != "machine" {
		t.Fatalf("machine %q", tr.Machine)
	}
	l := tr.Line(2)
	ev, word := tr.Evidence(l), tr.TextEvidence(&l.Pieces[0], 5, 7)
	if ev.Line != 2 || log[ev.Start:ev.End] != "boot me" || ev.Quote != "boot me" || log[word.Start:word.End] != "me" {
		t.Errorf("%+v, %+v", ev, word)
	}
	if ev := tr.Evidence(tr.Line(3)); ev.Start != ev.End || ev.Quote != "" {
		t.Errorf("what the driver says: %+v", ev)
	}
}

func TestSpans(t *testing.T) {
	in := "a\nX> \x1b[?2004l\rOK\x1b[0m\r\r\n\x1b[?2004h"
	tr := decode(in)
	check := func(what string, ev bundle.Evidence, line int, raw, quote string) {
		t.Helper()
		if got := in[ev.Start:ev.End]; got != raw || ev.Line != line || ev.Quote != quote {
			t.Errorf("%s: %q on line %d, quote %q; want %q, %d, %q", what, got, ev.Line, ev.Quote, raw, line, quote)
		}
	}
	l := tr.Line(2)
	check("line", tr.Evidence(l), 2, "X> \x1b[?2004l\rOK\x1b[0m", "X> OK")
	check("piece 0", tr.PieceEvidence(&l.Pieces[0]), 2, "X> ", "X>")
	check("piece 1", tr.PieceEvidence(&l.Pieces[1]), 2, "\rOK\x1b[0m", "OK")
	check("all", tr.TextEvidence(&l.Pieces[1], -5, 99), 2, "OK", "OK")
	check("nothing", tr.TextEvidence(&l.Pieces[1], 1, 1), 2, "", "")
	check("end", tr.TextEvidence(&l.Pieces[1], 2, 2), 2, "", "")
	last := &tr.Line(3).Pieces[0]
	check("empty piece at the end", tr.PieceEvidence(last), 3, "", "")
	check("its text", tr.TextEvidence(last, 0, 9), 3, "", "")
	if tr.Line(0) != nil || tr.Line(4) != nil || tr.Line(-1) != nil {
		t.Error("a line outside is not nil")
	}
}

func TestAnalyzer(t *testing.T) {
	text := []byte("hello\r\r\n")
	run := &bundle.Run{Artifacts: []*bundle.Artifact{
		bundle.NewArtifact("b.txt", bundle.Capture, text),
		{Path: "big.log", Kind: bundle.Serial, Size: bundle.MaxText + 1},
		bundle.NewArtifact("image.iso", bundle.ISO, text),
		bundle.NewArtifact("metadata.json", bundle.Metadata, text),
		bundle.NewArtifact("serial.log", bundle.Serial, text),
		bundle.NewArtifact("what", bundle.Unknown, nil),
	}}
	var got []string
	reader := &analyzers.Analyzer{Name: "reader", Doc: "x", Requires: []*analyzers.Analyzer{Analyzer}, Run: func(p *analyzers.Pass) (any, error) {
		for _, tr := range From(p) {
			got = append(got, fmt.Sprintf("%s %d", tr.Path, len(tr.Lines)))
		}
		return nil, nil
	}}
	analyzers.Analyze(run, []*analyzers.Analyzer{reader}, nil)
	if want := []string{"b.txt 1", "serial.log 1", "what 0"}; !slices.Equal(got, want) {
		t.Errorf("transcripts %q, want %q", got, want)
	}
	if len(run.Problems) != 1 || run.Problems[0].Path != "big.log" {
		t.Errorf("problems %v", run.Problems)
	}
}

// Hostile input ends, and its text is in proportion to its size.
func TestBounds(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	const size = 2 << 20
	for name, s := range map[string]string{
		"insert":         "x\x1b[@\r",
		"insert far":     "\x1b[9999Gx\x1b[G\x1b[9999@",
		"delete":         "xxxx\r\x1b[P",
		"erase":          "x\x1b[9999X\r",
		"erase start":    "xxxx\x1b[1K",
		"jump":           "\x1b[16384Gx\x1b[H",
		"tabs":           "\t",
		"tabbed":         "\tx",
		"invalid":        "a\xff",
		"escapes":        "\x1b",
		"titles":         "\x1b]0;",
		"strings":        "\x1bP\x1b^\x1b_",
		"switches":       "\x1b[?2004h",
		"switched lines": "\x1b[?2004hx\n",
		"empty lines":    "\n",
		"titles lost":    "[?25h]0;",
		"brackets":       "[?25h[",
		"prompts":        "PS1='a' ",
		"boxes":          "\x1b)0\x0ex\x0f",
		"wide":           "漢\b",
		"cut":            "\x1b[0\n",
	} {
		in := []byte(strings.Repeat(s, size/len(s)))
		tr := Decode(bundle.NewArtifact("x", bundle.Serial, in), in)
		text := 0
		for i := range tr.Lines {
			text += len(tr.Lines[i].Text)
		}
		if text > 4*size {
			t.Errorf("%s: %d bytes of text of %d", name, text, size)
		}
	}
}

func TestTooManyLines(t *testing.T) {
	if testing.Short() {
		t.Skip("slow")
	}
	in := []byte(strings.Repeat("\n", maxLines+7))
	tr := Decode(bundle.NewArtifact("x", bundle.Serial, in), in)
	if len(tr.Lines) != maxLines || tr.Unread != 7 {
		t.Errorf("%d lines, %d unread", len(tr.Lines), tr.Unread)
	}
}
