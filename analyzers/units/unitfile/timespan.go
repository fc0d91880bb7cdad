package unitfile

import (
	"errors"
	"fmt"
	"math"
	"strings"
)

// Infinity is the time span "infinity", in microseconds.
const Infinity uint64 = math.MaxUint64

const second = 1_000_000

// timeUnits are in the order in which they are tried: where one is the start
// of another, the longer stands first.
var timeUnits = []struct {
	name string
	usec uint64
}{
	{"seconds", second}, {"second", second}, {"sec", second}, {"s", second},
	{"minutes", 60 * second}, {"minute", 60 * second}, {"min", 60 * second},
	{"months", 2629800 * second}, {"month", 2629800 * second}, {"M", 2629800 * second},
	{"msec", 1000}, {"ms", 1000}, {"m", 60 * second},
	{"hours", 3600 * second}, {"hour", 3600 * second}, {"hr", 3600 * second}, {"h", 3600 * second},
	{"days", 86400 * second}, {"day", 86400 * second}, {"d", 86400 * second},
	{"weeks", 604800 * second}, {"week", 604800 * second}, {"w", 604800 * second},
	{"years", 31557600 * second}, {"year", 31557600 * second}, {"y", 31557600 * second},
	{"usec", 1}, {"us", 1}, {"\u03bcs", 1}, {"\u00b5s", 1},
}

var (
	errSpan      = errors.New("no time span")
	errSpanRange = errors.New("time span out of range")
)

// TimeSpan returns a time span of systemd.time(7), such as "1min 30s" or
// "infinity", in microseconds. A number without a unit is one of seconds. The
// error says at which byte of value the trouble is.
func TimeSpan(value string) (usec uint64, err error) {
	if rest, ok := strings.CutPrefix(strings.TrimLeft(value, blanks), "infinity"); ok {
		if strings.Trim(rest, blanks) != "" {
			return 0, spanError(value, rest, errSpan)
		}
		return Infinity, nil
	}
	rest := strings.TrimLeft(value, blanks)
	if rest == "" {
		return 0, spanError(value, rest, errSpan)
	}
	for rest != "" {
		after, term, err := spanTerm(rest)
		if err != nil {
			return 0, spanError(value, rest, err)
		}
		if term >= Infinity-usec {
			return 0, spanError(value, rest, errSpanRange)
		}
		usec += term
		rest = strings.TrimLeft(after, blanks)
	}
	return usec, nil
}

func spanError(value, rest string, err error) error {
	return fmt.Errorf("byte %d of %.100q: %w", len(value)-len(rest), value, err)
}

// spanTerm reads a number and its unit.
func spanTerm(s string) (rest string, usec uint64, err error) {
	if strings.HasPrefix(s, "-") {
		return s, 0, errSpanRange
	}
	digits, signed := strings.CutPrefix(s, "+")
	whole, rest := leadingDigits(digits)
	fraction, point := "", false
	if after, ok := strings.CutPrefix(rest, "."); ok {
		point = true
		fraction, rest = leadingDigits(after)
	}
	if whole == "" && (signed || !point) || point && fraction == "" {
		return s, 0, errSpan
	}
	multiplier, after, ok := spanUnit(rest)
	if !ok {
		return s, 0, errSpan
	}
	usec, ok = scale(whole, multiplier)
	if !ok {
		return s, 0, errSpanRange
	}
	m := multiplier / 10
	for _, c := range []byte(fraction) {
		usec += uint64(c-'0') * m
		m /= 10
	}
	return after, usec, nil
}

func leadingDigits(s string) (digits, rest string) {
	rest = strings.TrimLeft(s, "0123456789")
	return s[:len(s)-len(rest)], rest
}

// spanUnit reads a unit; two numbers without one need a space between them.
func spanUnit(s string) (multiplier uint64, rest string, ok bool) {
	trimmed := strings.TrimLeft(s, blanks)
	for _, u := range timeUnits {
		if rest, ok := strings.CutPrefix(trimmed, u.name); ok {
			return u.usec, rest, true
		}
	}
	return second, trimmed, trimmed == "" || len(trimmed) < len(s)
}

// scale returns digits times multiplier, as long as that and one unit more
// fit in 63 and 64 bits: strtoll and parse_time draw the line there.
func scale(digits string, multiplier uint64) (uint64, bool) {
	var n uint64
	for _, c := range []byte(digits) {
		if n > (math.MaxInt64-uint64(c-'0'))/10 {
			return 0, false
		}
		n = n*10 + uint64(c-'0')
	}
	return n * multiplier, n < Infinity/multiplier
}
