package bundle

import (
	"bytes"
	"encoding/json"
	"io"
	"regexp"
	"strings"
)

// sniffLen is how much of a file decides what it is. The marks that matter
// stand early; a journal or dmesg shows itself in the first lines.
const sniffLen = 256 << 10

// isoMark stands at the first volume descriptor (ECMA-119, 8.1), past sniffing
// range of small reads but within ours.
const isoMark, isoMarkAt = "CD001", 0x8001

var (
	// A log of a program that stamps its lines in ISO 8601, bracketed as
	// Python's harnesses do, or bare. (dmesg's has a comma and microseconds.)
	harnessRe = regexp.MustCompile(`(?m)^\[?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+|,\d{1,3})?(?:[+-]\d\d:?\d\d|Z)?\]? \S`)
	pytestRe  = regexp.MustCompile(`(?m)^=+ test session starts =+|^E? +pexpect\.exceptions\.|^searcher: searcher_re:|^<pexpect\.pty_spawn\.spawn object`)
	// nix's own progress lines (libstore) and the answer of nix build --json, at
	// line start: in a journal or transcript they would stand behind a prefix.
	nixRe = regexp.MustCompile(`(?m)^(?:these \d+ derivations will be built:|this derivation will be built:|these \d+ paths will be fetched|building '/nix/store/|copying path '/nix/store/|error: builder for '/nix/store/|\[\{"drvPath":"/nix/store/|evaluating derivation '|error:\n +… (?:while|in the) )`)
	// nix's last words when it built nothing; other programs say "error:" too,
	// so the file's name must speak of a build.
	nixErrorRe = regexp.MustCompile(`(?m)^(?:error: |\S*nix: command not found|\S*: (?:line \d+: )?nix: command not found)`)
	// printk with time stamps.
	printkRe = regexp.MustCompile(`^(?:<\d+>)?\[ *\d+\.\d{6}\] ?` +
		// dmesg -T and --time-format iso
		`|^\[[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}\] |^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{6}[+-]\d\d:\d\d `)
	// journalctl's short form, "Oct 08 06:07:35 host ident[1]: ", and its
	// forms with other stamps, which have a process in brackets.
	// kola (mantle/network/journal of coreos-assembler) writes microseconds and
	// no host.
	shortRe = regexp.MustCompile(`^(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d \d\d:\d\d:\d\d(?:\.\d+)? \S+ [^\s:\[]+(?:\[\d+\])?: ` +
		`|^(?:\w{3} )?\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:\.\d+)?(?: ?[A-Z]{3,4}|[+-]\d{4}|[+-]\d\d:\d\d)? \S+ (?:[^\s:\[]+\[\d+\]|kernel): ` +
		`|^\[ *\d+\.\d+\] \S+ [^\s:\[]+\[\d+\]: ` +
		`|^(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec) [ \d]\d \d\d:\d\d:\d\d\.\d{6} (?:[^\s:\[]+\[\d+\]|kernel): `)
	// Boot loaders, SeaBIOS, the kernel's first line, systemd's status lines,
	// getty and shells: what only a console shows.
	bootRe    = regexp.MustCompile(`(?m)^(?:\r)*(?:ISOLINUX |SYSLINUX |EXTLINUX |SeaBIOS |GNU GRUB|BdsDxe: |iPXE )|Loading \S+\.\.\. ?ok|Linux version \d|(?:^|\s)\[ +OK +\] |login: |<<< Welcome to |<<< NixOS Stage 1 >>>`)
	consoleRe = regexp.MustCompile(`\x1b\[\?2004[hl]|\r\r\n`)
	// QEMU prefixes its own messages with the program's name.
	qemuErrRe = regexp.MustCompile(`^\s*(?:\S*/)?qemu-system-\w+: `)
	// The heads of systemctl status and networkctl status.
	statusRe = regexp.MustCompile(`(?m)^\s*[●○×↻*] (?:\S+\.(?:service|socket|target|mount|device|timer)\b|\d+: \S+)`)
	// Answers of the commands that harnesses capture, perhaps under the command
	// at its prompt.
	answerRe = regexp.MustCompile(`\A[$#] [a-z/]|(?m)^\s*(?:[●○×↻*] \S+\.(?:service|socket|target|mount|device|timer)\b|JOB +UNIT +TYPE|No jobs running|\d+ jobs? listed|Active: (?:active|inactive|failed|activating|deactivating)|(?:STATE|DETAIL)=|After=|Online state:|\d+: \S+ +inet6? |NAME +(?:FSTYPE|MAJ:MIN|TYPE)|/dev/\S+: .*(?:TYPE|PTTYPE)="|QEMU process is no longer running|Exit status: \d+|uid=\d+\(|VG +#PV|LV +VG )`)
)

// sniff decides what an artifact is from its first bytes; its name breaks ties.
func sniff(name string, head []byte, size int64) Kind {
	switch {
	case size == 0:
		return Empty
	case len(head) >= isoMarkAt+len(isoMark) && string(head[isoMarkAt:isoMarkAt+len(isoMark)]) == isoMark:
		return ISO
	case bytes.HasPrefix(head, []byte("LPKSHHRH")):
		return NativeJ
	case isExport(head):
		return Journal
	case bytes.IndexByte(head, 0) >= 0 && !mostlyText(head):
		return Binary
	case !mostlyText(head):
		return Binary
	}
	object := false
	if t := bytes.TrimLeft(head, " \t\r\n"); len(t) > 0 && t[0] == '{' {
		keys := topKeys(t)
		if k := sniffJSON(keys, t); k != Unknown {
			return k
		}
		object = len(keys) > 0
	}
	k := sniffText(strings.ToLower(name), head)
	if k == Serial && object {
		return Unknown // a report of a test quotes what the console showed
	}
	return k
}

