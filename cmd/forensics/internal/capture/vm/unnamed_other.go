//go:build !linux

package vm

import (
	"errors"
	"os"
)

// unnamed files are Linux's.
func unnamed() (*os.File, string, error) { return nil, "", errors.ErrUnsupported }
