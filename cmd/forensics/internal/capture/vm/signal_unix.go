//go:build unix

package vm

import "syscall"

const supported = true

// signalGroup signals every process of the group that pid leads.
func signalGroup(pid int, kill bool) {
	sig := syscall.SIGTERM
	if kill {
		sig = syscall.SIGKILL
	}
	_ = syscall.Kill(-pid, sig) // ESRCH: it is gone, which is what we want
}

// signalOf names the signal that ended a process, "" for a plain exit.
func signalOf(status any) string {
	if ws, ok := status.(syscall.WaitStatus); ok && ws.Signaled() {
		return ws.Signal().String()
	}
	return ""
}
