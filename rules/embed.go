package rules

import (
	"embed"
	"fmt"
	"io/fs"
	"path"
)

//go:embed *.yaml profiles/*.yaml
var embedded embed.FS

// Embedded returns the packs that come with the program, in catalogue order.
func Embedded() []Source {
	var packs []Source
	for _, name := range []string{"host.yaml", "image.yaml", "vm.yaml", "harness.yaml"} {
		data, err := embedded.ReadFile(name)
		if err != nil {
			panic(err) // the build lacks a file of ours
		}
		packs = append(packs, Source{Name: "rules/" + name, Data: data})
	}
	return packs
}

// Profiles returns the profiles that come with the program, sorted by file
// name. Each file is named as its profile.
func Profiles() ([]Profile, error) {
	names, err := fs.Glob(embedded, "profiles/*.yaml")
	if err != nil {
		return nil, err
	}
	var ps []Profile
	for _, name := range names {
		data, err := embedded.ReadFile(name)
		if err != nil {
			return nil, err
		}
		p, err := ParseProfile(Source{Name: "rules/" + name, Data: data})
		if err != nil {
			return nil, err
		}
		if p.Name+".yaml" != path.Base(name) {
			return nil, fmt.Errorf("rules/%s: the profile is named %s", name, p.Name)
		}
		ps = append(ps, p)
	}
	return ps, nil
}
