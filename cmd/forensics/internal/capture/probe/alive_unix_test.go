//go:build unix

package probe

import (
	"os"
	"strconv"
	"strings"
	"syscall"
)

// alive reports whether a process runs. Where nothing reaps orphans, a dead one
// stays as a zombie.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
	return err != nil || !strings.Contains(string(stat), ") Z ")
}