func sniffText(name string, head []byte) Kind {
	short, printk, lines := countLines(head)
	boot, console := bootRe.Match(head), consoleRe.Match(head)
	kind, driver := sniffDriver(head)
	switch {
	case strings.HasSuffix(name, ".md") || strings.HasSuffix(name, ".rst"):
		return Report
	case qemuErrRe.Match(head):
		return Serial
	case driver:
		return kind
	case pytestRe.Match(head) || harnessFirst(head) && short*2 <= lines:
		return Harness
	case lines > 0 && short*2 > lines && statusFirst(head):
		return Capture
	case lines > 0 && short*2 > lines && !startsBoot(head):
		return Journal
	case lines > 0 && printk*2 > lines && !console && (!boot || strings.Contains(name, "dmesg")):
		return Dmesg
	case printk > 0 && lines > 0 && printk*10 > lines*9 && !console && bytes.IndexByte(head, '\r') < 0:
		return Dmesg
	case boot || console:
		return Serial
	case nixRe.Match(head) || strings.Contains(name, "build") && nixErrorRe.Match(head):
		return BuildLog
	case short > 0:
		return Journal
	case answerRe.Match(head):
		return Capture
	case strings.Contains(name, "serial") || strings.Contains(name, "console"):
		return Serial
	}
	return Unknown
}

// harnessFirst reports whether one of the first lines is a harness's. A copy
// of such a line deep in another file says nothing about that file.
func harnessFirst(head []byte) bool {
	loc := harnessRe.FindIndex(head)
	return loc != nil && bytes.Count(head[:loc[0]], []byte("\n")) < 8
}

// statusFirst reports whether a command's answer that merely ends in journal
// lines (systemctl status, networkctl status) opens the file.
func statusFirst(head []byte) bool {
	loc := statusRe.FindIndex(head)
	return loc != nil && bytes.Count(head[:loc[0]], []byte("\n")) < 6
}

// startsBoot reports whether a boot loader or kernel speaks among the first
// lines, other than in a journal's.
func startsBoot(head []byte) bool {
	rest := head
	for range 8 {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		if bootRe.Match(line) && !shortRe.Match(bytes.TrimSpace(line)) {
			return true
		}
	}
	return false
}

// countLines counts lines in journal short form, printk lines and non-blank
// lines.
func countLines(head []byte) (short, printk, lines int) {
	for rest := head; len(rest) > 0; {
		var line []byte
		line, rest, _ = bytes.Cut(rest, []byte("\n"))
		line = bytes.TrimSpace(line)
		if len(line) == 0 {
			continue
		}
		lines++
		if shortRe.Match(line) {
			short++
		} else if (line[0] == '[' || line[0] == '<' || line[0] == '2') && printkRe.Match(line) {
			printk++
		}
	}
	return short, printk, lines
}

func isExport(head []byte) bool {
	t := bytes.TrimLeft(head, "\n")
	return bytes.HasPrefix(t, []byte("__CURSOR=")) || bytes.HasPrefix(t, []byte("__REALTIME_TIMESTAMP="))
}

// Records reports whether data, the content of a Journal, is records from its
// first byte on, in journalctl's json or export form, rather than lines.
func Records(data []byte) bool {
	t := bytes.TrimLeft(data[:min(len(data), sniffLen)], " \t\r\n\x1e")
	return isExport(t) || len(t) > 0 && t[0] == '{'
}

// mostlyText reports whether few bytes are neither text nor what a terminal
// uses.
func mostlyText(head []byte) bool {
	bad := 0
	for _, c := range head {
		if c < 0x20 && c != '\t' && c != '\n' && c != '\r' && c != 0x1b && c != 7 && c != 8 && c != 0x0e && c != 0x0f && c != 0x0c {
			bad++
		}
	}
	return bad*20 <= len(head)
}

// sniffJSON tells the JSON artifacts apart by the keys of the first object.
func sniffJSON(keys map[string]bool, t []byte) Kind {
	has := func(ks ...string) bool {
		for _, k := range ks {
			if !keys[k] {
				return false
			}
		}
		return true
	}
	switch {
	case has("schema") && bytes.Contains(t[:min(len(t), 4096)], []byte("forensics.bundle/")):
		return Manifest
	case has("version", "width", "height"), // asciicast v2
		has("path", "type", "mode"): // a line of an image's tree
		return Copy
	case has("schema") && bytes.Contains(t[:min(len(t), 4096)], []byte("forensics.access/")):
		return Access
	case has("schema", "offers") && bytes.Contains(t[:min(len(t), 4096)], []byte("forensics.promises/")):
		return Promises
	case has("argv", "exit_status") && (keys["where"] || keys["stdout"]):
		return Probe
	case has("iso_path"), has("artifact"), has("qemu"), has("nar_hash"), has("argv", "pid"):
		return Metadata
	case has("__REALTIME_TIMESTAMP"), has("__CURSOR"), has("MESSAGE"):
		return Journal
	}
	return Unknown
}

// topKeys returns the keys of the first JSON object in t, as far as t goes.
func topKeys(t []byte) map[string]bool {
	keys := map[string]bool{}
	d := json.NewDecoder(io.LimitReader(bytes.NewReader(t), sniffLen))
	depth, key := 0, false
	for {
		tok, err := d.Token()
		if err != nil {
			return keys
		}
		switch v := tok.(type) {
		case json.Delim:
			if v == '{' || v == '[' {
				depth++
				key = v == '{'
				if depth > 64 {
					return keys
				}
				continue
			}
			depth--
			if depth == 0 {
				return keys
			}
			key = depth == 1
		case string:
			if depth == 1 && key {
				keys[v] = true
				key = false
				continue
			}
			key = depth == 1
		default:
			key = depth == 1
		}
	}
}
