package iso

import (
	"bytes"
	"encoding/json"
	"path"
	"regexp"
	"slices"
	"strings"

	"forensics/analyzers/bundle"
	"forensics/analyzers/units/unitfile"
)

// units states what the root's unit files promise: the profile's unit, the
// services that it needs, the getty of the serial port, and the network.
func (s *promiser) units() {
	t, err := unitfile.Open(s.root, unitfile.SystemDirs, nil)
	if err != nil {
		s.problem(s.path, "unit files: "+err.Error())
		return
	}
	for _, name := range s.params["services"] {
		s.unit(t, name)
	}
	if u := s.unit(t, s.params.One("unit")); u != nil {
		own := s.program(u)
		s.orders(t, u, own)
		s.environment(u, own)
	}
	s.getty(t)
	s.sudo()
	n, err := unitfile.Open(s.root, unitfile.NetworkDirs, nil)
	if err != nil {
		s.problem(s.path, "network files: "+err.Error())
		return
	}
	s.network(n)
}

// option is the evidence of an assignment.
func (s *promiser) option(u *unitfile.Unit, o unitfile.Option) bundle.Evidence {
	for _, src := range u.Sources {
		if src.Path == o.Path {
			return bundle.Span(s.root.place(o.Path), src.Data, bundle.NewLineIndex(src.Data), o.Start, o.End)
		}
	}
	return bundle.Evidence{}
}

// file is the evidence that a unit has a file: the header of its first section.
func (s *promiser) file(u *unitfile.Unit) (bundle.Evidence, bool) {
	for _, src := range u.Sources {
		at := bytes.IndexByte(src.Data, '[')
		if src.Path != u.Path || at < 0 {
			continue
		}
		line, _, _ := bytes.Cut(src.Data[at:], []byte("\n"))
		return bundle.Span(s.root.place(src.Path), src.Data, bundle.NewLineIndex(src.Data), int64(at), int64(at+len(line))), true
	}
	return bundle.Evidence{}, false
}

// settings are the options of a service that say how it runs and ends.
var settings = []struct{ section, name string }{
	{"Unit", "After"}, {"Unit", "Before"}, {"Unit", "Wants"}, {"Unit", "Requires"},
	{"Service", "Type"}, {"Service", "RemainAfterExit"}, {"Service", "ExecStart"}, {"Service", "ExecStopPost"},
	{"Service", "Environment"}, {"Service", "TimeoutStartSec"}, {"Service", "TimeoutSec"}, {"Service", "Restart"},
}

// unit states whether the root has the unit, and how it is set. It returns the
// unit when it is there.
func (s *promiser) unit(t *unitfile.Tree, name string) *unitfile.Unit {
	u, err := t.Load(name)
	if err != nil || u.Path == "" && !u.Masked {
		if s.whole {
			s.state("iso.unit-file", name, "missing", s.magic()...)
			s.state("iso.lacks", "", name, s.magic()...)
		}
		return nil
	}
	if u.Masked {
		if ev, ok := s.root.head(u.Path); ok {
			s.state("iso.unit-file", name, "masked", ev)
		}
		return nil
	}
	ev, ok := s.file(u)
	if !ok {
		return nil
	}
	s.state("iso.unit-file", name, "present", ev)
	for _, by := range slices.Concat(u.WantedBy, u.RequiredBy) {
		s.state("iso.unit-wanted", name, by, s.wanted(name, by, ev))
	}
	for _, o := range settings {
		for _, a := range u.All(o.section, o.name) {
			s.state("iso.unit-setting", name+" "+o.name, bundle.Printable(a.Value), s.option(u, a))
		}
	}
	s.ends(u, ev)
	return u
}

// wanted is the evidence that a link pulls the unit in, else the unit's file.
func (s *promiser) wanted(name, by string, file bundle.Evidence) bundle.Evidence {
	for _, d := range unitfile.SystemDirs {
		for _, kind := range []string{".wants", ".requires"} {
			if ev, ok := s.root.head(path.Join(d, by+kind, name)); ok {
				return ev
			}
		}
	}
	return file
}

// ends states the two settings that decide whether a service becomes inactive,
// with systemd's defaults where nothing is assigned (systemd.service(5)).
func (s *promiser) ends(u *unitfile.Unit, file bundle.Evidence) {
	if !strings.HasSuffix(u.Name, ".service") {
		return
	}
	value, ev := "simple", file
	if o, ok := u.Last("Service", "Type"); ok {
		value, ev = o.Value, s.option(u, o)
	}
	s.state("iso.unit-type", u.Name, bundle.Printable(value), ev)
	value, ev = "no", file
	if o, ok := u.Last("Service", "RemainAfterExit"); ok && slices.Contains([]string{"1", "yes", "y", "true", "t", "on"}, strings.ToLower(o.Value)) {
		value, ev = "yes", s.option(u, o)
	}
	s.state("iso.unit-remains", u.Name, value, ev)
}

