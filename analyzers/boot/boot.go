// Package boot says how far the boot came in the end: the furthest stage that
// any artifact shows, from the boot loader to a provisioned system: one whose
// status file says so (parameter "state"). Whether an image in the run is the
// one that booted. And the first time that the guest's clock gave.
package boot

import (
	"slices"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/commands"
	"forensics/analyzers/console"
	"forensics/analyzers/iso"
	"forensics/analyzers/journal"
	"forensics/analyzers/kernel"
	"forensics/analyzers/serial"
	"forensics/analyzers/shell"
	"forensics/analyzers/units"
)

// Analyzer states the stage.
var Analyzer = &analyzers.Analyzer{
	Name:     "boot",
	Doc:      "States the furthest stage that the boot reached.",
	Requires: []*analyzers.Analyzer{console.Analyzer, serial.Analyzer, shell.Analyzer, commands.Analyzer, journal.Analyzer, kernel.Analyzer, units.Analyzer, iso.Analyzer},
	Facts: []analyzers.FactType{
		{Name: "boot.stage", Doc: "The furthest stage of the boot that an artifact shows.", Values: serial.Stages, Repeats: true},
		{Name: "boot.userland", Doc: "Programs of the guest ran: its initrd, systemd, a login, a shell, a journal.", Values: []string{"yes"}, Repeats: true},
		{Name: "boot.image", Doc: "Whether the image in the run is the one that booted, by digest.", Values: []string{"inspected", "another"}},
		{Name: "boot.entry", Doc: "Which entry of the image's boot menu the kernel's command line is: the one that starts by itself, another, or none of them (typed, given by QEMU, or another image's).", Values: []string{"default", "other", "foreign"}, Repeats: true},
		{Name: "boot.dated", Doc: "The earliest time of the boot by the guest's clock, as its journal, its kernel or systemctl wrote it, in UTC; not stated where that is more than a day from the time in the run's name."},
	},
	Run: run,
}

type best struct {
	stage int
	ev    bundle.Evidence
}

func (b *best) reach(stage string, ev bundle.Evidence) {
	if i := slices.Index(serial.Stages, stage); i > b.stage {
		b.stage, b.ev = i, ev
	}
}

func run(p *analyzers.Pass) (any, error) {
	b := &best{}
	for _, s := range serial.From(p) {
		for _, stage := range serial.Stages {
			if ev, ok := s.Reached[stage]; ok {
				b.reach(stage, ev)
			}
		}
		for _, stage := range []string{"login-prompt", "systemd", "stage-2", "stage-1"} {
			if ev, ok := s.Reached[stage]; ok {
				p.State("boot.userland", "", "yes", ev)
				break
			}
		}
	}
	image(p)
	dialogue(p, b)
	logs(p)
	messages(p)
	dated(p)
	if b.stage > 0 {
		p.State("boot.stage", "", serial.Stages[b.stage], b.ev)
	}
	return nil, nil
}

func dialogue(p *analyzers.Pass, b *best) {
	applied := "STATE=" + p.Params.One("state")
	for _, d := range commands.From(p) {
		for _, c := range d.Commands {
			for _, l := range c.Answer {
				if strings.TrimSpace(l.Text) == applied && applied != "STATE=" {
					b.reach("provisioned", l.Evidence)
				}
			}
		}
		if d.Kind == bundle.Serial && len(d.Commands) > 0 {
			b.reach("shell", d.Commands[0].Echo)
			p.State("boot.userland", "", "yes", d.Commands[0].Echo)
		}
	}
	for _, id := range shell.From(p) {
		for _, u := range id.UIDs {
			if u.Value == "0" {
				b.reach("root-shell", u.Evidence)
			}
		}
	}
}

// messages takes systemd's lines in the kernel's log: it writes there until the
// journal is up.
func messages(p *analyzers.Pass) {
	for _, l := range kernel.From(p) {
		for _, m := range l.Messages {
			if strings.HasPrefix(m.Text, "systemd[1]: Detected ") || strings.HasPrefix(m.Text, "systemd[1]: systemd ") {
				p.State("boot.userland", "", "yes", m.Evidence)
				break
			}
		}
	}
}

// logs takes the first and the last of systemd's lines in each journal.
func logs(p *analyzers.Pass) {
	for _, l := range units.From(p) {
		own := func(e journal.Entry) bool { return e.Ident == "systemd" }
		first := slices.IndexFunc(l.Entries, own)
		if first < 0 {
			continue
		}
		last := len(l.Entries) - 1
		for !own(l.Entries[last]) {
			last--
		}
		p.State("boot.userland", "", "yes", l.Entries[first].Evidence)
		if last > first {
			p.State("boot.userland", "", "yes", l.Entries[last].Evidence)
		}
	}
}
