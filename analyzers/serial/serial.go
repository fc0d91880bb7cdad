// Package serial reads how far a boot came from what its serial console shows:
// firmware, boot loader, kernel loaded, kernel, initrd (stage 1), activation
// (stage 2), systemd, login prompt.
//
// Only text before the first login counts, and none behind a shell's prompt
// until firmware or a boot loader speaks again: a shell session may print
// another boot's kernel log. A stage that shows nothing on this port was not
// necessarily skipped: where /dev/console is another terminal, nothing stands
// between the boot loader and the getty's banner. What the menu of a boot
// loader offers is not what was booted, so menu entries state nothing.
package serial

import (
	"regexp"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/console"
)

// Stages in order. Shell, root shell and provisioned are for other analyzers
// to show.
var Stages = []string{"none", "firmware", "bootloader", "kernel-loaded", "kernel", "stage-1", "stage-2", "systemd", "login-prompt", "shell", "root-shell", "provisioned"}

// Analyzer reads the stages.
var Analyzer = &analyzers.Analyzer{
	Name:     "serial",
	Doc:      "Reads the stages of the boot from serial transcripts.",
	Requires: []*analyzers.Analyzer{console.Analyzer},
	Facts: []analyzers.FactType{
		{Name: "serial.reached", Doc: "The console shows text of this boot stage.", Subject: "stage", Values: []string{"yes"}, Repeats: true},
		{Name: "serial.getty", Doc: "A getty runs on this terminal: its banner, or systemd's word that it started.", Subject: "terminal", Values: []string{"yes"}, Repeats: true},
		{Name: "serial.autologin", Doc: "The getty logs this user in by itself.", Subject: "user", Values: []string{"yes"}, Repeats: true},
		{Name: "serial.silent", Doc: "The transcript has no more text after this stage.", Values: []string{"firmware", "bootloader", "kernel-loaded"}},
		{Name: "serial.ends", Doc: "The last text of the transcript belongs to this stage of the boot.", Values: Stages},
		{Name: "serial.emergency", Doc: "The boot ended in an emergency or rescue shell, or the initrd gave up.", Values: nil},
	},
	Run: run,
}

// Boot is how far one transcript shows the boot to have come.
type Boot struct {
	Path    string
	Reached map[string]bundle.Evidence // stage -> its first text
	Last    bundle.Evidence            // the last line with text
}

// From returns what the run's transcripts show.
func From(p *analyzers.Pass) []*Boot {
	bs, _ := p.ResultOf[Analyzer].([]*Boot)
	return bs
}

// lastLogin starts what pam_lastlog says in any session: no getty asks here.
const lastLogin = "Last login: "

// mark is what shows a stage.
type mark struct {
	stage string
	has   []string // one of these stands in every match: they are looked for first
	re    *regexp.Regexp
}

func (m *mark) match(text string) bool {
	return containsAny(text, m.has) && m.re.MatchString(text)
}

func containsAny(text string, parts []string) bool {
	for _, p := range parts {
		if strings.Contains(text, p) {
			return true
		}
	}
	return false
}

var marks = []mark{
	// SeaBIOS on -serial with sercon (which says "Booting from" before it knows
	// of a boot loader), OVMF, iPXE option ROM.
	{"firmware", []string{"SeaBIOS (version", "Booting from ", "BdsDxe: ", "UEFI Interactive Shell", "iPXE "}, regexp.MustCompile(`^(?:SeaBIOS \(version|Booting from |BdsDxe: |UEFI Interactive Shell|iPXE \d)`)},
	// Banners: syslinux core, GRUB's greeting, menu head and choice; systemd-boot
	// has a menu only.
	{"bootloader", []string{"LINUX ", "GRUB", "Booting "}, regexp.MustCompile(`(?:ISO|SYS|EXT|PXE)LINUX \d|GNU GRUB +version|^ *Welcome to GRUB!|^ *Booting [\x60']`)},
	// syslinux core: "Loading FILE... ok"; GRUB's linux and initrd commands.
	{"kernel-loaded", []string{"Loading "}, regexp.MustCompile(`Loading \S+\.\.\. ?ok$|^Loading (?:Linux \S+|initial ramdisk) ?\.\.\.`)},
	// printk stamps; earlyprintk has none.
	{"kernel", []string{"[", "Linux version "}, regexp.MustCompile(`^\[ *\d+\.\d{6}\] |Linux version \d+\.\d+`)},
	// NixOS stage-1-init.sh; initramfs-tools; dracut.
	{"stage-1", []string{"Stage 1 >>>", "Loading, please wait...", "dracut-"}, regexp.MustCompile(`<<< .*Stage 1 >>>|^Loading, please wait\.\.\.|dracut-\w+\[\d+\]: `)},
	// NixOS stage-2-init.sh.
	{"stage-2", []string{"Stage 2 >>>", "running activation script..."}, regexp.MustCompile(`<<< .*Stage 2 >>>|^running activation script\.\.\.`)},
	// systemd's status output and its first log lines; not "Welcome to GRUB!".
	{"systemd", []string{"OK", "[FAILED] ", "Welcome to ", "running in system mode", "Starting ", "Mounting "}, regexp.MustCompile(`^\[ +OK +\] |^\[FAILED\] |^Welcome to (?:[^G].*|G[^R].*)!$|systemd\[1\]: systemd \d+ running in system mode|^ {9}(?:Starting|Mounting) .+\.\.\.$`)},
	// agetty and login.
	{"login-prompt", []string{"login:"}, regexp.MustCompile(`^\S+ login:(?: |$)|login: \S+ \(automatic login\)`)},
}