// environment states whether the unit's own PATH leads to the commands that it
// calls: of those that the profile names (parameter "unit-commands") the ones
// that its program, or another of them, mentions. Where a directory of it is
// made at boot, or not all of the root was read, it is not known.
func (s *promiser) environment(u *unitfile.Unit, own *program) {
	at, dirs := s.searchPath(u)
	if len(dirs) == 0 || !s.whole || !own.known {
		return
	}
	found := map[string]bool{}
	for _, d := range dirs {
		d = strings.TrimPrefix(path.Clean("/"+d), "/")
		if !s.is(d) && strings.HasPrefix(d, "run/") {
			return
		}
		for _, c := range s.params["unit-commands"] {
			if name := path.Join(d, c); !found[c] && s.is(name) {
				found[c] = true
				own.add(s.root, name)
			}
		}
	}
	lacks := false
	for _, c := range s.params["unit-commands"] {
		by, mentioned := own.mentions(c, false)
		if found[c] || !mentioned {
			continue
		}
		lacks = true
		if _, elsewhere := s.command(c); elsewhere { // else the image lacks it
			s.state("iso.unit-lacks", u.Name, c, at, by)
		}
	}
	if !lacks {
		s.state("iso.unit-path", u.Name, "complete", at)
	}
}

// defaultPath is what systemd gives to services that have no PATH of their own
// (systemd.exec(5), "Environment Variables in Spawned Processes"), but on NixOS.
const defaultPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin"

// searchPath returns the directories of the unit's PATH, and what shows it.
func (s *promiser) searchPath(u *unitfile.Unit) (ev bundle.Evidence, dirs []string) {
	for _, o := range u.All("Service", "Environment") {
		ws, _ := unitfile.Words(o.Value)
		for _, w := range ws {
			if v, ok := strings.CutPrefix(w, "PATH="); ok {
				ev, dirs = s.option(u, o), strings.Split(unitfile.Specifiers(v, u.Name), ":")
			}
		}
	}
	for _, name := range []string{"EnvironmentFile", "PassEnvironment", "UnsetEnvironment", "ExecSearchPath"} {
		if len(u.All("Service", name)) > 0 {
			return ev, nil
		}
	}
	if len(dirs) == 0 && s.toplevel == "" {
		if file, ok := s.file(u); ok {
			return file, strings.Split(defaultPath, ":")
		}
	}
	return ev, dirs
}

// orders states which services and sockets start only after the unit has ended,
// and may be started by its program: one that starts such a unit, and waits,
// waits for ever. It looks for the names of such units in the program's text.
func (s *promiser) orders(t *unitfile.Tree, u *unitfile.Unit, own *program) {
	before := func(other string, o *unitfile.Unit, a unitfile.Option) {
		if !strings.HasSuffix(other, ".service") && !strings.HasSuffix(other, ".socket") {
			return
		}
		ev := []bundle.Evidence{s.option(o, a)}
		if by, ok := own.mentions(strings.TrimSuffix(strings.TrimSuffix(other, ".service"), ".socket"), true); ok {
			ev = append(ev, by)
		} else if own.known {
			return
		}
		s.state("iso.unit-before", u.Name, other, ev...)
	}
	for _, other := range t.Names() {
		o, err := t.Load(other)
		if err != nil || slices.Contains(o.Names, u.Name) {
			continue
		}
		for _, a := range o.All("Unit", "After") {
			if ws, err := unitfile.Words(a.Value); err == nil && slices.Contains(ws, u.Name) {
				before(other, o, a)
			}
		}
	}
	for _, a := range u.All("Unit", "Before") {
		ws, _ := unitfile.Words(a.Value)
		for _, other := range ws {
			before(other, u, a)
		}
	}
}

// serialGetty is the unit that systemd starts for console=ttyS0
// (systemd-getty-generator(8)).
const serialGetty = "serial-getty@ttyS0.service"

// getty states who is logged in on the serial port without being asked. A getty
// that asks says nothing: live systems arrange the login at boot.
func (s *promiser) getty(t *unitfile.Tree) {
	u, err := t.Load(serialGetty)
	if err != nil || u.Masked {
		return
	}
	for _, o := range u.All("Service", "ExecStart") {
		cs, _ := unitfile.Commands(o.Value)
		for _, c := range cs {
			if user := autologin(c.Argv); user != "" {
				s.state("iso.autologin", "ttyS0", bundle.Printable(user), s.option(u, o))
			}
		}
	}
}

// autologin returns the user that agetty is told to log in (agetty(8), -a).
func autologin(argv []string) string {
	if len(argv) == 0 || path.Base(argv[0]) != "agetty" {
		return ""
	}
	for i, a := range argv {
		if v, ok := strings.CutPrefix(a, "--autologin="); ok {
			return v
		}
		if (a == "--autologin" || a == "-a") && i+1 < len(argv) {
			return argv[i+1]
		}
	}
	return ""
}

