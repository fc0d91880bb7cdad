package bundle

import (
	"bytes"
	"fmt"
	"regexp"
	"slices"
	"strings"
)

// The log of a NixOS test driver (nixos/lib/test-driver of nixpkgs, logger.py)
// holds the consoles of its machines, each line behind the machine's name:
//
//	machine: starting vm
//	machine # [    0.000000] Linux version 6.12.30
//	machine: must succeed: systemctl is-active sshd
//	(finished: must succeed: systemctl is-active sshd, in 0.05 seconds)
//
// `nix build -L` puts the name of the derivation before all of them. The driver
// colours its own words and dims the guest's.
const (
	driverPrefix = `(?:\x1b\[[0-9;]*m)*(?:vm-test-run-[\w.+-]+> )?(?:\x1b\[[0-9;]*m)*`
	machineName  = `[A-Za-z_][\w-]*`
)

var (
	guestLineRe = regexp.MustCompile(`(?m)^` + driverPrefix + `(` + machineName + `) #(?: |\r?$)`)
	// What the driver itself says of a machine, and when a step ended.
	driverLineRe = regexp.MustCompile(`(?m)^` + driverPrefix + `(?:(` + machineName + `): (?:\x1b\[[0-9;]*m)*` +
		`(?:starting vm\b|QEMU (?:machine )?running \(pid |must (?:succeed|fail): |waiting for |connected to guest root shell|Guest shell says: |\(connecting took )` +
		`|\(finished: .+, in \d+\.\d+ seconds\)|subtest: |test script finished in \d|kill machine \()`)
)

// machines returns the names of the machines whose consoles data, the log of a
// NixOS test driver, holds, and whether that is most of it. A line such as
// "name # text" may be anything, so either the driver speaks of that machine
// elsewhere, or of none in a log with one; or every line is of one machine, as
// grep takes them out.
func machines(data []byte) (names []string, most bool) {
	if !bytes.Contains(data, []byte(" #")) || !guestLineRe.Match(data) {
		return nil, false
	}
	guests, spoken := map[string]bool{}, map[string]bool{}
	said, lines, known := false, 0, 0
	for line := range bytes.Lines(data) {
		line = bytes.TrimRight(line, "\r\n")
		if len(line) == 0 {
			continue
		}
		lines++
		if m := guestLineRe.FindSubmatch(line); m != nil {
			guests[string(m[1])] = true
			known++
		} else if m := driverLineRe.FindSubmatch(line); m != nil {
			said = true
			if len(m[1]) > 0 {
				spoken[string(m[1])] = true
			}
			known++
		}
	}
	for name := range guests {
		if !said || spoken[name] || len(spoken) == 0 && len(guests) == 1 {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	if !said && (known < lines || lines < 2 || len(names) > 1) {
		return nil, false
	}
	return names, known*2 > lines || bytes.Contains(data, []byte(nixPrefix))
}

// nixPrefix stands before every line of a test that nix builds.
const nixPrefix = "vm-test-run-"

// Machine returns the machine whose console data, the start of the log of a
// NixOS test driver or all of it, holds behind "NAME # "; "" for anything else.
func Machine(data []byte) string {
	if ms, most := machines(data[:min(len(data), sniffLen)]); most && len(ms) == 1 {
		return ms[0]
	}
	return ""
}

// GuestLine returns the length of what a test driver puts before the guest's
// words in line, when they are those of the machine.
func GuestLine(line []byte, machine string) (int, bool) {
	loc := guestLineRe.FindSubmatchIndex(line[:min(len(line), maxPrefix)])
	if loc == nil || string(line[loc[2]:loc[3]]) != machine {
		return 0, false
	}
	return loc[1], true
}

// maxPrefix is more than a driver puts before a line.
const maxPrefix = 512

// guestText returns the words of the machine in a driver's log.
func guestText(data []byte, machine string) []byte {
	var b bytes.Buffer
	for line := range bytes.Lines(data) {
		if n, ok := GuestLine(line, machine); ok {
			b.Write(line[n:])
		}
	}
	return b.Bytes()
}

// sniffDriver decides what the log of a test driver is to the analyzers: one
// guest's console, or that of several, which none of them can tell apart. It
// reports false for other files.
func sniffDriver(head []byte) (Kind, bool) {
	switch ms, most := machines(head); {
	case len(ms) == 0:
		return Unknown, false
	case len(ms) > 1 && most:
		return Driver, true
	case len(ms) == 1 && most && bootRe.Match(guestText(head, ms[0])):
		return Serial, true
	}
	return Unknown, true
}

// several makes a transcript that turns out to hold the consoles of several
// machines a log that is not read.
func (w *walker) several(a *Artifact, head []byte) {
	if _, ok := sniffDriver(head); !ok || a.Kind != Serial && a.Kind != Driver {
		return
	}
	data, err := a.Bytes()
	if err != nil {
		return // said when it is read
	}
	if ms, _ := machines(data); len(ms) > 1 {
		a.Kind = Driver
		w.problem(a.name, "the consoles of %d machines (%s) in one log: not read; take out one, as in grep '^%s # '",
			len(ms), shortList(ms), ms[0])
	}
}

func shortList(names []string) string {
	const most = 5
	if len(names) > most {
		return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
	}
	return strings.Join(names, ", ")
}
