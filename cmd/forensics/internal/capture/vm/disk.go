package vm

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
)

// Blank is a blank disk that lives no longer than it is used.
type Blank struct {
	Path string   // what QEMU and qemu-img open
	file *os.File // keeps one without a name
	dir  string   // that is removed, "" without
}

// NewBlank makes d as a temporary file. Where the system can open a file by the
// process that has it, that file has no name: nothing is left of it when this
// process and QEMU have ended, however they do. qemuImg is as for Create.
func NewBlank(ctx context.Context, d Disk, qemuImg string) (*Blank, error) {
	if f, path, err := unnamed(); err == nil {
		d.Path = path
		if err := d.format(ctx, f, qemuImg); err != nil {
			return nil, errors.Join(err, f.Close())
		}
		return &Blank{Path: path, file: f}, nil
	}
	dir, err := os.MkdirTemp("", "forensics-disk-")
	if err != nil {
		return nil, err
	}
	d.Path = filepath.Join(dir, "disk.img")
	if err := d.Create(ctx, qemuImg); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	return &Blank{Path: d.Path, dir: dir}, nil
}

// Close removes the disk.
func (b *Blank) Close() error {
	if b.dir != "" {
		return os.RemoveAll(b.dir)
	}
	return b.file.Close()
}

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
	err = d.format(ctx, f, qemuImg)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		_ = os.Remove(d.Path)
	}
	return err
}

// format gives the empty file f, which is at d.Path, its size and format.
func (d Disk) format(ctx context.Context, f *os.File, qemuImg string) error {
	switch or(d.Format, "raw") {
	case "raw":
		return f.Truncate(d.Size)
	case "qcow2":
		return qcow2(ctx, or(qemuImg, "qemu-img"), d)
	}
	return fmt.Errorf("disk %s: format %q is neither raw nor qcow2", d.Path, d.Format)
}

func qcow2(ctx context.Context, qemuImg string, d Disk) error {
	cmd := exec.CommandContext(ctx, qemuImg, "create", "-q", "-f", "qcow2", "--", protocol(d.Path), strconv.FormatInt(d.Size, 10))
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(cmd.Args, " "), err, strings.TrimSpace(string(out)))
	}
	return nil
}