// asides are what matches of the patterns below have one of.
var asides = []string{"tty", "hvc", "login", "mode", "stage", "initramfs"}

var (
	// agetty prints \l of its issue as the terminal: "… - ttyS0 >>>",
	// "Debian GNU/Linux 12 host ttyS0".
	bannerRe = regexp.MustCompile(`(?:<<< Welcome to .* - |^[A-Z].*\b(?:GNU/)?Linux\b.* )(tty\w+|hvc\d+)(?: >>>)?$`)
	// systemd's description of serial-getty@ttyS0.service.
	gettyRe = regexp.MustCompile(`^\[ +OK +\] Started Serial Getty on (\w+)\.`)
	// util-linux agetty --autologin.
	autologinRe = regexp.MustCompile(`login: (\S+) \(automatic login\)`)
	// Last words of systemd, dracut, NixOS's stages and initramfs-tools. Busybox's
	// banner is none: images whose login shell is busybox show it every time.
	emergencyRe = regexp.MustCompile(`^You are in (?:emergency|rescue) mode|^Entering emergency mode|^An error occurred in stage [12] of the boot process|^\(initramfs\)(?: |$)`)
)

func run(p *analyzers.Pass) (any, error) {
	var bs []*Boot
	for _, t := range console.From(p) {
		if t.Artifact.Kind != bundle.Serial {
			continue
		}
		b := read(p, t)
		bs = append(bs, b)
		state(p, b)
	}
	return bs, nil
}

func read(p *analyzers.Pass, t *console.Transcript) *Boot {
	b := &Boot{Path: t.Path, Reached: map[string]bundle.Evidence{}}
	session, login := false, false
	var last *console.Line
	for i := range t.Lines {
		l := &t.Lines[i]
		text := strings.TrimRight(l.Text, " ")
		if strings.TrimSpace(text) == "" || l.Typed {
			continue
		}
		last = l
		if login || strings.HasPrefix(text, lastLogin) {
			continue
		}
		_, _, prompt := t.CutPrompt(text)
		switch {
		case marks[0].match(text) || marks[1].match(text):
			session = false
		case prompt:
			session = true
		}
		if !session {
			b.line(p, text, func() bundle.Evidence { return t.Evidence(l) })
			_, login = b.Reached["login-prompt"]
		}
	}
	if last != nil {
		b.Last = t.Evidence(last)
	}
	return b
}

// line takes one line of the boot; at gives its evidence.
func (b *Boot) line(p *analyzers.Pass, text string, at func() bundle.Evidence) {
	for i := range marks {
		m := &marks[i]
		// A loader names the kernel, then the initrd: the last of them says that
		// it is done.
		if _, ok := b.Reached[m.stage]; (!ok || m.stage == "kernel-loaded") && m.match(text) {
			b.Reached[m.stage] = at()
		}
	}
	if !containsAny(text, asides) {
		return
	}
	if m := bannerRe.FindStringSubmatch(text); m != nil {
		p.State("serial.getty", m[1], "yes", at())
	}
	if m := gettyRe.FindStringSubmatch(text); m != nil {
		p.State("serial.getty", m[1], "yes", at())
	}
	if m := autologinRe.FindStringSubmatch(text); m != nil {
		p.State("serial.autologin", m[1], "yes", at())
	}
	if emergencyRe.MatchString(text) {
		ev := at()
		p.State("serial.emergency", "", ev.Quote, ev)
	}
}

func state(p *analyzers.Pass, b *Boot) {
	last := ""
	for _, s := range Stages {
		if ev, ok := b.Reached[s]; ok {
			p.State("serial.reached", s, "yes", ev)
			last = s
		}
	}
	if last != "" {
		p.State("serial.ends", "", last, b.Last)
	}
	switch last {
	case "firmware", "bootloader", "kernel-loaded":
		// Silence is shown by the last line there is: the loader's own.
		if last != "kernel-loaded" || loaded.MatchString(b.Last.Quote) {
			p.State("serial.silent", "", last, b.Last)
		}
	}
}

// loaded is the loader's last word before it jumps to the kernel: the initrd
// is there. After the kernel alone the loader itself may have been cut off.
var loaded = regexp.MustCompile(`Loading \S*(?:initrd|initramfs)\S*\.\.\. ?ok$|^Loading initial ramdisk ?\.\.\.`)
