package unitfile

import (
	"errors"
	"fmt"
	"strings"
)

// All returns the assignments of an option that count: those after its last
// reset, which is an empty assignment. Of an option with one value the last
// one is the value.
//
// One reset may clear several options: that of any Condition clears all of
// them. Dependencies (Wants=, After=) have none. In a network's sections that
// stand for one thing each, such as [Route], a reset clears its own section
// only; SectionLine and Path tell these sections apart.
func (u *Unit) All(section, name string) []Option {
	group := resetGroup(section, name)
	var all []Option
	for _, o := range u.Options {
		switch {
		case o.Section != section:
		case o.Value == "" && group != "" && resetGroup(section, o.Name) == group:
			all = reset(all, o)
		case o.Value != "" && o.Name == name:
			all = append(all, o)
		}
	}
	return all
}

// Last returns the assignment that an option with one value has; false where
// none counts, so that the option has its default.
func (u *Unit) Last(section, name string) (Option, bool) {
	all := u.All(section, name)
	if len(all) == 0 {
		return Option{}, false
	}
	return all[len(all)-1], true
}

func reset(all []Option, by Option) []Option {
	if !repeated[by.Section] {
		return nil
	}
	n := len(all)
	for n > 0 && all[n-1].SectionLine == by.SectionLine && all[n-1].Path == by.Path {
		n--
	}
	return all[:n]
}

// resetGroup names the options that an empty assignment of this one clears;
// it is empty where an empty assignment does nothing.
func resetGroup(section, name string) string {
	switch {
	case section == "Unit" && dependencies[name] || section == "Service" && name == "Sockets":
		return ""
	case section == "Unit" && strings.HasPrefix(name, "Condition"):
		return "Condition*"
	case section == "Unit" && strings.HasPrefix(name, "Assert"):
		return "Assert*"
	case section == "Socket" && listens[name]:
		return "Listen*"
	case section == "Timer" && timers[name]:
		return "On*"
	case section == "Path" && watches[name]:
		return "Path*"
	}
	return name
}

func set(names string) map[string]bool {
	m := map[string]bool{}
	for _, name := range strings.Fields(names) {
		m[name] = true
	}
	return m
}

var (
	dependencies = set(`After Before BindsTo Conflicts JoinsNamespaceOf OnFailure OnSuccess PartOf
		PropagatesReloadTo PropagatesStopTo ReloadPropagatedFrom Requires RequiresMountsFor Requisite
		StopPropagatedFrom Upholds Wants WantsMountsFor`)
	listens = set(`ListenDatagram ListenFIFO ListenMessageQueue ListenNetlink ListenSequentialPacket
		ListenSpecial ListenStream ListenUSBFunction`)
	timers  = set(`OnActiveSec OnBootSec OnCalendar OnStartupSec OnUnitActiveSec OnUnitInactiveSec`)
	watches = set(`DirectoryNotEmpty PathChanged PathExists PathExistsGlob PathModified`)

	// repeated are the sections that networkd makes one thing of each.
	repeated = set(`Address BridgeFDB BridgeMDB BridgeVLAN DHCPServerStaticLease IPv6AddressLabel
		IPv6PREF64Prefix IPv6Prefix IPv6RoutePrefix L2TPSession MACsecReceiveAssociation
		MACsecReceiveChannel MACsecTransmitAssociation MobilityDomain Neighbor NextHop Route
		RoutingPolicyRule SR-IOV WireGuardPeer`)
)

// Environment returns the variables that Environment= of a section sets, as
// KEY=VALUE, in the order in which the keys first stand, with the unit's
// specifiers replaced. The error joins what systemd ignores: words that are no
// assignment, and the rest of a line that cannot be split into words. Neither
// EnvironmentFile= nor UnsetEnvironment= is applied.
func (u *Unit) Environment(section string) ([]string, error) {
	var vars []string
	var errs []error
	at := map[string]int{}
	for _, o := range u.All(section, "Environment") {
		words, err := Words(o.Value)
		if err != nil {
			errs = append(errs, fmt.Errorf("%s:%d: %w", o.Path, o.Line, err))
		}
		for _, word := range words {
			word = Specifiers(word, u.nameFor(o))
			key, _, ok := strings.Cut(word, "=")
			if !ok || !isVariable(key) {
				errs = append(errs, fmt.Errorf("%s:%d: %.100q is no assignment", o.Path, o.Line, word))
				continue
			}
			if i, ok := at[key]; ok {
				vars[i] = word
				continue
			}
			at[key] = len(vars)
			vars = append(vars, word)
		}
	}
	return vars, errors.Join(errs...)
}

// nameFor is the name whose specifiers an option's are.
func (u *Unit) nameFor(o Option) string {
	if o.Path == u.Path {
		return u.Name
	}
	return u.Names[0]
}

// isVariable is env_name_is_valid of systemd.
func isVariable(key string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ_"
	return key != "" && key[0] > '9' && strings.Trim(key, letters+"0123456789") == ""
}
