package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"testing"
)

// journalSum is what the guest says of its journal up to an entry.
type journalSum struct {
	entries int
	sha256  string
	last    string // the last entry's cursor line
}

func (s journalSum) differences(name string, data []byte) []string {
	head, ok := upTo(data, s.last)
	if !ok {
		return []string{fmt.Sprintf("%s does not have the entry %s", name, s.last)}
	}
	n := bytes.Count(append([]byte("\n"), head...), []byte("\n__CURSOR="))
	sum := fmt.Sprintf("%x", sha256.Sum256(head))
	if n != s.entries || sum != s.sha256 {
		return []string{fmt.Sprintf("%s has %d entries with the sum %s up to %s; journalctl in the guest printed %d with %s", name, n, sum, s.last, s.entries, s.sha256)}
	}
	return nil
}

// upTo returns the entries up to the one with the cursor.
func upTo(data []byte, cursor string) ([]byte, bool) {
	at := 0
	if !bytes.HasPrefix(data, []byte(cursor+"\n")) {
		at = bytes.Index(data, []byte("\n"+cursor+"\n"))
	}
	if at < 0 {
		return nil, false
	}
	if next := bytes.Index(data[at:], []byte("\n\n__CURSOR=")); next >= 0 {
		return data[:at+next+2], true
	}
	return data, true
}

// TestJournalSum: what differs from the guest's journal is told.
func TestJournalSum(t *testing.T) {
	const first, second, third = "__CURSOR=a\nMESSAGE=1\n\n", "__CURSOR=b\nMESSAGE\n\x02\x00\x00\x00\x00\x00\x00\x00\n\n\n\n", "__CURSOR=c\nMESSAGE=3\n\n"
	sum := func(n int, text, last string) journalSum {
		return journalSum{entries: n, sha256: fmt.Sprintf("%x", sha256.Sum256([]byte(text))), last: last}
	}
	for _, c := range []struct {
		name string
		want journalSum
		data string
		same bool
	}{
		{"the same", sum(2, first+second, "__CURSOR=b"), first + second, true},
		{"more behind it", sum(2, first+second, "__CURSOR=b"), first + second + third, true},
		{"one", sum(1, first, "__CURSOR=a"), first + second, true},
		{"cut", sum(2, first+second, "__CURSOR=b"), first + second[:len(second)-1], false},
		{"the last is missing", sum(2, first+second, "__CURSOR=b"), first, false},
		{"the first is missing", sum(2, first+second, "__CURSOR=b"), second, false},
		{"a byte differs", sum(2, first+second, "__CURSOR=b"), "__CURSOR=a\nMESSAGE=2\n\n" + second, false},
		{"twice", sum(2, first+second, "__CURSOR=b"), first + first + second, false},
		{"nothing", sum(1, first, "__CURSOR=a"), "", false},
	} {
		if ds := c.want.differences("journal", []byte(c.data)); (len(ds) == 0) != c.same {
			t.Errorf("%s: %q", c.name, ds)
		}
	}
}
