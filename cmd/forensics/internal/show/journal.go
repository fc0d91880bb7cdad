package show

import (
	"bufio"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"

	"forensics/analyzers/journal"
)

// Journal forms, as journalctl names them.
const (
	Short  = "short"
	Export = "export"
	JSON   = "json"
)

// Entries writes entries in a form of journalctl's. Fields that the artifact's
// own form does not carry are left out.
func Entries(w io.Writer, entries []journal.Entry, form string) error {
	b := bufio.NewWriter(w)
	for i := range entries {
		switch e := &entries[i]; form {
		case Export:
			exportEntry(b, e)
		case JSON:
			if err := jsonEntry(b, e); err != nil {
				return err
			}
		default:
			shortEntry(b, e)
		}
	}
	return b.Flush()
}

// shortEntry writes a stamp in UTC, or as it was written where that tells no
// absolute time; further lines of a message are indented as journalctl does.
func shortEntry(w io.Writer, e *journal.Entry) {
	stamp := e.Stamp
	if !e.When.IsZero() {
		stamp = e.When.UTC().Format("2006-01-02T15:04:05.000000Z")
	}
	ident := e.Ident
	if ident == "" {
		ident = "unknown" // as journalctl has it
	}
	head := strings.Join(slices.DeleteFunc([]string{stamp, e.Host, ident}, func(s string) bool { return s == "" }), " ")
	if e.PID > 0 {
		head += "[" + strconv.Itoa(e.PID) + "]"
	}
	lines := strings.Split(strings.TrimRight(e.Message, "\n"), "\n")
	fmt.Fprintf(w, "%s: %s\n", visible(head), visible(lines[0]))
	for _, l := range lines[1:] {
		fmt.Fprintf(w, "%*s%s\n", utf8.RuneCountInString(head)+2, "", visible(l))
	}
}

// fields are what an entry is known to hold, under journald's names
// (systemd.journal-fields(7)).
func fields(e *journal.Entry) [][2]string {
	var fs [][2]string
	add := func(name, value string) {
		if value != "" {
			fs = append(fs, [2]string{name, value})
		}
	}
	if !e.When.IsZero() {
		add("__REALTIME_TIMESTAMP", strconv.FormatInt(e.When.UnixMicro(), 10))
	}
	if e.Monotonic >= 0 {
		add("__MONOTONIC_TIMESTAMP", strconv.FormatInt(int64(e.Monotonic*1e6+0.5), 10))
	}
	if !strings.HasPrefix(e.BootID, "#") { // those have no id
		add("_BOOT_ID", strings.ReplaceAll(e.BootID, "-", ""))
	}
	if e.Priority >= 0 {
		add("PRIORITY", strconv.Itoa(e.Priority))
	}
	add("_HOSTNAME", e.Host)
	add("SYSLOG_IDENTIFIER", e.Ident)
	if e.PID > 0 {
		add("_PID", strconv.Itoa(e.PID))
	}
	add("_SYSTEMD_UNIT", e.Unit)
	return append(fs, [2]string{"MESSAGE", e.Message})
}

// exportEntry writes the journal export format.
// https://systemd.io/JOURNAL_EXPORT_FORMATS
func exportEntry(b *bufio.Writer, e *journal.Entry) {
	for _, f := range fields(e) {
		b.WriteString(f[0])
		if visible(f[1]) == f[1] {
			b.WriteByte('=')
		} else {
			b.WriteByte('\n')
			b.Write(binary.LittleEndian.AppendUint64(nil, uint64(len(f[1]))))
		}
		b.WriteString(f[1])
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
}

// jsonEntry writes one object a line. What a terminal could act on becomes \u
// escapes.
func jsonEntry(b *bufio.Writer, e *journal.Entry) error {
	b.WriteByte('{')
	for i, f := range fields(e) {
		if i > 0 {
			b.WriteByte(',')
		}
		value, err := json.Marshal(f[1])
		if err != nil {
			return err
		}
		fmt.Fprintf(b, "%q:%s", f[0], ascii(value))
	}
	b.WriteString("}\n")
	return nil
}

// ascii writes the runes of a JSON text beyond ASCII as escapes.
func ascii(text []byte) string {
	var b strings.Builder
	for _, r := range string(text) {
		switch {
		case r < 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(&b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(&b, `\u%04x`, r)
		}
	}
	return b.String()
}
