package boot

import (
	"slices"
	"strings"

	"forensics/analyzers"
	"forensics/analyzers/bundle"
	"forensics/analyzers/iso"
	"forensics/analyzers/kernel"
)

// image says whether the image in the run is the one that booted, as far as
// digests and the kernel's command line tell.
func image(p *analyzers.Pass) {
	cmdlines := booted(p)
	for _, o := range iso.From(p) {
		switch o.Digest {
		case "same":
			p.State("boot.image", "", "inspected", o.Digests...)
		case "other":
			p.State("boot.image", "", "another", o.Digests...)
			p.Problem(o.Path, "its digest is not that of the image that was booted: "+o.Digests[0].Path+" gives another")
		}
		for _, c := range cmdlines {
			entry(p, o, c)
		}
	}
}

// cmdline is a command line that a kernel printed.
type cmdline struct {
	args []string
	ev   bundle.Evidence
}

func booted(p *analyzers.Pass) []cmdline {
	var cs []cmdline
	for _, l := range kernel.From(p) {
		for _, m := range l.Messages {
			for _, prefix := range []string{"Command line: ", "Kernel command line: "} {
				if line, ok := strings.CutPrefix(m.Text, prefix); ok {
					cs = append(cs, cmdline{words(line), m.Evidence})
				}
			}
		}
	}
	return cs
}

// words are the parameters of a command line without those that loaders add:
// ISOLINUX and GRUB tell the kernel its own name, ISOLINUX and systemd-boot the
// initrds'.
func words(line string) []string {
	return slices.DeleteFunc(strings.Fields(line), func(w string) bool {
		return strings.HasPrefix(w, "BOOT_IMAGE=") || strings.HasPrefix(w, "initrd=")
	})
}

// entry says which entry of the image's menu the kernel's command line is. One
// that is none of them was typed, was given by QEMU, or is another image's.
func entry(p *analyzers.Pass, o *iso.Promise, c cmdline) {
	value, ev, part := "", bundle.Evidence{}, false
	for _, f := range o.Offers {
		args := words(f.Args)
		part = part || len(args) > len(c.args) && slices.Equal(args[:len(c.args)], c.args)
		if !slices.Equal(args, c.args) || value == "default" {
			continue
		}
		value, ev = "other", f.Evidence
		if f.Default {
			value = "default"
		}
	}
	switch {
	case value != "":
		p.State("boot.entry", "", value, c.ev, ev)
	case len(o.Offers) > 0 && !o.Open && !part: // a long line may be cut
		p.State("boot.entry", "", "foreign", c.ev, o.Offers[0].Evidence)
		p.Problem(o.Path, "no entry of its boot menu has the command line that the kernel was started with ("+c.ev.Path+"): the image may not be the one that booted")
	}
}
