package report

import (
	"errors"
	"fmt"

	"forensics/analyzers/bundle"
)

// Check reports what keeps a report that was read from being one: another
// program, or a person, may have written it.
func (r *Report) Check() error {
	if len(r.Runs) == 0 {
		return errors.New("the report holds no run")
	}
	for i := range r.Runs {
		if err := r.Runs[i].check(); err != nil {
			return fmt.Errorf("run %d (%s): %w", i+1, Clean(r.Runs[i].ID), err)
		}
	}
	return nil
}

func (r *Run) check() error {
	if len(r.Verdicts) == 0 {
		return errors.New("it has no verdicts")
	}
	for i := range r.Verdicts {
		v := &r.Verdicts[i]
		if v.Condition == "" || v.Status != Pass && v.Status != Fail && v.Status != Unknown {
			return fmt.Errorf("verdict %d: condition %q has status %q", i+1, Clean(v.Condition), Clean(v.Status))
		}
		if err := checkEvidence(v.Evidence); err != nil {
			return fmt.Errorf("verdict of %s: %w", Clean(v.Condition), err)
		}
	}
	for _, cs := range [][]Cause{r.Causes, r.Observer} {
		for i := range cs {
			if err := checkEvidence(cs[i].Evidence); err != nil {
				return fmt.Errorf("cause %s: %w", Clean(cs[i].Condition), err)
			}
		}
	}
	for i := range r.Facts {
		if err := checkEvidence(r.Facts[i].Evidence); err != nil || len(r.Facts[i].Evidence) == 0 {
			return fmt.Errorf("fact %s: evidence is missing or wrong", Clean(r.Facts[i].Name))
		}
	}
	return nil
}

// maxOffset is more than any artifact has.
const maxOffset = 1 << 48

func checkEvidence(ev []bundle.Evidence) error {
	for _, e := range ev {
		if e.Start < 0 || e.End < e.Start || e.End > maxOffset || e.Line < 0 || int64(e.Line) > maxOffset {
			return fmt.Errorf("evidence at line %d, bytes %d to %d of %s", e.Line, e.Start, e.End, Clean(e.Path))
		}
	}
	return nil
}
