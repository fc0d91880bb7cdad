package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"forensics/analyzers/bundle"
)

// victimDir tells the test program to be the process that is killed, and
// victimLines how much it writes before it finishes the bundle.
const victimDir, victimLines = "RECORD_TEST_VICTIM_DIR", "RECORD_TEST_VICTIM_LINES"

// maxLines is enough to be killed while writing.
const maxLines = 4000

func TestMain(m *testing.M) {
	if dir := os.Getenv(victimDir); dir != "" {
		victim(dir)
	}
	os.Exit(m.Run())
}

// line is the i-th line of the victim's console.
func line(i int) string { return fmt.Sprintf("[%12d.000000] console line %d\r\n", i, i) }

// victim writes its lines, finishes the bundle and waits to be killed.
func victim(dir string) {
	b, err := Create(dir, "forensics", "", time.Now())
	if err != nil {
		panic(err)
	}
	serial, err := b.File("serial.log")
	if err != nil {
		panic(err)
	}
	lines, err := strconv.Atoi(os.Getenv(victimLines))
	if err != nil {
		panic(err)
	}
	for i := range lines {
		fmt.Fprint(serial, line(i))
		b.Append("host/probes.jsonl", map[string]any{"name": fmt.Sprint(i), "where": "host", "argv": []string{"true"}, "exit_status": 0})
		b.WriteFile("qemu.json", fmt.Appendf(nil, `{"argv": ["qemu-system-x86_64"], "pid": 1, "events": %q}`, strings.Repeat("x", i%500)))
		time.Sleep(100 * time.Microsecond)
	}
	b.Finish(true, "")
	select {}
}

// TestKilled kills a process that writes a bundle at random moments, and reads
// what it left.
func TestKilled(t *testing.T) {
	seed := rand.Uint64()
	t.Logf("seed %d", seed)
	random := rand.New(rand.NewPCG(seed, 0))
	finished := 0
	for i := range 20 {
		// Half of them are killed while they write, half around the end.
		lines := maxLines
		if i%2 == 1 {
			lines = 5
		}
		dir := filepath.Join(t.TempDir(), "run")
		c := exec.Command(os.Args[0])
		c.Env = append(os.Environ(), victimDir+"="+dir, fmt.Sprint(victimLines, "=", lines))
		if err := c.Start(); err != nil {
			t.Fatal(err)
		}
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(time.Millisecond) {
			if _, err := os.Stat(filepath.Join(dir, manifestName)); err == nil {
				break
			}
			if time.Now().After(deadline) {
				c.Process.Kill()
				t.Fatal("the process does not begin")
			}
		}
		time.Sleep(time.Duration(random.Int64N(int64(100 * time.Millisecond))))
		if err := c.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		c.Wait()
		if killed(t, dir) {
			finished++
		}
	}
	t.Logf("%d of 20 had finished", finished)
}

// killed checks what a killed process left, and reports whether it had finished.
func killed(t *testing.T, dir string) bool {
	t.Helper()
	m := manifest(t, dir)
	if m.Complete {
		check(t, dir, m)
	} else if m.Why != unfinished || m.End != nil || len(m.Files) > 0 {
		t.Errorf("%+v", m)
	}
	var want bytes.Buffer
	for i := range maxLines {
		want.WriteString(line(i))
	}
	data, err := os.ReadFile(filepath.Join(dir, "serial.log"))
	if err != nil && !os.IsNotExist(err) || !bytes.HasPrefix(want.Bytes(), data) {
		t.Errorf("serial.log, %d bytes, is no prefix of what was written: %v", len(data), err)
	}
	data, err = os.ReadFile(filepath.Join(dir, "host", "probes.jsonl"))
	if err != nil && !os.IsNotExist(err) {
		t.Error(err)
	}
	lines := strings.SplitAfter(string(data), "\n")
	for i, l := range lines[:len(lines)-1] { // the last one is empty, or half a line
		var v struct{ Name string }
		if json.Unmarshal([]byte(l), &v) != nil || v.Name != fmt.Sprint(i) {
			t.Errorf("probes.jsonl, line %d: %s", i+1, l)
		}
	}
	data, err = os.ReadFile(filepath.Join(dir, "qemu.json"))
	if err == nil && !json.Valid(data) || err != nil && !os.IsNotExist(err) {
		t.Errorf("qemu.json is not whole: %v %s", err, data)
	}
	if runs, problems := bundle.Find(os.DirFS(dir), "run"); len(runs) != 1 || len(problems) > 0 {
		t.Errorf("analysis: %d runs, %v", len(runs), problems)
	}
	return m.Complete
}
