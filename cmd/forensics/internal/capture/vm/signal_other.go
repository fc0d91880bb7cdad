//go:build !unix

package vm

import "syscall"

const supported = false

func attributes() *syscall.SysProcAttr { return nil }

func signalGroup(int, bool) {}

func signalOf(any) string { return "" }
