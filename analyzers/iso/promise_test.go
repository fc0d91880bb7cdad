package iso

import (
	"bytes"
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"forensics/analyzers"
	"forensics/analyzers/analyzertest"
	"forensics/analyzers/bundle"
)

// params are those of a profile for the images of testdata/roots.sh.
func params(unit, user, iface string) analyzers.Params {
	return analyzers.Params{
		"unit": {unit}, "user": {user}, "interface": {iface},
		"parts":         {"sudo=sudo", "disko=disko", "lvm2=vgs|lvs", "iproute2=ip"},
		"services":      {"systemd-networkd.service"},
		"unit-commands": {"disko", "modprobe"},
		"overlays":      {"/config.tar.gz"}, "overlay-removals": {"/etc/removals"},
	}
}

// promises are the facts about the default entry's kernel and root, without
// what the menu says and where the hash of a package stands.
func promises(t *testing.T, data []byte, p analyzers.Params) []string {
	t.Helper()
	run := &bundle.Run{Artifacts: []*bundle.Artifact{bundle.NewArtifact("x.iso", bundle.ISO, data)}}
	m := open(t, data)
	var out []string
	for _, f := range analyzers.Analyze(run, []*analyzers.Analyzer{Analyzer}, p).All() {
		for _, e := range f.Evidence {
			leads(t, m, data, e)
		}
		switch f.Name {
		case "iso.label", "iso.boot", "iso.entry", "iso.cmdline", "iso.console", "iso.kernel", "iso.squashfs", "iso.unit-setting":
			continue
		}
		e := f.Evidence[0]
		parts := strings.Split(e.Path, "/")
		out = append(out, fmt.Sprintf("%s %s = %s @ %s:%d %s", f.Name, f.Subject, f.Value, parts[len(parts)-1], e.Line, hashless(e.Quote)))
	}
	for _, p := range run.Problems {
		out = append(out, "problem "+p.Text)
	}
	return out
}

func hashless(s string) string {
	return storeRef.ReplaceAllStringFunc(s, func(m string) string { return m[:11] + "*" + m[11+32:] })
}

// leads checks that evidence quotes the bytes it names.
func leads(t *testing.T, m *Image, data []byte, e bundle.Evidence) {
	t.Helper()
	raw := data
	if inner, ok := strings.CutPrefix(e.Path, "x.iso!"); ok {
		var err error
		if raw, err = m.ReadNested(inner); err != nil {
			t.Errorf("%s: %v", e.Path, err)
			return
		}
	}
	if e.Start < 0 || e.End > int64(len(raw)) || e.Start >= e.End {
		t.Errorf("%+v: no bytes of the file", e)
		return
	}
	if got := bundle.Printable(string(raw[e.Start:e.End])); got != e.Quote || 1+bytes.Count(raw[:e.Start], []byte("\n")) != e.Line {
		t.Errorf("%+v: the bytes are %q", e, got)
	}
}

