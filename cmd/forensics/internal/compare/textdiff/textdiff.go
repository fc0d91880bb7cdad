// Package textdiff compares two texts line by line.
package textdiff

import "github.com/sergi/go-diff/diffmatchpatch"

// Unified is not written yet.
func Unified(a, b string) string {
	return diffmatchpatch.New().DiffPrettyText(nil)
}
