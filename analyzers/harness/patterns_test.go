package harness

import (
	"forensics/analyzers/analyzertest"
	"regexp"
	"testing"
)

func TestPatterns(t *testing.T) {
	res := map[string]*regexp.Regexp{
		"stamp": stampRe, "copied": copiedRe, "matched": matchedRe, "returned": returnedRe, "detail": detailRe, "asked": askedRe,
		"answer": answerRe, "said": saidRe, "torn": tornRe, "who": whoRe, "escalate": escalateRe, "buffer": bufferRe, "search": searchRe,
		"timeout": timeoutRe, "await": awaitRe, "choice": choiceRe, "prompt": promptRe, "marker": markerRe, "escape": escapeRe,
	}
	for _, k := range kinds {
		res[k.name] = k.re
	}
	analyzertest.Lines(t, res, []analyzertest.Line{
		{"stamp", true, "[2026-01-05T10:00:00.000001+00:00] x"},
		{"stamp", true, "2026-01-05 10:00:00,123 INFO x"},
		{"stamp", true, "2026-01-05T10:00:00.832553Z x"},
		{"stamp", false, "Jan 05 10:00:00 nixos x"},
		{"copied", true, "Serial output: id -u"},
		{"copied", true, "Serial: x"},
		{"copied", true, "Serial (unmatched): x"},
		{"copied", false, "Serial log tail (last 50 lines)"},
		{"matched", true, "Matched pattern: '__ROOT__'"},
		{"matched", true, "Matched: '__AS_ROOT__'"},
		{"matched", false, "Matched pattern: 'root@.*# ?'"},
		{"matched", false, "Matched pattern: '__A'"},
		{"returned", true, "id -u after sudo -i returned: '0'"},
		{"returned", true, "id -u returned 1000"},
		{"returned", false, "id -u after sudo -i returned: ''"},
		{"returned", false, "pid after sudo -i returned: '0'"},
		{"detail", true, "  attempt=2, source=serial log tail, uid=2004"},
		{"detail", true, "uid=0"},
		{"detail", false, "  audit: type=1130 audit(1.1:2): pid=1 uid=998 auid=4294967295"},
		{"detail", false, "requested by ':1.5' (uid=998 pid=813)"},
		{"detail", false, "uid=0(root) gid=0(root)"},
		{"detail", false, "  auid=998, ses=1"},
		{"asked", true, "Running command: id -u"},
		{"asked", true, "Command 3: id -u"},
		{"asked", false, "  Command: id -un"},
		{"asked", false, "command: /usr/bin/qemu-system-x86_64"},
		{"answer", true, "Answer: 0"},
		{"answer", true, "Exit 0, 1 lines: uid=0(root) gid=0(root) groups=0(root)"},
		{"answer", false, "Exit 0, 2 lines: 0"},
		{"answer", false, "Answer: 0 of 3"},
		{"said", true, "Answer: STATE=applied"},
		{"said", true, "Exit 0, 2 lines: STATE=applied"},
		{"said", false, "Answer: OK"},
		{"said", false, "Answer was STATE=applied"},
		{"torn", true, "Answer: [0;"},
		{"torn", true, "Answer: '[?2004l'"},
		{"torn", false, "Answer: [none]"},
		{"torn", false, "Answer: 0"},
		{"who", true, "id -u"},
		{"who", false, "id -u nixos"},
		{"escalate", true, "Attempting to escalate with sudo -i"},
		{"escalate", true, "Command: su -"},
		{"escalate", false, "Command: command -v sudoedit"},
		{"buffer", true, `E   buffer (last 100 chars): '\x1b[0m '`},
		{"buffer", false, `E   before (last 100 chars): '\x1b[0m '`},
		{"search", true, `E       0: re.compile('root@.*# ')`},
		{"search", true, `    0: re.compile('login: ')`},
		{"search", false, `E       0: 'root@.*# '`},
		{"timeout", true, "E           pexpect.exceptions.TIMEOUT: Timeout exceeded."},
		{"timeout", true, "pexpect reported EOF while awaiting patterns"},
		{"timeout", true, "Timed out after 60 s"},
		{"timeout", true, "Result: timed out after 240 s waiting for login: "},
		{"timeout", false, "Awaiting patterns: login:  (timeout=600s)"},
		{"timeout", false, "  Jan 05 10:00:00 nixos systemd[1]: Timed out waiting for device /dev/vda."},
		{"timeout", false, "timeout: 600"},
		{"await", true, "Awaiting patterns: login: , # ? (timeout=600s)"},
		{"await", true, "Expecting: login:  | # (timeout 60 s)"},
		{"await", false, "Expecting device /dev/ttyS0..."},
		{"choice", true, "x && echo A || echo B"},
		{"choice", true, "if x; then echo A; else echo B; fi"},
		{"choice", false, "echo A; echo B"},
		{"prompt", true, "[nixos@nixos:~]$ "},
		{"prompt", true, "nixos login: "},
		{"prompt", false, "Welcome to nixos"},
		{"marker", true, "printf '__EXIT__=%s' $?"},
		{"marker", true, "then echo __ROOT__; fi"},
		{"marker", false, "echo _ROOT_"},
		{"escape", true, "\x1b[?2004l"},
		{"escape", true, "\x1b]0;title\x07"},
		{"escape", false, "[?2004l"},
		{"systemctl status", true, "● pre-nixos.service - Pre-NixOS setup"},
		{"systemctl status", true, "Unit x.service could not be found."},
		{"systemctl status", false, "● 2: lan"},
		{"networkctl status", true, "● 2: lan"},
		{"networkctl status", true, "●        State: routable"[:3] + " Interfaces: 1"},
		{"networkctl status", false, "2: lan    inet 10.0.2.15/24"},
		{"systemctl list-jobs", true, "JOB UNIT TYPE STATE"},
		{"systemctl list-jobs", true, "No jobs running."},
		{"systemctl list-jobs", false, "3 jobs listed."},
		{"the status file", true, "STATE=applied"},
		{"the status file", false, "  STATE=applied"},
		{"systemctl show", true, "After=network.target sshd.service"},
		{"systemctl show", false, "After=all is done"},
		{"journalctl", true, "Jan 05 10:00:00 nixos systemd[1]: Starting Pre-NixOS setup..."},
		{"journalctl", false, "Jan 05 10:00:00 nixos pre-nixos[2]: Starting over"},
	})
}

// FuzzPyString: what Python's repr prints is decoded, anything else is not,
// and nothing panics.
func FuzzPyString(f *testing.F) {
	for _, s := range []string{`'a'`, `"it's"`, `'\x1b[0m'`, `'\\'`, `'`, `''`, `'\'`, `"\u00e9"`} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if m := bufferRe.FindStringSubmatch("buffer (last 100 chars): " + s); m != nil {
			if got := plain(pyString(m[1])); len(got) > 4*len(s) {
				t.Errorf("%q became %q", s, got)
			}
		}
	})
}

func TestIsNumber(t *testing.T) {
	for s, want := range map[string]bool{"0": true, "1000": true, "1234567890": true, "12345678901": false, "": false, "10 000": false, "x1": false, "-1": false} {
		if got := isNumber(s); got != want {
			t.Errorf("isNumber(%q) is %t", s, got)
		}
	}
}
