package record

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"slices"

	"forensics/analyzers/bundle"
)

// disk is what a bundle does to its directory; names are slash paths in it.
// Tests put faults into it.
type disk interface {
	mkdirs(name string) error
	create(name string) (file, error) // a new file that is appended to
	overwrite(name string, data []byte) error
	rename(from, to string) error // on disk when it returns
	remove(name string) error
	size(name string) (int64, error)
	digest(name string) (size int64, sum string, err error)
	kind(name string) bundle.Kind
	names() ([]string, error) // of the files
	close() error
}

type file interface {
	io.WriteCloser
	Sync() error
	Truncate(size int64) error
}

// Rights of what a bundle holds: the console may show secrets of the guest.
const (
	dirMode  = 0o700
	fileMode = 0o600
)

// folder is a directory that no name leads out of.
type folder struct{ root *os.Root }

// open makes dir, or takes it when it is empty.
func open(dir string) (*folder, error) {
	entries, err := os.ReadDir(dir)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		if err := os.MkdirAll(dir, dirMode); err != nil {
			return nil, fmt.Errorf("%s: %w: choose a place that you may write to", dir, plain(err))
		}
	case err != nil:
		return nil, fmt.Errorf("%s: %w: choose a new directory", dir, plain(err))
	case slices.ContainsFunc(entries, func(e fs.DirEntry) bool { return e.Name() == manifestName }):
		return nil, fmt.Errorf("%s: holds a bundle already: choose a new directory, a bundle is never written over", dir)
	case len(entries) > 0:
		return nil, fmt.Errorf("%s: holds %s already: choose a new or empty directory", dir, entries[0].Name())
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", dir, plain(err))
	}
	return &folder{root}, nil
}

func (d *folder) close() error { return d.root.Close() }

func (d *folder) mkdirs(name string) error { return d.root.MkdirAll(name, dirMode) }

func (d *folder) create(name string) (file, error) {
	f, err := d.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL|os.O_APPEND, fileMode)
	if err != nil {
		return nil, err // not a nil *os.File in an interface
	}
	return f, nil
}

func (d *folder) overwrite(name string, data []byte) error {
	f, err := d.root.OpenFile(name, os.O_WRONLY, fileMode)
	if err != nil {
		return err
	}
	_, err = f.WriteAt(data, 0)
	if err == nil {
		err = f.Truncate(int64(len(data)))
	}
	return errors.Join(err, f.Sync(), f.Close())
}

// rename also brings the directory to the disk, where the system knows how.
func (d *folder) rename(from, to string) error {
	if err := d.root.Rename(from, to); err != nil {
		return err
	}
	if dir, err := d.root.Open(path.Dir(to)); err == nil {
		dir.Sync() // not every system and file system can: the new name holds all the same
		dir.Close()
	}
	return nil
}

func (d *folder) remove(name string) error { return d.root.Remove(name) }

func (d *folder) size(name string) (int64, error) {
	info, err := d.root.Lstat(name)
	if err != nil {
		return 0, err
	}
	if !info.Mode().IsRegular() {
		return 0, errors.New("no longer a plain file")
	}
	return info.Size(), nil
}

func (d *folder) digest(name string) (int64, string, error) {
	if _, err := d.size(name); err != nil {
		return 0, "", err
	}
	f, err := d.root.Open(name)
	if err != nil {
		return 0, "", err
	}
	defer f.Close()
	h := sha256.New()
	n, err := io.Copy(h, f)
	return n, hex.EncodeToString(h.Sum(nil)), err
}

// kind is what the analysis takes the file for.
func (d *folder) kind(name string) bundle.Kind {
	run, _ := bundle.FindFile(d.root.FS(), "", name)
	if run == nil || len(run.Artifacts) == 0 {
		return bundle.Unknown
	}
	return run.Artifacts[0].Kind
}

func (d *folder) names() ([]string, error) {
	var names []string
	err := fs.WalkDir(d.root.FS(), ".", func(name string, e fs.DirEntry, err error) error {
		if err == nil && !e.IsDir() {
			names = append(names, name)
		}
		return err
	})
	return names, err
}
