package vm

import "syscall"

// attributes put QEMU into a process group of its own and have the kernel kill
// it when the thread that forked it ends.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
}
