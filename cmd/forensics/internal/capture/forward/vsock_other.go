//go:build !linux

package forward

import (
	"fmt"
	"runtime"
)

// Available returns why a guest can have no vsock on this host.
func Available() error { return fmt.Errorf("QEMU has no vsock on %s", runtime.GOOS) }

// Listen returns why there is none.
func Listen(cid uint32) (Listener, uint32, error) { return nil, 0, Available() }
