package kernel

import (
	"regexp"
	"strconv"
	"strings"

	"forensics/analyzers"
)

// maxFacts bounds the statements about one artifact: a flood of oopses says no
// more than its beginning.
const maxFacts = 2000

// stater states facts about one artifact.
type stater struct {
	p       *analyzers.Pass
	l       *Log
	last    map[string]string // fact and subject: value stated last
	stated  map[string]bool   // fact, subject and value: for those that stand side by side
	repeats map[string]bool   // the facts that do
	sized   map[string]bool   // disks
	set     *said             // the clock was set
	bad     *said             // the clock is bad
	at      int               // of the message in l.told
}

func state(p *analyzers.Pass, l *Log) {
	s := &stater{p: p, l: l, last: map[string]string{}, stated: map[string]bool{}, repeats: map[string]bool{}, sized: map[string]bool{}}
	for _, f := range facts {
		s.repeats[f.Name] = f.Repeats
	}
	s.booted()
	for i := range l.told {
		s.at = i
		s.message(&l.told[i])
	}
	if s.bad != nil {
		s.state("kernel.clock", "", "bad", s.bad)
	} else if s.set != nil {
		s.state("kernel.clock", "", "set", s.set)
	}
}

// booted states that the kernel ran: by its first line, else its first message.
func (s *stater) booted() {
	var first *said
	for i := range s.l.told {
		m := &s.l.told[i]
		if m.by != ring {
			continue
		}
		if first == nil && !m.dated {
			first = m
		}
		if strings.HasPrefix(m.Text, "Linux version ") {
			first = m
			break
		}
	}
	if first != nil {
		s.state("kernel.booted", "", "yes", first)
	}
}

func (s *stater) message(m *said) {
	for i := range patterns {
		q := &patterns[i]
		if q.by&m.by == 0 || !strings.Contains(m.Text, q.has) {
			continue
		}
		if sub := q.re.FindStringSubmatch(m.Text); sub != nil {
			q.say(s, m, sub)
		}
	}
}

// state states a fact once: dmesg often repeats what stood on the console.
func (s *stater) state(name, subject, value string, m *said) {
	key := name + "\x00" + subject
	if s.repeats[name] {
		if s.stated[key+"\x00"+value] || len(s.stated) >= maxFacts {
			return
		}
		s.stated[key+"\x00"+value] = true
	} else {
		if v, ok := s.last[key]; ok && v == value {
			return
		}
		s.last[key] = value
	}
	s.p.State(name, subject, value, m.Evidence)
}

func (s *stater) cmdline(m *said, sub []string) {
	if m.cut {
		return
	}
	line := strings.TrimSpace(sub[1])
	s.state("kernel.cmdline", "", line, m)
	for _, arg := range args(line) {
		if v, ok := strings.CutPrefix(arg, "console="); ok && v != "" {
			s.state("kernel.console", "", v, m)
		}
	}
}

// args splits a command line as the kernel does (lib/cmdline.c, next_arg):
// quotes keep blanks together, and what follows "--" is for init.
func args(line string) []string {
	var out []string
	quoted, start := false, -1
	for i := 0; i <= len(line); i++ {
		if i < len(line) && (line[i] != ' ' && line[i] != '\t' || quoted) {
			if line[i] == '"' {
				quoted = !quoted
			}
			if start < 0 {
				start = i
			}
			continue
		}
		if start < 0 {
			continue
		}
		if arg := strings.Trim(line[start:i], `"`); arg == "--" {
			break
		} else {
			out = append(out, arg)
		}
		start = -1
	}
	return out
}

func (s *stater) hypervisor(m *said, sub []string) {
	value := sub[1]
	switch {
	case value == "KVM":
		value = "kvm"
	case value == "bare hardware":
		value = "none"
	case strings.HasPrefix(value, "VMware"):
		value = "vmware"
	case strings.Contains(value, "Hyper-V"):
		value = "microsoft"
	case strings.HasPrefix(value, "Xen"):
		value = "xen"
	}
	s.state("kernel.hypervisor", "", value, m)
}

// initKilledRe is kernel/exit.c, do_exit: what ended process 1.
var initKilledRe = regexp.MustCompile(`^Attempted to kill init! exitcode=0x([0-9a-f]{8})`)

func (s *stater) panic(m *said, sub []string) {
	s.state("kernel.panic", "", sub[1], m)
	kill := initKilledRe.FindStringSubmatch(sub[1])
	if kill == nil {
		return
	}
	const core, sigILL = 0x80, 4
	// wait(2): the signal stands in the low seven bits.
	if code, err := strconv.ParseUint(kill[1], 16, 32); err == nil && code&^core == sigILL {
		s.badCPU(m, sub)
	}
}

// deliberateRe is what the kernel prints before it stops itself with an invalid
// instruction: lib/bug.c, kernel/cfi.c, lib/ubsan.c.
var deliberateRe = regexp.MustCompile(`^kernel BUG at |^CFI failure at |UBSAN: `)

func (s *stater) oops(m *said, sub []string) {
	s.state("kernel.oops", "", sub[0], m)
	if !strings.Contains(m.Text, "invalid opcode") {
		return
	}
	for _, before := range s.l.told[max(0, s.at-3):s.at] {
		if deliberateRe.MatchString(before.Text) {
			return
		}
	}
	s.badCPU(m, sub)
}

func lockup(value string) func(*stater, *said, []string) {
	return func(s *stater, m *said, _ []string) { s.state("kernel.lockup", "", value, m) }
}

func (s *stater) nodevice(m *said, sub []string) {
	device := sub[1]
	if len(sub) > 2 && device == "" {
		device = sub[2]
	}
	// systemd may write "dev-vda1.device - /dev/vda1".
	if _, path, ok := strings.Cut(device, " - "); ok && strings.HasPrefix(path, "/dev/") {
		device = path
	}
	s.state("kernel.nodevice", device, m.Text, m)
}

func (s *stater) clock(m *said, bad bool) {
	switch {
	case bad && s.bad == nil:
		s.bad = m
	case !bad && s.set == nil:
		s.set = m
	}
}

func badClock(s *stater, m *said, _ []string) { s.clock(m, true) }

func (s *stater) crng(m *said, _ []string) {
	if m.Seconds >= 0 {
		s.state("kernel.crng", "", strconv.FormatFloat(m.Seconds, 'f', -1, 64), m)
	}
}

func virtioRNG(s *stater, m *said, _ []string) { s.state("kernel.virtio-rng", "", "seen", m) }

func (s *stater) nic(m *said, sub []string) { s.state("kernel.nic", sub[2], sub[1], m) }

func (s *stater) badCPU(m *said, _ []string) { s.state("kernel.badcpu", "", m.Text, m) }
