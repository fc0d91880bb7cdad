//go:build e2e && linux

package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// journalProbe asks the guest, the last of all, what its journal is by then: how
// many entries, their sum, and the last one's cursor.
const journalProbe = `probes:
  - name: journal-sum
    where: guest
    root: true
    shell: |
      f=$(mktemp) && journalctl -b -o export --no-pager >$f &&
        grep -ac ^__CURSOR= $f && sha256sum <$f && grep -a ^__CURSOR= $f | tail -n 1
      rm -f $f
    limit: 60s
`

// journalDifferences says where the journal in the bundle, and its native files,
// are not what journalctl in the guest printed. Both go on behind that: their
// beginning counts.
func journalDifferences(t *testing.T, dir, export string) []string {
	t.Helper()
	want, err := guestSum(filepath.Join(dir, "guest", "journal-sum.json"))
	if err != nil {
		return []string{err.Error()}
	}
	data, err := os.ReadFile(filepath.Join(dir, export))
	if err != nil {
		return []string{err.Error()}
	}
	ds := want.differences(export, data)
	files, err := filepath.Glob(filepath.Join(dir, strings.TrimSuffix(export, "journal.export")+"system*.journal"))
	if err != nil || len(files) == 0 {
		return append(ds, fmt.Sprintf("no native journal in %s (%v)", dir, err))
	}
	if _, err := exec.LookPath("journalctl"); err != nil {
		t.Log("native journals are not compared: ", err)
		return ds
	}
	args := []string{"--no-pager", "-o", "export"}
	for _, f := range files {
		args = append(args, "--file="+f)
	}
	out, err := exec.CommandContext(t.Context(), "journalctl", args...).Output()
	if err != nil {
		return append(ds, fmt.Sprintf("journalctl of the native journal: %v", err))
	}
	return append(ds, want.differences(filepath.Base(files[0]), out)...)
}

func guestSum(file string) (journalSum, error) {
	data, err := os.ReadFile(file)
	if err != nil {
		return journalSum{}, err
	}
	var r struct {
		ExitStatus int `json:"exit_status"`
		Stdout     string
	}
	if err := json.Unmarshal(data, &r); err != nil {
		return journalSum{}, fmt.Errorf("%s: %w", file, err)
	}
	lines := strings.Split(strings.TrimSpace(r.Stdout), "\n")
	if r.ExitStatus != 0 || len(lines) != 3 {
		return journalSum{}, fmt.Errorf("%s: exit status %d, %q", file, r.ExitStatus, r.Stdout)
	}
	n, err := strconv.Atoi(lines[0])
	sum, _, _ := strings.Cut(lines[1], " ")
	return journalSum{entries: n, sha256: sum, last: lines[2]}, err
}
