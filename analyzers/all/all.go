// Package all is the one list of analyzers. Adding one here makes the program
// run it; a test checks that every analyzer's folder stands in the list.
package all

import (
	"forensics/analyzers"
	"forensics/analyzers/boot"
	"forensics/analyzers/build"
	"forensics/analyzers/commands"
	"forensics/analyzers/console"
	"forensics/analyzers/harness"
	"forensics/analyzers/host"
	"forensics/analyzers/iso"
	"forensics/analyzers/journal"
	"forensics/analyzers/kernel"
	"forensics/analyzers/network"
	"forensics/analyzers/qemu"
	"forensics/analyzers/serial"
	"forensics/analyzers/shell"
	"forensics/analyzers/storage"
	"forensics/analyzers/units"
)

// List is every analyzer: readers first, then interpreters.
var List = []*analyzers.Analyzer{
	console.Analyzer,
	serial.Analyzer,
	commands.Analyzer,
	journal.Analyzer,
	qemu.Analyzer,
	build.Analyzer,
	iso.Analyzer,
	host.Analyzer,
	kernel.Analyzer,
	shell.Analyzer,
	units.Analyzer,
	storage.Analyzer,
	network.Analyzer,
	boot.Analyzer,
	harness.Analyzer,
}
