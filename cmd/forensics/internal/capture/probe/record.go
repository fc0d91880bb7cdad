package probe

import (
	"encoding/base64"
	"time"
	"unicode/utf8"
)

// MaxOutput is what is kept of each stream of a probe, in bytes. The longest
// good answer, `qemu-system-x86_64 -device help`, has 30 KiB.
const MaxOutput = 1 << 20

// Record is one probe's command and answer. Its JSON is what the analyzers read.
//
// Output that is not UTF-8 has U+FFFD for the bytes that are not; then the
// fields in base64 hold it as it was, byte by byte.
type Record struct {
	Name         string    `json:"name"`
	Where        Where     `json:"where"`
	Argv         []string  `json:"argv"`
	ExitStatus   int       `json:"exit_status"` // 127: not there; 126: not to be run; 128 + n: ended by signal n
	Stdout       string    `json:"stdout"`
	Stderr       string    `json:"stderr"`
	Start        time.Time `json:"start"`
	Duration     float64   `json:"duration"`            // seconds
	TimedOut     bool      `json:"timed_out,omitempty"` // killed at its limit
	Truncated    bool      `json:"truncated,omitempty"` // a stream had more than MaxOutput
	Conditions   []string  `json:"conditions,omitempty"`
	StdoutBase64 string    `json:"stdout_base64,omitempty"`
	StderrBase64 string    `json:"stderr_base64,omitempty"`
}

// SetOutput fills in what the probe printed, within MaxOutput a stream.
func (r *Record) SetOutput(stdout, stderr []byte) {
	r.Stdout, r.StdoutBase64 = r.text(stdout)
	r.Stderr, r.StderrBase64 = r.text(stderr)
}

func (r *Record) text(data []byte) (text, raw string) {
	if len(data) > MaxOutput {
		r.Truncated = true
		data = whole(data[:MaxOutput])
	}
	if !utf8.Valid(data) {
		raw = base64.StdEncoding.EncodeToString(data)
	}
	return toValid(data), raw
}

// whole drops a character that a cut left in half.
func whole(data []byte) []byte {
	for n := 1; n < utf8.UTFMax && n <= len(data); n++ {
		tail := data[len(data)-n:]
		if utf8.RuneStart(tail[0]) {
			if !utf8.FullRune(tail) {
				return data[:len(data)-n]
			}
			break
		}
	}
	return data
}

// toValid puts U+FFFD for each byte that is not UTF-8.
func toValid(data []byte) string {
	runes := []rune(string(data))
	return string(runes)
}
