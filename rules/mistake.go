package rules

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
)

// Mistake is something wrong in a pack or profile.
type Mistake struct {
	File         string
	Line, Column int // from 1, in characters; 0 when the file as a whole is meant
	Text         string
}

func (m *Mistake) Error() string {
	if m.Line == 0 {
		return m.File + ": " + m.Text
	}
	return fmt.Sprintf("%s:%d:%d: %s", m.File, m.Line, m.Column, m.Text)
}

// Mistakes are all that is wrong, in the order of files and places.
type Mistakes []*Mistake

func (ms Mistakes) Error() string {
	lines := make([]string, len(ms))
	for i, m := range ms {
		lines[i] = m.Error()
	}
	return strings.Join(lines, "\n")
}

// maxMistakes bounds what one file can make us say.
const maxMistakes = 100

// err returns ms sorted by place, nil when there are none.
func (ms Mistakes) err() error {
	if len(ms) == 0 {
		return nil
	}
	rank := map[string]int{}
	for _, m := range ms {
		if _, ok := rank[m.File]; !ok {
			rank[m.File] = len(rank)
		}
	}
	slices.SortStableFunc(ms, func(a, b *Mistake) int {
		return cmp.Or(cmp.Compare(rank[a.File], rank[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column))
	})
	ms = slices.CompactFunc(ms, func(a, b *Mistake) bool { return *a == *b })
	if len(ms) > maxMistakes {
		last := &Mistake{File: ms[maxMistakes].File, Text: fmt.Sprintf("%d more mistakes", len(ms)-maxMistakes)}
		ms = append(ms[:maxMistakes:maxMistakes], last)
	}
	return ms
}

// didYouMean returns a hint that names the closest of the candidates, "" when
// none is close.
func didYouMean(name string, candidates []string) string {
	best, dist := "", max(2, len(name)/3)+1
	if len(name) > 100 {
		return ""
	}
	for _, c := range candidates {
		if abs(len(c)-len(name)) >= dist {
			continue
		}
		if d := distance(name, c); d < dist {
			best, dist = c, d
		}
	}
	if best == "" || best == name {
		return ""
	}
	return fmt.Sprintf(" (did you mean %q?)", best)
}

func abs(n int) int { return max(n, -n) }

// distance is the number of bytes to insert, drop, replace or swap with their
// neighbour to turn a into b.
func distance(a, b string) int {
	var before []int
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := 1; i <= len(a); i++ {
		next := make([]int, len(b)+1)
		next[0] = i
		for j := 1; j <= len(b); j++ {
			same := 1
			if a[i-1] == b[j-1] {
				same = 0
			}
			next[j] = min(row[j]+1, next[j-1]+1, row[j-1]+same)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				next[j] = min(next[j], before[j-2]+1)
			}
		}
		before, row = row, next
	}
	return row[len(b)]
}
