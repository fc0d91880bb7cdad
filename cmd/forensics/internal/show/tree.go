package show

import (
	"bufio"
	"fmt"
	"io"
	"io/fs"
	"path"
	"strings"
)

// Tree forms.
const (
	Find = "find"
	Long = "long"
)

// Tree writes the files of a file system below dir, in order: with Find one
// path a line as find(1) prints them, with Long mode, size, path and link. What
// cannot be listed goes to problem, and the rest is written.
func Tree(w io.Writer, fsys fs.FS, dir, form string, problem func(path string, err error)) error {
	b := bufio.NewWriter(w)
	err := fs.WalkDir(fsys, dir, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			problem(p, err)
			if d == nil || !d.IsDir() {
				return nil
			}
			return fs.SkipDir
		}
		name := "/" + strings.TrimPrefix(p, ".")
		name = path.Clean(name)
		if form != Long {
			fmt.Fprintln(b, visible(name))
			return nil
		}
		info, err := d.Info()
		if err != nil {
			problem(p, err)
			return nil
		}
		fmt.Fprintf(b, "%s %12d %s%s\n", mode(info.Mode()), info.Size(), visible(name), link(fsys, p, info))
		return nil
	})
	if err != nil {
		return err
	}
	return b.Flush()
}

func link(fsys fs.FS, name string, info fs.FileInfo) string {
	if info.Mode()&fs.ModeSymlink == 0 {
		return ""
	}
	target, err := fs.ReadLink(fsys, name)
	if err != nil {
		return ""
	}
	return " -> " + visible(target)
}

// mode writes type and permissions as ls -l does.
func mode(m fs.FileMode) string {
	b := []byte("----------")
	switch m & fs.ModeType {
	case fs.ModeDir:
		b[0] = 'd'
	case fs.ModeSymlink:
		b[0] = 'l'
	case fs.ModeNamedPipe:
		b[0] = 'p'
	case fs.ModeSocket:
		b[0] = 's'
	case fs.ModeDevice:
		b[0] = 'b'
	case fs.ModeDevice | fs.ModeCharDevice, fs.ModeCharDevice:
		b[0] = 'c'
	}
	for i, c := range "rwxrwxrwx" {
		if m&(1<<(8-i)) != 0 {
			b[i+1] = byte(c)
		}
	}
	special := func(bit fs.FileMode, at int, with, without byte) {
		if m&bit == 0 {
			return
		}
		if b[at] == '-' {
			b[at] = without
		} else {
			b[at] = with
		}
	}
	special(fs.ModeSetuid, 3, 's', 'S')
	special(fs.ModeSetgid, 6, 's', 'S')
	special(fs.ModeSticky, 9, 't', 'T')
	return string(b)
}
