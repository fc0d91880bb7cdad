package shell

import (
	"regexp"
	"testing"

	"forensics/analyzers/analyzertest"
	"forensics/analyzers/commands"
)

func TestPatterns(t *testing.T) {
	res := map[string]*regexp.Regexp{
		"rootPrompt": rootPromptRe, "userPrompt": userPromptRe, "test": testRe, "printf": printfRe, "uid": uidRe,
		"digits": digitsRe, "name": nameRe, "spliced": splicedRe, "have": haveRe, "which": whichRe, "loop": loopRe,
		"whichNo": whichNoRe, "notFound": notFoundRe, "refused": refusedRe,
	}
	for name, re := range answers {
		res["answers."+name] = re
	}
	analyzertest.Lines(t, res, []analyzertest.Line{
		{"rootPrompt", true, "[root@nixos:~]# "},
		{"rootPrompt", true, "root@host:/tmp# "},
		{"rootPrompt", false, "[nixos@nixos:~]$ "},
		{"rootPrompt", false, "root@host said hello"},
		{"userPrompt", true, "[nixos@nixos:~]$ "},
		{"userPrompt", false, "[root@nixos:~]# "},
		{"userPrompt", false, "PRE-NIXOS> "},
		{"test", true, `if [ "$(id -u)" -eq 0 ]; then echo __ROOT__; else echo __USER__; fi`},
		{"test", true, `[ $(id -u) = 0 ] && echo A || echo B`},
		{"test", true, `[[ $(id -u) == 0 ]] && echo A || echo B`},
		{"test", false, `if [ "$(id -u)" -ne 0 ]; then echo __USER__; else echo __ROOT__; fi`},
		{"test", false, `[ $(id -u) = 1000 ] && echo A || echo B`},
		{"test", false, `[ "$(id -u nixos)" -eq 0 ] && echo A || echo B`},
		{"printf", true, `printf '__U__%s__U__\n' "$(id -u)"`},
		{"printf", false, `printf '__U__%s__U__\n' "$(id -g)"`},
		{"uid", true, "uid=0(root) gid=0(root)"},
		{"uid", false, "uid=0 gid=0"},
		{"digits", true, "0"},
		{"digits", true, "1000"},
		{"digits", false, "00"},
		{"digits", false, "1000 "},
		{"digits", false, "12345678901"},
		{"name", true, "nixos"},
		{"name", false, "No such user"},
		{"spliced", true, "100[   31.000001] random: crng init done"},
		{"spliced", false, "[   31.000001] random: crng init done"},
		{"have", true, "command -v disko >/dev/null 2>&1 && echo OK || echo MISSING"},
		{"have", true, "which disko && echo OK || echo MISSING"},
		{"have", false, "command -v disko >/dev/null 2>&1 && echo OK"},
		{"have", false, "test -x disko && echo OK || echo MISSING"},
		{"which", true, "command -v disko"},
		{"which", false, "command -v disko lsblk"},
		{"loop", true, "for c in a b; do command -v $c || echo $c MISSING; done"},
		{"loop", true, `for c in a b; do which "$c"; done`},
		{"loop", false, "for c in a b; do rm $c || echo $c MISSING; done"},
		{"whichNo", true, "/usr/bin/which: no vgs in (/bin:/usr/bin)"},
		{"whichNo", false, "there is no vgs in here"},
		{"notFound", true, "-bash: sudo: command not found"},
		{"notFound", true, "bash: line 1: modprobe: command not found"},
		{"notFound", true, "sh: 1: vgs: not found"},
		{"notFound", true, "sh: vgs: not found"},
		{"notFound", true, "zsh: command not found: vgs"},
		{"notFound", false, "script: line 3: modprobe: command not found"},
		{"notFound", false, "bash: ./x: No such file or directory"},
		{"notFound", false, "Unit vgs.service not found"},
		{"refused", true, "sudo: a password is required"},
		{"refused", true, "sudo: no tty present and no askpass program specified"},
		{"refused", true, "sudo: 3 incorrect password attempts"},
		{"refused", true, "nixos is not in the sudoers file.  This incident will be reported."},
		{"refused", true, "Sorry, user nixos may not run sudo on nixos."},
		{"refused", true, "Sorry, try again."},
		{"refused", true, "su: Authentication failure"},
		{"refused", true, "su: incorrect password"},
		{"refused", true, "su: must be run from a terminal"},
		{"refused", true, "-bash: sudo: command not found"},
		{"refused", true, "sh: su: not found"},
		{"refused", false, "sudo: unable to resolve host nixos: Name or service not known"},
		{"refused", false, "sudo: vgs: command not found"},
		{"refused", false, "[sudo] password for nixos: "},
		{"answers.ip", true, "2: lan    inet 10.0.2.15/24 scope global lan"},
		{"answers.ip", true, "2: lan: <BROADCAST,UP> mtu 1500 qdisc fq_codel"},
		{"answers.ip", true, `Device "lan" does not exist.`},
		{"answers.ip", false, "LAN IPv4 address: 10.0.2.15"},
		{"answers.vgs", true, "  main"},
		{"answers.vgs", false, "main"},
		{"answers.lvs", true, "  slash main"},
		{"answers.lvs", false, "    four blanks"},
		{"answers.pvs", true, "  /dev/vda1 main"},
		{"answers.pvs", false, "/dev/vda1"},
		{"answers.lvcreate", true, `  Logical volume "slash" created.`},
		{"answers.lvcreate", false, `Logical volume "slash" already exists`},
		{"answers.vgcreate", true, `  Volume group "main" successfully created`},
		{"answers.vgcreate", false, `  Volume group "main" not found`},
		{"answers.pvcreate", true, `  Physical volume "/dev/vda1" successfully created.`},
		{"answers.pvcreate", false, `  Cannot use /dev/vda1: device is partitioned`},
		{"answers.lsblk", true, "NAME   MAJ:MIN RM SIZE"},
		{"answers.lsblk", false, "NAME=nixos"},
		{"answers.networkctl", true, "● 2: lan"},
		{"answers.networkctl", true, "IDX LINK TYPE OPERATIONAL SETUP"},
		{"answers.networkctl", false, "● pre-nixos.service - x"},
		{"answers.disko", true, "Usage: /run/current-system/sw/bin/disko [options] disk-config.nix"},
		{"answers.disko", false, "disko: command not found"},
	})
}

