package journal

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/console"
)

// kernels are those of a run's boots: how each names itself, its
// release, and how it was started, its command line as one string of words.
type kernels struct{ releases, lines []string }

// A kernel's first two messages, behind printk's stamp on a console
// (init/version-timestamp.c, arch/x86/kernel/setup.c).
var (
	releaseRe = regexp.MustCompile(`^Linux version (\d\S*) \(`)
	startedRe = regexp.MustCompile(`^Command line: (.+)$`)
	printkRe  = regexp.MustCompile(`^\[ *\d+\.\d{6}\](?:\[ *[TC]\d+\])? (.*)$`)
)

func (k *kernels) message(text string) {
	if m := releaseRe.FindStringSubmatch(text); m != nil && !slices.Contains(k.releases, m[1]) && len(k.releases) < maxKernels {
		k.releases = append(k.releases, m[1])
	} else if m := startedRe.FindStringSubmatch(text); m != nil && len(k.lines) < maxKernels {
		k.lines = append(k.lines, strings.Join(strings.Fields(m[1]), " "))
	}
}

// maxKernels bounds the boots of one run that are compared.
const maxKernels = 64

// onConsole returns the kernels that the run's serial consoles show.
func onConsole(ts []*console.Transcript) *kernels {
	k := &kernels{}
	for _, t := range ts {
		if t.Artifact.Kind != bundle.Serial {
			continue
		}
		for i := range t.Lines {
			l := &t.Lines[i]
			if l.Typed || !strings.Contains(l.Text, "Linux version ") && !strings.Contains(l.Text, "Command line: ") {
				continue
			}
			if m := printkRe.FindStringSubmatch(l.Text); m != nil {
				k.message(m[1])
			}
		}
	}
	return k
}

func inJournal(es []Entry) *kernels {
	k := &kernels{}
	for i := range es {
		if e := &es[i]; e.Ident == "kernel" && e.PID == 0 && !e.Truncated {
			k.message(e.Message)
		}
	}
	return k
}

// foreign returns why l, a journal in files of its own, is of no boot that the
// console shows: none of its kernels is one of the console's, or none was
// started in the same way. It is "" where nothing says so. The host's journal,
// put beside the guest's transcript, tells itself so.
func foreign(l *Log, shown *kernels) string {
	k := inJournal(l.Entries)
	switch {
	case len(k.releases) == 0 || len(shown.releases) == 0:
		return ""
	case !common(k.releases, shown.releases, func(a, b string) bool { return a == b }):
		return fmt.Sprintf("its kernel is %s, the console's %s", k.releases[0], shown.releases[0])
	case len(k.lines) == 0 || len(shown.lines) == 0:
		return ""
	// Either may have been cut.
	case !common(k.lines, shown.lines, func(a, b string) bool { return strings.HasPrefix(a, b) || strings.HasPrefix(b, a) }):
		return "its kernel was started with another command line than the console shows"
	}
	return ""
}

func common(as, bs []string, same func(a, b string) bool) bool {
	return slices.ContainsFunc(as, func(a string) bool { return slices.ContainsFunc(bs, func(b string) bool { return same(a, b) }) })
}
