package capture

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/iso"
)

// treeEntry is a line of iso/tree.jsonl.
type treeEntry struct {
	Path   string `json:"path"` // image paths begin with /, nested ones hold !/
	Type   string `json:"type"` // file, directory, link, other
	Mode   string `json:"mode"` // octal permissions
	Size   int64  `json:"size"`
	SHA256 string `json:"sha256,omitempty"` // of files of the image itself
	Link   string `json:"link,omitempty"`
}

// Bounds on what is kept of an image.
const (
	maxTree = 400_000   // lines of the tree
	maxCopy = 256 << 10 // bytes of a file that is copied
	// maxOverlay bounds an archive that is copied since stage 2 unpacks it.
	maxOverlay = 4 << 20
)

var errNoImage = errors.New("no ISO 9660 image: it boots nothing; is the download or build complete?")

// image keeps what the image is: its digest, its tree, what it promises, and
// the small texts that matter.
func (c *capture) image(file string) error {
	abs, err := filepath.Abs(file)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(filepath.Dir(abs))
	if err != nil {
		return err
	}
	defer root.Close()
	f, err := root.Open(filepath.Base(abs))
	if err != nil {
		return fmt.Errorf("%w; --iso names the image to boot", err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	run, problems := bundle.FindFile(root.FS(), "", filepath.Base(abs))
	c.note("image", problems)
	if run == nil || run.Artifacts[0].Kind != bundle.ISO {
		return fmt.Errorf("%s: %w", file, errNoImage)
	}
	c.progress.Stage("image")
	m, err := iso.Open(f, info.Size())
	if err != nil {
		return fmt.Errorf("%s: %w: %v", file, errNoImage, err)
	}
	promises, problems, err := iso.Record(run.Artifacts[0], c.Params)
	if err != nil {
		return err
	}
	c.note("image", problems)
	if err := c.bundle.WriteFile("iso/promises.jsonl", promises); err != nil {
		return err
	}
	if err := c.tree(m); err != nil {
		return err
	}
	h := sha256.New()
	if _, err := io.Copy(h, io.NewSectionReader(f, 0, info.Size())); err != nil {
		return err
	}
	return c.json("iso/image.json", map[string]any{"iso_path": abs, "iso_sha256": hex.EncodeToString(h.Sum(nil)), "size": info.Size()})
}

// tree lists the image and the volumes in it.
func (c *capture) tree(m *iso.Image) (err error) {
	w, err := c.bundle.File("iso/tree.jsonl")
	if err != nil {
		return err
	}
	b := bufio.NewWriter(w)
	t := &lister{capture: c, enc: json.NewEncoder(b), left: maxTree}
	t.enc.SetEscapeHTML(false)
	t.list(m.FS(), "", true)
	return errors.Join(b.Flush(), w.Close(), t.err)
}

// lister writes the entries of a tree, nested volumes behind the image's own.
type lister struct {
	*capture
	enc  *json.Encoder
	left int
	err  error
}

func (t *lister) list(fsys fs.FS, prefix string, own bool) {
	var volumes []string
	_ = fs.WalkDir(fsys, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			t.problem("iso/tree.jsonl", prefix+"/"+p+": "+err.Error())
			return nil
		}
		if t.left--; t.left < 0 || t.err != nil {
			return fs.SkipAll
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		e := entry(fsys, p, prefix, info)
		if own && info.Mode().IsRegular() {
			e.SHA256 = digest(fsys, p)
			volumes = append(volumes, p)
		}
		if text, ok := matters(fsys, p, info); ok {
			t.copy(prefix+"/"+p, text)
		}
		// What stage 2 unpacks over the root is part of what the guest runs.
		if own && slices.Contains(t.Params["overlays"], "/"+p) && info.Mode().IsRegular() && info.Size() <= maxOverlay {
			if data, err := fs.ReadFile(fsys, p); err == nil {
				t.copy(prefix+"/"+p, data)
			}
		}
		t.err = t.enc.Encode(e)
		return nil
	})
	if t.left < 0 {
		t.problem("iso/tree.jsonl", fmt.Sprintf("more than %d entries: the rest is not listed", maxTree))
		return
	}
	for _, p := range volumes {
		if v := volume(fsys, p); v != nil {
			t.list(v, prefix+"/"+p+"!", false)
		}
	}
}

func entry(fsys fs.FS, p, prefix string, info fs.FileInfo) treeEntry {
	e := treeEntry{Path: prefix + path.Clean("/"+p), Type: "other", Mode: fmt.Sprintf("%04o", info.Mode().Perm()), Size: info.Size()}
	switch m := info.Mode(); {
	case m.IsRegular():
		e.Type = "file"
	case m.IsDir():
		e.Type, e.Size = "directory", 0
	case m&fs.ModeSymlink != 0:
		e.Type = "link"
		e.Link, _ = fs.ReadLink(fsys, p)
	}
	return e
}

func digest(fsys fs.FS, p string) string {
	f, err := fsys.Open(p)
	if err != nil {
		return ""
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, f); err != nil {
		return ""
	}
	return hex.EncodeToString(h.Sum(nil))
}

// volume opens the file system in a file, nil where there is none.
func volume(fsys fs.FS, p string) fs.FS {
	f, err := fsys.Open(p)
	if err != nil {
		return nil
	}
	r, ok := f.(io.ReaderAt)
	info, err := f.Stat()
	if !ok || err != nil {
		return nil
	}
	v, err := iso.OpenVolume(r, info.Size())
	if err != nil {
		return nil
	}
	return v.FS
}

// Where the texts that matter are: configurations of boot loaders in images and
// EFI boot images, and what systemd and networkd read first.
var (
	loaderRe = regexp.MustCompile(`(?i)^(?:boot/)?(?:isolinux|syslinux|extlinux|grub2?|loader(?:/entries)?|EFI/[^/]+)/[^/]+\.(?:cfg|conf)$`)
	unitRe   = regexp.MustCompile(`(?:^|/)etc/systemd/(?:system|network)/(?:.*/)?[^/]+\.(?:service|link|network|conf)$|^[0-9a-z]{32}-unit-[^/]+/[^/]+\.(?:service|conf)$`)
)

// matters returns a text that a reader of the bundle wants to see.
func matters(fsys fs.FS, p string, info fs.FileInfo) ([]byte, bool) {
	if !info.Mode().IsRegular() || info.Size() > maxCopy || !loaderRe.MatchString(p) && !unitRe.MatchString(p) {
		return nil, false
	}
	data, err := fs.ReadFile(fsys, p)
	return data, err == nil
}

// copy keeps a file under iso/files, with ! for the border of a volume.
func (t *lister) copy(name string, text []byte) {
	name = path.Join(bundle.CopiesDir, strings.ReplaceAll(name, "!", ".d"))
	if err := t.bundle.WriteFile(name, text); err != nil {
		t.problem(name, err.Error())
	}
}

// note takes over problems.
func (c *capture) note(at string, ps []bundle.Problem) {
	for _, p := range ps {
		c.problem(at, strings.TrimPrefix(p.Path+": "+p.Text, ": "))
	}
}