// TestQuestion: the markers of a test come in the order root, other.
func TestQuestion(t *testing.T) {
	root, other, ok := Question(`if [ "$(id -u)" -eq 0 ]; then echo "R"; else echo 'U'; fi`)
	if !ok || root != "R" || other != "U" {
		t.Errorf("%q %q %v", root, other, ok)
	}
	if _, _, ok := Question(`[ $(id -u) = 0 ] && echo A || echo A`); ok {
		t.Error("one marker for both answers is a question")
	}
}

// TestUserID: what is no question, or is one about somebody else.
func TestUserID(t *testing.T) {
	for _, c := range []struct{ text, answer, want string }{
		{"id -u", "0", "0"},
		{"id", "uid=1000(nixos) gid=100(users)", "1000"},
		{"id -u 2>/dev/null || true", "1000", "1000"},
		{"whoami", "nixos", "other"},
		{"whoami", "root", "0"},
		{"id -u nixos", "1000", ""},
		{"sudo id -u", "0", ""},
		{"sudo -n id -u", "0", ""},
		{"ssh root@vm id -u", "0", ""},
		{"cat /proc/sys/kernel/pid_max", "32768", ""},
		{"id -u", "bash: id: command not found", ""},
		{"id -u", "", ""},
	} {
		cmd := &commands.Command{Text: c.text, Answer: []commands.Line{{Text: c.answer}}}
		if got, _, ok := UserID(cmd); got != c.want || ok != (c.want != "") {
			t.Errorf("%q answered %q: %q %v", c.text, c.answer, got, ok)
		}
	}
}