// sudoRe is a rule by which a user or group may run everything
// (sudoers(5), "User specification").
var sudoRe = regexp.MustCompile(`^(%?[\w.-]+)[ \t]+ALL[ \t]*=[ \t]*(?:\([^)]*\)[ \t]*)?((?:[A-Z]+:[ \t]*)*)ALL$`)

// Bounds on sudo's files.
const (
	maxSudoers     = 256 << 10
	maxSudoersDirs = 64
)

// sudo states whether the profile's user may become root, and whether without a
// password: the last rule that fits counts.
func (s *promiser) sudo() {
	user := s.params.One("user")
	names := []string{"etc/sudoers"}
	if es, err := s.root.ReadDir("etc/sudoers.d"); err == nil {
		for _, e := range es[:min(len(es), maxSudoersDirs)] {
			// sudo skips those (sudoers(5), "Including other files").
			if !strings.Contains(e.Name(), ".") && !strings.HasSuffix(e.Name(), "~") {
				names = append(names, path.Join("etc/sudoers.d", e.Name()))
			}
		}
	}
	value := ""
	var ev []bundle.Evidence
	for _, name := range names {
		f, err := s.root.open(name, maxSudoers)
		if err != nil {
			continue
		}
		f.each(func(line string, at int) {
			m := sudoRe.FindStringSubmatch(line)
			if m == nil {
				return
			}
			by := []bundle.Evidence{f.span(at, at+len(line))}
			if group, ok := strings.CutPrefix(m[1], "%"); ok {
				member, ok := s.member(group, user)
				if !ok {
					return
				}
				by = append(by, member)
			} else if m[1] != user && m[1] != "ALL" {
				return
			}
			value, ev = "password", by
			if strings.Contains(m[2], "NOPASSWD:") {
				value = "no-password"
			}
		})
	}
	if value != "" {
		s.state("iso.sudo", user, value, ev...)
	}
}

// member returns what makes the user a member of the group: a line of
// /etc/group, or where stage 2 makes that file, the list that it makes it from
// (NixOS, update-users-groups.pl).
func (s *promiser) member(group, user string) (ev bundle.Evidence, ok bool) {
	f, err := s.root.open("etc/group", maxSudoers)
	if err != nil {
		return s.listed(group, user)
	}
	f.each(func(line string, at int) {
		fields := strings.Split(line, ":")
		if len(fields) == 4 && fields[0] == group && slices.Contains(strings.Split(fields[3], ","), user) {
			ev, ok = f.span(at, at+len(line)), true
		}
	})
	return ev, ok
}

func (s *promiser) listed(group, user string) (ev bundle.Evidence, ok bool) {
	for _, p := range s.root.store() {
		if s.toplevel == "" || !strings.HasSuffix(p, "-users-groups.json") {
			continue
		}
		f, err := s.root.open(path.Join(storeDir, p), maxSudoers)
		if err != nil {
			continue
		}
		var list struct {
			Groups []struct {
				Name    string   `json:"name"`
				Members []string `json:"members"`
			} `json:"groups"`
		}
		if json.Unmarshal(f.data, &list) != nil {
			continue
		}
		for _, g := range list.Groups {
			at := bytes.Index(f.data, []byte(`"`+group+`"`))
			if g.Name == group && at >= 0 && slices.Contains(g.Members, user) {
				return f.span(at, at+len(group)+2), true
			}
		}
	}
	return ev, false
}

// network states what names the profile's interface and what sets it up.
func (s *promiser) network(t *unitfile.Tree) {
	lan := s.params.One("interface")
	for _, name := range t.Names() {
		u, err := t.Load(name)
		if err != nil || u.Masked {
			continue
		}
		switch path.Ext(name) {
		case ".link":
			if o, ok := u.Last("Link", "Name"); ok && o.Value == lan {
				s.state("iso.interface", lan, "named", s.option(u, o))
			}
		case ".network":
			s.setup(u, lan)
		}
	}
}

// setup states how a .network that matches the interface by name alone gets its
// address. Files with other conditions may or may not apply.
func (s *promiser) setup(u *unitfile.Unit, lan string) {
	matched := false
	for _, o := range u.Options {
		if o.Section != "Match" || o.Value == "" {
			continue
		}
		if words, err := unitfile.Words(o.Value); o.Name != "Name" || err != nil || !slices.Contains(words, lan) {
			return
		}
		matched = true
	}
	if o, ok := u.Last("Network", "DHCP"); matched && ok {
		value := "no"
		if slices.Contains([]string{"yes", "true", "1", "on", "ipv4", "both", "v4"}, strings.ToLower(o.Value)) {
			value = "yes"
		}
		s.state("iso.dhcp", lan, value, s.option(u, o))
	}
}
