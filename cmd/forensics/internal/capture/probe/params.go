package probe

import (
	"math"
	"os"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

// hostParams are the parameters that HostParams finds.
var hostParams = []string{"qemu", "python", "home", "store", "tmpdir", "cgroup-limit"}

// HostParams finds the values that host probes need of this machine:
//
//	qemu          the QEMU program, qemu-system-x86_64
//	python        the virtual environment's interpreter below dir, else python3
//	home          the user's directory
//	store         /nix/store, or where it would be made
//	tmpdir        the directory for temporary files, or where it would be made
//	cgroup-limit  the file of the memory limit that binds this process: the
//	              lowest on the way up, for cgroup v2 and v1
func HostParams(dir string) map[string][]string {
	python := "python3"
	for _, p := range []string{".venv/bin/python", "venv/bin/python"} {
		// A link whose interpreter is gone is that environment still: a broken one.
		if _, err := os.Lstat(filepath.Join(dir, p)); err == nil {
			python = "./" + p
			break
		}
	}
	params := map[string][]string{
		"qemu":         {"qemu-system-x86_64"},
		"python":       {python},
		"store":        {existing("/nix/store")},
		"tmpdir":       {existing(filepath.ToSlash(os.TempDir()))},
		"cgroup-limit": {limitFile("/")},
	}
	if home, err := os.UserHomeDir(); err == nil {
		params["home"] = []string{home}
	}
	return params
}

// existing returns the nearest directory on the way up that exists.
func existing(dir string) string {
	for dir != path.Dir(dir) {
		if _, err := os.Stat(dir); err == nil {
			break
		}
		dir = path.Dir(dir)
	}
	return dir
}

// maxLevels bounds the way up through control groups.
const maxLevels = 64

// limitFile returns the file with the lowest memory limit of the control groups
// that this process is in, as the machine below root says (package tests put
// another there). Where a container sees only its own group, the path in
// /proc/self/cgroup may not exist; its root then holds the limit.
func limitFile(root string) string {
	best, lowest := "", math.Inf(1)
	for _, f := range limitFiles(root) {
		data, err := os.ReadFile(filepath.Join(root, f))
		if err != nil {
			continue
		}
		limit, err := strconv.ParseFloat(strings.TrimSpace(string(data)), 64)
		if err != nil {
			limit = math.Inf(1) // "max"
		}
		if best == "" || limit < lowest {
			best, lowest = f, limit
		}
	}
	if best == "" {
		return "/sys/fs/cgroup/memory.max" // its absence is an answer
	}
	return best
}

// limitFiles lists where limits may stand, from this process's group up.
func limitFiles(root string) []string {
	data, _ := os.ReadFile(filepath.Join(root, "proc/self/cgroup"))
	var files []string
	for line := range strings.Lines(string(data)) {
		// hierarchy ID, controllers, path (cgroups(7))
		f := strings.SplitN(strings.TrimSpace(line), ":", 3)
		if len(f) != 3 {
			continue
		}
		switch {
		case f[0] == "0" && f[1] == "":
			files = append(files, upward("/sys/fs/cgroup", f[2], "memory.max")...)
		case f[1] == "memory":
			files = append(files, upward("/sys/fs/cgroup/memory", f[2], "memory.limit_in_bytes")...)
		}
	}
	return files
}

func upward(mount, group, file string) []string {
	var files []string
	group = path.Join("/", group) // no way out of the mount
	for range maxLevels {
		files = append(files, path.Join(mount, group, file))
		if group == "/" {
			break
		}
		group = path.Dir(group)
	}
	return files
}

// Commands returns the programs that show the parts of a profile, for the
// parameter commands: each part is NAME=PROGRAM|PROGRAM….
func Commands(parts []string) []string {
	var names []string
	for _, p := range parts {
		_, programs, _ := strings.Cut(p, "=")
		for name := range strings.SplitSeq(programs, "|") {
			if name != "" {
				names = append(names, name)
			}
		}
	}
	return names
}
