package dialogue

import (
	"regexp"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/console"
)

// screenBytes is how far back the screen is looked at: more than a screen full
// of coloured text, little enough to decode again whenever bytes come.
const screenBytes = 32 << 10

// row is one line as the screen shows it.
type row struct {
	text  string
	pos   int64 // of its first byte on the tape
	ended bool  // a line end follows: no cursor stands here
	paste bool  // a shell with bracketed paste shows its prompt here
}

// rows decodes what stands behind pos, at most screenBytes.
func (d *Dialogue) rows(pos int64) []row {
	data, at := d.tape.since(max(pos, d.tape.end()-screenBytes))
	t := console.Decode(&bundle.Artifact{Kind: bundle.Serial}, data)
	rows := make([]row, 0, len(t.Lines))
	for i := range t.Lines {
		l := &t.Lines[i]
		r := row{text: strings.TrimSpace(l.Text), pos: at + l.Start, ended: data[l.End-1] == '\n'}
		if n := len(l.Pieces); n > 0 && l.Pieces[n-1].Paste == console.On {
			r.paste = true
			r.text = strings.TrimSpace(l.Pieces[n-1].Text)
		}
		rows = append(rows, r)
	}
	return rows
}

// sight is what a row means to somebody who waits for a login.
type sight int

const (
	plain     sight = iota
	loader          // firmware or a boot loader speaks
	linux           // the kernel, an initrd or systemd speaks
	question        // getty asks who it is
	automatic       // getty logs somebody in by itself
	password        // login asks for a password
	incorrect       // login refuses
	timedOut        // login does not wait any more
	prompt          // perhaps a shell
	locked          // sulogin asks for root's password, an initrd for a choice
	enter           // sulogin asks for Enter
	panicked
	rebooting
	down
)

// sights are tried in order. Each says where its words come from.
var sights = []struct {
	is sight
	re *regexp.Regexp
}{
	// printk; its stamp is missing where printk.time is off.
	{panicked, regexp.MustCompile(`^(?:\[ *\d+\.\d{6}\] )?(?:---\[ end )?Kernel panic - not syncing`)},
	// kernel/reboot.c.
	{rebooting, regexp.MustCompile(`^(?:\[ *\d+\.\d{6}\] )?reboot: Restarting system`)},
	{down, regexp.MustCompile(`^(?:\[ *\d+\.\d{6}\] )?reboot: (?:Power down|System halted)`)},
	// SeaBIOS, OVMF, iPXE, syslinux, GRUB, and the prompts at which they wait.
	{loader, regexp.MustCompile(`^(?:SeaBIOS \(version|Booting from |BdsDxe: |UEFI Interactive Shell|Shell> ?|iPXE[ >]|grub(?: rescue)?> ?|boot: ?$)|(?:ISO|SYS|EXT|PXE)LINUX \d|GNU GRUB +version|^Welcome to GRUB!|^Booting [\x60']`)},
	// sulogin of util-linux and busybox; NixOS's stage-1-init.sh.
	{locked, regexp.MustCompile(`^Give root password for (?:maintenance|system maintenance|login)|^An error occurred in stage [12] of the boot process`)},
	{enter, regexp.MustCompile(`^Press Enter for (?:maintenance|system maintenance)|^Please press Enter to activate this console`)},
	// agetty.
	{automatic, regexp.MustCompile(`login: \S+ \(automatic login\)`)},
	// agetty and busybox's getty; a broadcast may stand behind it. "Last login:"
	// is what a session starts with.
	{question, regexp.MustCompile(`^[\w.()-]+ login:(?: |$)|^login:$`)},
	// login and PAM.
	{password, regexp.MustCompile(`^(?:\S+'s )?[Pp]assword: ?`)},
	{incorrect, regexp.MustCompile(`^(?:Login incorrect|Maximum number of tries exceeded|Account locked|Your account has expired)`)},
	{timedOut, regexp.MustCompile(`^Login timed out after \d+ seconds`)},
	// printk's stamps; systemd's status output and greeting; NixOS's stages;
	// initramfs-tools; agetty's banner.
	{linux, regexp.MustCompile(`^\[ *\d+\.\d{6}\] |Linux version \d+\.\d+|^\[ +OK +\] |^\[FAILED\] |^Welcome to (?:[^G].*|G[^R].*)!$|<<< .*Stage [12] >>>|^Loading, please wait\.\.\.|<<< Welcome to |\bLinux\b.* (?:tty\w+|hvc\d+)$`)},
}

// emergencyRe is how shells of a boot that failed introduce themselves: systemd,
// dracut, initramfs-tools.
var emergencyRe = regexp.MustCompile(`^You are in (?:emergency|rescue) mode|^Entering emergency mode|^\(initramfs\)`)

// promptRe is a row that ends like a prompt; only the answer to a probe tells.
var promptRe = regexp.MustCompile(`^.{0,120}[$#%>❯λ»]$|^\(initramfs\)$`)

// cutPrompt knows the prompts that shells have by themselves.
var cutPrompt = (&console.Transcript{}).CutPrompt

func (r *row) sight() sight {
	for _, s := range sights {
		if s.re.MatchString(r.text) {
			return s.is
		}
	}
	if _, rest, ok := cutPrompt(r.text); ok && strings.TrimSpace(rest) == "" {
		return prompt
	}
	// Only a shell turns bracketed paste on, also where a broadcast splits what
	// it shows then.
	if r.paste || !r.ended && promptRe.MatchString(r.text) {
		return prompt
	}
	if emergencyRe.MatchString(r.text) {
		return linux
	}
	return plain
}
