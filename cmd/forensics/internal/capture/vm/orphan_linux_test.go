package vm

import (
	"bufio"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// TestCallerKilled: kill -9 of the caller ends QEMU and leaves no socket.
func TestCallerKilled(t *testing.T) {
	o := guest(t, idleGuest)
	tmp := watchTemp(t)
	c := exec.Command(os.Args[0], o.Disks[0].Path)
	c.Env = append(os.Environ(), roleVariable+"=caller")
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	pid, aerr := strconv.Atoi(strings.TrimSpace(line))
	if err != nil || aerr != nil {
		_ = c.Process.Kill()
		t.Fatalf("the caller printed %q", line)
	}
	if !running(pid) {
		t.Errorf("QEMU does not run")
	}
	if err := c.Process.Kill(); err != nil {
		t.Error(err)
	}
	_ = c.Wait()
	gone(t, pid)
	empty(t, tmp)
}
