package vm

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// Create makes the blank image. A file that exists is an error: it may be
// somebody's disk. qcow2 is made by qemuImg ("" is qemu-img).
func (d Disk) Create(ctx context.Context, qemuImg string) error {
	if d.Size <= 0 {
		return fmt.Errorf("disk %s: size %d", d.Path, d.Size)
	}
	f, err := os.OpenFile(d.Path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	switch or(d.Format, "raw") {
	case "raw":
		err = f.Truncate(d.Size)
	case "qcow2":
		err = qcow2(ctx, or(qemuImg, "qemu-img"), d)
	default:
		err = fmt.Errorf("disk %s: format %q is neither raw nor qcow2", d.Path, d.Format)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(d.Path)
	}
	return err
}

func qcow2(ctx context.Context, qemuImg string, d Disk) error {
	cmd := exec.CommandContext(ctx, qemuImg, "create", "-q", "-f", "qcow2", "--", protocol(d.Path), strconv.FormatInt(d.Size, 10))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
