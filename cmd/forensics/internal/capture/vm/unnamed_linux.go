package vm

import (
	"errors"
	"fmt"
	"os"
)

// unnamed makes an empty file without a name, and returns the path by which it
// is opened as long as f is: see proc(5), /proc/PID/fd.
func unnamed() (f *os.File, path string, err error) {
	f, err = os.CreateTemp("", "forensics-disk-")
	if err != nil {
		return nil, "", err
	}
	if err := os.Remove(f.Name()); err != nil {
		return nil, "", errors.Join(err, f.Close())
	}
	path = fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd())
	again, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil { // no /proc here
		return nil, "", errors.Join(err, f.Close())
	}
	return f, path, again.Close()
}