// nixos is what the healthy NixOS image promises.
var nixos = []string{
	"iso.kernel-version  = 6.12.58 @ bzImage:1 6.12.58 (builder@example) #1 SMP",
	"iso.module virtio_blk = initrd @ virtio_blk.ko.xz:1 ELF",
	"iso.module virtio_net = root @ virtio_net.ko.xz:1 ELF",
	"iso.module virtio_rng = missing @ modules.builtin:1 kernel/drivers/block/loop.ko kernel/fs/isofs/isofs.ko",
	"iso.module virtio_pci = missing @ modules.builtin:1 kernel/drivers/block/loop.ko kernel/fs/isofs/isofs.ko",
	"iso.module squashfs = initrd @ squashfs.ko.xz:1 ELF",
	"iso.module isofs = builtin @ modules.builtin:2 kernel/fs/isofs/isofs.ko",
	"iso.module overlay = missing @ modules.builtin:1 kernel/drivers/block/loop.ko kernel/fs/isofs/isofs.ko",
	"iso.module loop = builtin @ modules.builtin:1 kernel/drivers/block/loop.ko",
	"iso.module sr_mod = missing @ modules.builtin:1 kernel/drivers/block/loop.ko kernel/fs/isofs/isofs.ko",
	"iso.part disko = present @ disko:1 /nix/store/*-disko-1.12/bin/disko",
	"iso.part iproute2 = present @ ip:1 /nix/store/*-iproute2-6.17/bin/ip",
	"iso.part lvm2 = present @ vgs:1 /nix/store/*-lvm2-2.03.35/bin/vgs",
	"iso.part sudo = present @ sudo:1 /nix/store/*-sudo-1.9.17/bin/sudo",
	"iso.unit-file systemd-networkd.service = present @ systemd-networkd.service:1 [Unit]",
	"iso.unit-wanted systemd-networkd.service = multi-user.target @ systemd-networkd.service:1 ../systemd-networkd.service",
	"iso.unit-type systemd-networkd.service = notify @ systemd-networkd.service:5 Type=notify",
	"iso.unit-remains systemd-networkd.service = no @ systemd-networkd.service:1 [Unit]",
	"iso.unit-file pre-nixos.service = present @ pre-nixos.service:1 [Unit]",
	"iso.unit-wanted pre-nixos.service = multi-user.target @ pre-nixos.service:1 ../pre-nixos.service",
	"iso.unit-type pre-nixos.service = oneshot @ pre-nixos.service:9 Type=oneshot",
	"iso.unit-remains pre-nixos.service = no @ pre-nixos.service:1 [Unit]",
	`iso.unit-path pre-nixos.service = complete @ pre-nixos.service:6 Environment="PATH=/nix/store/*-disko-1.12/bin:/nix/store/*-kmod-31/bin"`,
	`iso.autologin ttyS0 = nixos @ overrides.conf:3 ExecStart=@/nix/store/util-linux/sbin/agetty agetty --login-program /nix/store/shadow/bin/login --autologin nixos %I --keep-baud $TERM`,
	"iso.sudo nixos = no-password @ f5ba91605c1884f01ff414ac946652df-sudoers:3 %wheel ALL=(ALL:ALL) NOPASSWD:SETENV: ALL",
	"iso.interface lan = named @ 10-lan.link:5 Name=lan",
	"iso.dhcp lan = yes @ 20-lan.network:5 DHCP=yes",
}

// changed returns the healthy image's promises with lines in place of those
// that begin alike, up to " = "; a line that ends in " =" takes one away.
func changed(lines ...string) []string {
	head := func(l string) string { h, _, _ := strings.Cut(l, " ="); return h }
	var out []string
	for _, l := range nixos {
		for _, c := range lines {
			if head(c) == head(l) {
				l = c
			}
		}
		if !strings.HasSuffix(l, " =") {
			out = append(out, l)
		}
	}
	return out
}

func after(list []string, prefix string, more ...string) []string {
	for i, l := range list {
		if strings.HasPrefix(l, prefix) {
			return append(append(append([]string(nil), list[:i+1]...), more...), list[i+1:]...)
		}
	}
	return list
}

// rootImage is an image of testdata/roots/build.sh.
func rootImage(t testing.TB, name string) []byte {
	t.Helper()
	return analyzertest.Gunzip(t, "testdata/roots/"+name+".iso.gz")
}

