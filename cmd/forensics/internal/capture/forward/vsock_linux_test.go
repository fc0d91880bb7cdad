package forward

import (
	"testing"
	"time"
)

// TestListen: where the kernel has vsock, a port can be had, and Stop ends the
// wait for a guest that never comes.
func TestListen(t *testing.T) {
	l, port, err := Listen(7)
	if err != nil {
		t.Skip(err)
	}
	if port == 0 || port == ^uint32(0) {
		t.Errorf("port %d", port)
	}
	r := Start(l, nil)
	time.Sleep(20 * time.Millisecond) // it waits
	if got := r.Stop(); got != (Result{}) {
		t.Errorf("%+v", got)
	}
}
