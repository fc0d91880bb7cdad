package main

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"forensics/analyzers"
	"forensics/analyzers/all"
	"forensics/rules"
)

// defaultProfile is the profile that is used when none is named.
const defaultProfile = "pre-nixos"

// ruleFlags say by which rules, and for which image.
type ruleFlags struct {
	dir     string
	profile string
	set     []string
}

func (o *ruleFlags) register(c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&o.dir, "rules", "", "load the rule packs (*.yaml) of `DIR` as well")
	f.StringVar(&o.profile, "profile", defaultProfile, "the names that belong to the image: a built-in profile's `NAME`, or a file")
	f.StringArrayVar(&o.set, "set", nil, "set a parameter of the profile: `KEY=VALUE`; several of one KEY make a list")
}

// catalogue is rules with the names that they are asked about.
type catalogue struct {
	set     *rules.Set
	profile rules.Profile
	types   []analyzers.FactType
}

func (o *ruleFlags) load(c *cobra.Command) (*catalogue, error) {
	profile, err := o.find(c)
	if err != nil {
		return nil, err
	}
	if profile.Params, err = o.apply(c, profile.Params); err != nil {
		return nil, err
	}
	packs := rules.Embedded()
	if o.dir != "" {
		more, err := readPacks(o.dir)
		if err != nil {
			return nil, err
		}
		packs = append(packs, more...)
	}
	declared, err := declare(profile)
	if err != nil {
		return nil, err
	}
	types := analyzers.Types(all.List)
	set, err := rules.Load(types, declared, packs...)
	if err != nil {
		return nil, err
	}
	return &catalogue{set: set, profile: profile, types: types}, nil
}

// find returns the profile that was asked for.
func (o *ruleFlags) find(c *cobra.Command) (rules.Profile, error) {
	known, err := rules.Profiles()
	if err != nil {
		return rules.Profile{}, err
	}
	var names []string
	for _, p := range known {
		if p.Name == o.profile {
			return p, nil
		}
		names = append(names, p.Name)
	}
	data, err := os.ReadFile(o.profile)
	if errors.Is(err, fs.ErrNotExist) {
		return rules.Profile{}, usagef(c, "no profile %q: there are %s; or name a file", o.profile, strings.Join(names, ", "))
	}
	if err != nil {
		return rules.Profile{}, err
	}
	return rules.ParseProfile(rules.Source{Name: o.profile, Data: data})
}

// declare returns p with the parameters of the default profile that it does
// not have, without values: the built-in rules may name them, and what they
// ask about stays unknown.
func declare(p rules.Profile) (rules.Profile, error) {
	known, err := rules.Profiles()
	if err != nil {
		return p, err
	}
	p.Params = maps.Clone(p.Params)
	for _, k := range known {
		for name := range k.Params {
			if _, ok := p.Params[name]; !ok && k.Name == defaultProfile {
				p.Params[name] = nil
			}
		}
	}
	return p, nil
}

// apply returns params changed by --set.
func (o *ruleFlags) apply(c *cobra.Command, params analyzers.Params) (analyzers.Params, error) {
	params = maps.Clone(params)
	given := map[string]bool{}
	for _, s := range o.set {
		k, v, ok := strings.Cut(s, "=")
		if !ok {
			return nil, usagef(c, "--set %s: write KEY=VALUE", s)
		}
		if _, ok := params[k]; !ok {
			return nil, usagef(c, "--set %s: profile %s has no parameter %q: there are %s", s, o.profile, k, strings.Join(slices.Sorted(maps.Keys(params)), ", "))
		}
		if !given[k] {
			given[k], params[k] = true, nil
		}
		if v != "" {
			params[k] = append(slices.Clip(params[k]), v)
		}
	}
	return params, nil
}

// readPacks reads the rule packs of a directory.
func readPacks(dir string) ([]rules.Source, error) {
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	var packs []rules.Source
	for _, e := range entries {
		if ext := filepath.Ext(e.Name()); e.IsDir() || ext != ".yaml" && ext != ".yml" {
			continue
		}
		name := filepath.Join(dir, e.Name())
		data, err := os.ReadFile(name)
		if err != nil {
			return nil, err
		}
		packs = append(packs, rules.Source{Name: name, Data: data})
	}
	if len(packs) == 0 {
		return nil, fmt.Errorf("%s: no rule packs (*.yaml) in it", dir)
	}
	return packs, nil
}