func TestRoots(t *testing.T) {
	const magic = "@ nix-store.squashfs:1 hsqs"
	noDisko := changed("iso.part disko = missing "+magic, "iso.unit-path pre-nixos.service =")
	noNetworkd := changed("iso.unit-file systemd-networkd.service = missing "+magic, "iso.unit-wanted systemd-networkd.service =",
		"iso.unit-type systemd-networkd.service =", "iso.unit-remains systemd-networkd.service =")
	for name, c := range map[string]struct {
		params analyzers.Params
		want   []string
	}{
		"root-nixos":             {params("pre-nixos.service", "nixos", "lan"), nixos},
		"root-nixos-no-disko":    {params("pre-nixos.service", "nixos", "lan"), after(noDisko, "iso.part disko", "iso.lacks  = disko "+magic)},
		"root-nixos-no-networkd": {params("pre-nixos.service", "nixos", "lan"), after(noNetworkd, "iso.unit-file systemd", "iso.lacks  = systemd-networkd.service "+magic)},
		"root-nixos-remains": {params("pre-nixos.service", "nixos", "lan"),
			changed("iso.unit-remains pre-nixos.service = yes @ pre-nixos.service:8 RemainAfterExit=yes")},
		"root-nixos-waits": {params("pre-nixos.service", "nixos", "lan"),
			after(nixos, "iso.unit-remains pre-nixos", "iso.unit-before pre-nixos.service = sshd.service @ sshd.service:2 After=network.target pre-nixos.service")},
		"root-nixos-no-kmod": {params("pre-nixos.service", "nixos", "lan"),
			after(changed("iso.unit-path pre-nixos.service ="), "iso.unit-remains pre-nixos",
				`iso.unit-lacks pre-nixos.service = modprobe @ pre-nixos.service:6 Environment="PATH=/nix/store/*-disko-1.12/bin"`)},
		"root-debian": {params("provision.service", "live", "eth0"), []string{
			"iso.kernel-version  = 6.12.57+deb13-amd64 @ vmlinuz:1 6.12.57+deb13-amd64 (builder@example) #1 SMP",
			"iso.module virtio_blk = missing @ modules.builtin:1 kernel/fs/isofs/isofs.ko",
			"iso.module virtio_net = root @ virtio_net.ko.xz:1 ELF",
			"iso.module virtio_rng = missing @ modules.builtin:1 kernel/fs/isofs/isofs.ko",
			"iso.module virtio_pci = missing @ modules.builtin:1 kernel/fs/isofs/isofs.ko",
			"iso.module squashfs = initrd @ squashfs.ko.xz:1 ELF",
			"iso.module isofs = builtin @ modules.builtin:1 kernel/fs/isofs/isofs.ko",
			"iso.module overlay = missing @ modules.builtin:1 kernel/fs/isofs/isofs.ko",
			"iso.module loop = missing @ modules.builtin:1 kernel/fs/isofs/isofs.ko",
			"iso.module sr_mod = missing @ modules.builtin:1 kernel/fs/isofs/isofs.ko",
			"iso.part disko = missing @ filesystem.squashfs:1 hsqs",
			"iso.lacks  = disko @ filesystem.squashfs:1 hsqs",
			"iso.part iproute2 = present @ ip:1 ELF",
			"iso.part lvm2 = present @ vgs:1 lvm",
			"iso.part sudo = present @ sudo:1 ELF",
			"iso.unit-file systemd-networkd.service = missing @ filesystem.squashfs:1 hsqs",
			"iso.lacks  = systemd-networkd.service @ filesystem.squashfs:1 hsqs",
			"iso.unit-file provision.service = present @ provision.service:1 [Unit]",
			"iso.unit-wanted provision.service = multi-user.target @ provision.service:1 /etc/systemd/system/provision.service",
			"iso.unit-type provision.service = oneshot @ provision.service:5 Type=oneshot",
			"iso.unit-remains provision.service = no @ provision.service:1 [Unit]",
			`iso.unit-path provision.service = complete @ 10-time.conf:3 Environment=MODE=auto "PATH=/usr/sbin:/usr/bin"`,
			"iso.sudo live = no-password @ live:1 live ALL=(ALL) NOPASSWD: ALL",
		}},
	} {
		if d := cmp.Diff(c.want, promises(t, rootImage(t, name), c.params)); d != "" {
			t.Errorf("%s: -want +got\n%s", name, d)
		}
	}
}
