package iso

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"regexp"

	"forensics/analyzers/bundle"
)

// digestRe is the digest of the image that was booted, as metadata gives it.
var digestRe = regexp.MustCompile(`"(?:iso|image)_sha256"\s*:\s*"([0-9a-f]{64})"`)

// digest compares the image with the one that metadata says was booted. It
// reads the whole image, and only where there is a digest to compare with.
func (s *stater) digest(o *Promise, a *bundle.Artifact) error {
	booted, ev := Booted(s.Run)
	if booted == "" {
		return nil
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(s.r, 0, s.Size)); err != nil {
		return fmt.Errorf("digest: %w", err)
	}
	here := hex.EncodeToString(h.Sum(nil))
	o.Digests = []bundle.Evidence{ev, {Path: a.Path, Line: 1, End: s.Size, Quote: "sha256 " + here}}
	o.Digest = "same"
	if booted != here {
		o.Digest = "other"
	}
	return nil
}

// Booted returns the SHA-256, in hexadecimal, of the image that was booted, as
// metadata gives it, and where; "" where none does. The last one counts.
func Booted(run *bundle.Run) (digest string, ev bundle.Evidence) {
	for _, m := range run.Of(bundle.Metadata, bundle.Manifest) {
		data, err := m.Bytes()
		if err != nil {
			continue // others say so
		}
		if loc := digestRe.FindSubmatchIndex(data); loc != nil {
			digest = string(data[loc[2]:loc[3]])
			ev = bundle.Span(m.Path, data, bundle.NewLineIndex(data), int64(loc[2]), int64(loc[3]))
		}
	}
	return digest, ev
}
