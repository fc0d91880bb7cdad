//go:build unix && !linux

package vm

import "syscall"

// attributes put QEMU into a process group of its own. There is no Pdeathsig
// here: a caller that dies of SIGKILL leaves QEMU running.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true}
}
