#!/usr/bin/python3
"""Boots the test image in QEMU, talks to it over the serial port, keeps everything.

    record.py [--images DIR] [--work DIR] [--output DIR] NAME...   record these runs
    record.py --list                                              what can be recorded

Needs python3-pexpect and qemu-system-x86 of Debian. One boot at a time.
"""
import argparse
import datetime
import json
import os
import platform
import re
import shutil
import socket
import subprocess
import sys
import time

import pexpect
from pexpect import fdpexpect

HERE = os.path.dirname(os.path.abspath(__file__))
QEMU = "/usr/bin/qemu-system-x86_64"
LOGIN_SECONDS = 240
ESCAPES = re.compile(r"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-?]*[ -/]*[@-~]|\x1b[()][0-9A-B]|\x1b%?[@-_e]")
PROMPT_USER = r"nixos@nixos:[^\]]*\]\$"
PROMPT_ROOT = r"root@nixos:[^\]]*\]#"

# image: the fault that build.sh puts in; dialogue: how we talk; the rest: QEMU.
RUNS = {
    "healthy-stdio": dict(dialogue="chatty"),
    "healthy-socket": dict(dialogue="framed"),
    "healthy-tty0-console": dict(dialogue="chatty", image="console-tty0"),
    "healthy-slow": dict(dialogue="chatty", image="slow-unit"),
    "looked-once": dict(dialogue="hasty", image="slow-unit"),
    "no-nic": dict(dialogue="framed", nic=None),
    "old-signatures": dict(dialogue="chatty", disk="old"),
    "disko-missing": dict(dialogue="chatty", image="disko-missing"),
    "disko-error": dict(dialogue="framed", image="disko-error"),
    "no-serial-console": dict(dialogue="chatty", image="no-serial-console", login_seconds=90),
    "disk-locked": dict(dialogue="chatty", hold="disk"),
    "port-taken": dict(dialogue="chatty", hold="port"),
    "iso-absent": dict(dialogue="framed", iso="absent"),
    "bad-option": dict(dialogue="chatty", extra=["-device", "virtio-rng-pci,max-byte=1024"]),
    "detector-crash": dict(dialogue="framed", image="detector-crash"),
    "disk-sda": dict(dialogue="chatty", bus="scsi"),
    "unit-deadlock": dict(dialogue="chatty", image="unit-deadlock", settle_seconds=60),
    "modprobe-missing": dict(dialogue="framed", image="modprobe-missing"),
    "sudo-missing": dict(dialogue="chatty", image="sudo-missing"),
    "panic-memory": dict(dialogue="framed", memory=96, login_seconds=60),
    "panic-stage2": dict(dialogue="chatty", image="stage2-missing", login_seconds=60),
    "no-dhcp": dict(dialogue="chatty", nic="hub"),
    "observer-echo": dict(dialogue="echo"),
    "observer-behind": dict(dialogue="behind"),
    "observer-missed": dict(dialogue="missed"),
    "kvm-broken": dict(dialogue="framed", accel="kvm", login_seconds=45),
    "cpu-old": dict(dialogue="framed", cpu="pentium3", login_seconds=45),
    "clock-off": dict(dialogue="framed", extra=["-rtc", "base=2041-05-06T07:08:09"]),
    "remain-after-exit": dict(dialogue="framed", image="remain-after-exit", settle_seconds=40),
    "networkd-missing": dict(dialogue="framed", image="networkd-missing"),
    "no-disk": dict(dialogue="framed", bus=None),
}


def now():
    return datetime.datetime.now(datetime.timezone.utc)


class Failure(Exception):
    pass


class Recording:
    def __init__(self, name, spec, options):
        self.name, self.spec, self.images = name, spec, options.images
        while True:  # a run is called by the second it started in
            self.start = now()
            self.dir = os.path.join(options.work, self.start.strftime("%Y-%m-%dT%H-%M-%SZ"))
            if not os.path.exists(self.dir):
                break
            time.sleep(0.2)
        self.artifacts = os.path.join(self.dir, "artifacts")
        os.makedirs(self.artifacts)
        self.harness = open(os.path.join(self.artifacts, "harness.log"), "w")
        self.framed = spec["dialogue"] == "framed"
        self.child = self.qemu = None
        self.failure = None
        self.login_at = None
        self.holders = []

    # -- log -------------------------------------------------------------
    def log(self, text):
        stamp = now().isoformat()
        for line in text.splitlines() or [""]:
            if self.framed:
                self.harness.write("%s %s\n" % (stamp.replace("+00:00", "Z"), line))
            else:
                self.harness.write("[%s] %s\n" % (stamp, line))
        self.harness.flush()

    def drain(self):
        """Writes what was read from the console to the log, line by line."""
        text = (self.child.before or "") if isinstance(self.child.before, str) else ""
        after = self.child.after if isinstance(self.child.after, str) else ""
        for line in ESCAPES.sub("", text + after).replace("\r", "\n").split("\n"):
            if line.strip():
                self.log("Serial: " + "".join(c for c in line.strip() if c.isprintable()))

    def expect(self, patterns, timeout):
        self.log("Expecting: %s (timeout %d s)" % (" | ".join(patterns), timeout))
        end = time.monotonic() + timeout
        try:
            i = self.child.expect(patterns + (["\n"] if self.framed else []), timeout=timeout)
            while i == len(patterns):  # the framed dialogue logs lines as they come
                self.drain()
                i = self.child.expect(patterns + ["\n"], timeout=max(end - time.monotonic(), 0.1))
        except pexpect.TIMEOUT:
            self.log("Timed out after %d s" % timeout)
            tail = ESCAPES.sub("", self.child.buffer or "").replace("\r", "")
            for line in tail.split("\n"):
                if line.strip():
                    self.log("Serial (unmatched): " + "".join(c for c in line.strip() if c.isprintable()))
            raise Failure("timed out after %d s waiting for %s" % (timeout, " | ".join(patterns)))
        except pexpect.EOF:
            self.drain()
            raise Failure("QEMU closed the serial port while waiting for %s" % " | ".join(patterns))
        self.drain()
        self.log("Matched: %r" % patterns[i])
        return i

    def send(self, line):
        self.log("Sending: " + line)
        self.child.send(line + "\n")

    def keep(self, name, text):
        path = os.path.join(self.artifacts, name)
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "w") as f:
            f.write(text)

    # -- machine ---------------------------------------------------------
    def argv(self, iso):
        s = self.spec
        disk = os.path.join(self.dir, "disk.img")
        self.port = free_port()
        a = [QEMU, "-machine", "pc", "-accel", s.get("accel", "tcg,thread=multi"), "-m", str(s.get("memory", 2048)), "-smp", "2"]
        if s.get("cpu"):
            a += ["-cpu", s["cpu"]]
        a += ["-display", "none", "-no-reboot", "-boot", "d"]
        a += ["-serial", "unix:" + os.path.join(self.dir, "serial.sock") if self.framed else "stdio"]
        if self.framed:
            a += ["-qmp", "unix:%s,server=on,wait=off" % os.path.join(self.dir, "qmp.sock")]
        a += ["-cdrom", iso]
        bus = s.get("bus", "virtio")
        if bus:
            subprocess.run(["truncate", "-s", "4G", disk], check=True)
        if s.get("disk") == "old":
            subprocess.run(["cp", "--sparse=always", old_disk(self.image, self.images), disk], check=True)
        if bus == "virtio":
            a += ["-drive", "file=%s,if=virtio,format=raw" % disk]
        elif bus == "scsi":
            a += ["-drive", "file=%s,if=none,id=disk0,format=raw" % disk, "-device", "virtio-scsi-pci", "-device", "scsi-hd,drive=disk0"]
        a += ["-device", "virtio-rng-pci"]
        nic = s.get("nic", "user")
        if nic == "user":
            a += ["-netdev", "user,id=net0,hostfwd=tcp:127.0.0.1:%d-:22" % self.port, "-device", "virtio-net-pci,netdev=net0"]
        elif nic == "hub":
            a += ["-netdev", "hubport,id=net0,hubid=0", "-device", "virtio-net-pci,netdev=net0"]
        else:
            a += ["-nic", "none"]
        self.disk = disk if bus else None
        return a + s.get("extra", [])

    def boot(self, image):
        self.image = image
        version = subprocess.run([QEMU, "--version"], capture_output=True, text=True).stdout.splitlines()[0]
        iso = os.path.join(self.dir, "nixos-minimal-x86_64-linux.iso")
        if self.spec.get("iso") != "absent":
            os.link(image, iso)
        self.iso, self.version = iso, version
        self.command = self.argv(iso)
        self.hold()
        self.log("pexpect %s, python %s, %s" % (pexpect.__version__, platform.python_version(), version))
        self.log("ISO: " + iso)
        self.log("Disk image: %s" % self.disk)
        self.log("QEMU command: " + " ".join(self.command))
        serial = open(os.path.join(self.artifacts, "serial.log"), "w", newline="", encoding="utf-8", errors="surrogateescape")
        self.serial = serial
        self.qemu_start = time.monotonic()
        if not self.framed:
            # What is typed and what comes back, one file, as pexpect logs it.
            self.child = pexpect.spawn(self.command[0], self.command[1:], encoding="utf-8", codec_errors="replace", dimensions=(24, 80), cwd=self.dir)
            self.child.logfile = serial
            self.child.delaybeforesend = 0.05
            return
        listener = socket.socket(socket.AF_UNIX)
        listener.bind(os.path.join(self.dir, "serial.sock"))
        listener.listen(1)
        listener.settimeout(10)
        self.stderr = open(os.path.join(self.dir, "qemu-stderr.log"), "w")
        self.qemu = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=self.stderr, stderr=self.stderr, cwd=self.dir)
        try:
            self.line, _ = listener.accept()
        except socket.timeout:
            raise Failure("QEMU did not open the serial port")
        self.child = fdpexpect.fdspawn(self.line.fileno(), encoding="utf-8", codec_errors="replace")
        self.child.logfile_read = serial

    def hold(self):
        """Takes what QEMU will want: its disk's lock, or its port."""
        what = self.spec.get("hold")
        if what == "disk":
            argv = [QEMU, "-S", "-display", "none", "-nic", "none", "-drive", "file=%s,if=virtio,format=raw" % self.disk]
            self.holders.append(subprocess.Popen(argv, stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL))
            time.sleep(3)
        if what == "port":
            s = socket.socket()
            s.bind(("127.0.0.1", self.port))
            s.listen(1)
            self.holders.append(s)

    # -- dialogue --------------------------------------------------------
    def login(self):
        self.log("Waiting for the login")
        try:
            i = self.expect([r"login: ", PROMPT_USER, PROMPT_ROOT], self.spec.get("login_seconds", LOGIN_SECONDS))
        finally:
            if self.child.after and self.child.after not in (pexpect.TIMEOUT, pexpect.EOF):
                self.login_at = time.monotonic() - self.qemu_start
        if i == 0:
            self.expect([r"\(automatic login\)"], 10)
            self.log("Automatic login seen")

    def converse(self):
        self.login()
        getattr(self, "talk_" + self.spec["dialogue"])()

    def answer(self, command, prompt, timeout=60):
        """Types a command into a shell as it is, and takes what stands before the next prompt."""
        self.log("Command: " + command)
        self.child.sendline(command)
        self.child.expect(r"\x1b\[\?2004l\r", timeout=timeout)  # readline is done with the typed line
        self.child.expect(r"\x1b\[\?2004h", timeout=timeout)  # and starts to ask for the next
        self.drain()
        text = ESCAPES.sub("", self.child.before).replace("\r", "")
        self.child.expect(prompt, timeout=timeout)
        return text.lstrip("\n").rstrip("\n") + "\n"

    def settle(self, ask, name, done, seconds, step=5):
        """Asks until the answer settles; the last answer."""
        end = time.monotonic() + seconds
        while True:
            text = ask()
            if done(text):
                return text
            if time.monotonic() > end:
                self.log("%s did not settle within %d s" % (name, seconds))
                self.failure = self.failure or "%s did not settle within %d s" % (name, seconds)
                return text
            time.sleep(step)

    def talk_chatty(self):
        """The shell as it comes: colours, bracketed paste, 80 columns."""
        self.expect([PROMPT_USER], 60)
        who = self.answer("id -u", PROMPT_USER).strip()
        self.log("Answer: " + who)
        prompt = PROMPT_ROOT
        self.log("Command: sudo -i")
        self.child.sendline("sudo -i")
        if self.expect([PROMPT_ROOT, r"command not found", r"[Pp]assword"], 60) != 0:
            self.log("sudo is refused, trying su")
            self.expect([PROMPT_USER], 20)
            self.child.sendline("su -")
            if self.expect([PROMPT_ROOT, r"Password: ", r"command not found"], 30) == 1:
                self.child.sendline("")
                self.expect([r"su: [^\r\n]*", PROMPT_ROOT], 30)
            self.expect([PROMPT_USER], 20)
            prompt = PROMPT_USER
            self.failure = "no root shell: neither sudo nor su"
        self.answer("stty cols 160; export SYSTEMD_PAGER=cat PAGER=cat", prompt)
        self.log("Answer: " + self.answer("id -u", prompt).strip())
        for c in ("sudo", "disko", "lvs", "vgs", "ip", "wipefs", "findmnt"):
            self.log("Answer: " + self.answer("command -v %s >/dev/null 2>&1 && echo OK || echo MISSING" % c, prompt).strip())
        limit = self.spec.get("settle_seconds", 150)
        status = self.settle(lambda: self.answer("cat /run/pre-nixos/storage-status", prompt), "storage status",
                             lambda t: "STATE=applied" in t or "STATE=failed" in t or "DETAIL=existing" in t, limit)
        self.settle(lambda: self.answer("systemctl is-active pre-nixos", prompt), "pre-nixos",
                    lambda t: t.strip() not in ("activating", "active"), limit)
        self.keep("storage_status.txt", status)
        for name, command in (
            ("systemctl_status_pre_nixos.txt", "systemctl status pre-nixos --no-pager"),
            ("systemctl_list_jobs.txt", "systemctl list-jobs --no-pager"),
            ("networkctl_status_lan.txt", "networkctl status lan --no-pager"),
            ("ip_addr_lan.txt", "ip -o -4 addr show dev lan"),
            ("vgs.txt", "vgs --noheadings -o vg_name"),
            ("lvs.txt", "lvs --noheadings -o vg_name,lv_name"),
            ("lsblk.txt", "lsblk"),
            ("journalctl_pre_nixos.txt", "journalctl -u pre-nixos -b --no-pager"),
        ):
            self.keep(name, self.answer(command, prompt))
        self.keep("dmesg.txt", self.answer("dmesg", prompt, 120))
        self.off(prompt == PROMPT_ROOT)

    def frame(self, n, command, timeout=60):
        """A command between marks that its own echo does not hold; (exit status, answer)."""
        self.log("Command %d: %s" % (n, command))
        self.child.send("printf '\\n%%s%%s\\n' __FR AME_%d__; %s; printf '\\n%%s%%s=%%d__\\n' __EN D_%d $?\n" % (n, command, n))
        self.child.expect(r"__FRAME_%d__\r?\r\n" % n, timeout=timeout)
        self.child.expect(r"\r?\n__END_%d=(\d+)__" % n, timeout=timeout)
        code = int(self.child.match.group(1))
        text = self.child.before.replace("\r", "")
        text = text.rstrip("\n") + ("\n" if text.strip() else "")
        self.log("Exit %d, %d lines: %s" % (code, text.count("\n"), text.strip().split("\n")[0][:100]))
        return code, text

    def talk_framed(self):
        """A quiet shell and marks around each answer."""
        self.expect([PROMPT_USER], 60)
        self.log("Sending: quiet shell")
        self.child.send("export TERM=dumb PAGER=cat SYSTEMD_PAGER=cat SYSTEMD_COLORS=0; bind 'set enable-bracketed-paste off'; stty cols 240 -echo; PS1=; PS2=\n")
        time.sleep(2)
        n = 0
        code, who = self.frame(n, "id -u")
        code, _ = self.frame(1, "sudo -n true")
        if code == 0:
            self.child.send("exec sudo -n env TERM=dumb PAGER=cat SYSTEMD_PAGER=cat SYSTEMD_COLORS=0 bash --norc --noediting\n")
            time.sleep(2)
            self.child.send("PS1=; PS2=\n")
        code, who = self.frame(2, "id -u")
        root = who.strip() == "0"
        if not root:
            self.failure = "no root shell"
        limit = self.spec.get("settle_seconds", 150)
        n = [2]

        def ask(command):
            n[0] += 1
            return self.frame(n[0], command)[1]
        polls = []

        def poll(command):
            text = ask(command)
            polls.append("%s\t%s\t%s" % (now().isoformat(), command, text.strip().replace("\n", " ")))
            return text
        self.settle(lambda: poll("cat /run/pre-nixos/storage-status"), "storage status",
                    lambda t: "STATE=applied" in t or "STATE=failed" in t or "DETAIL=existing" in t, limit)
        self.settle(lambda: poll("systemctl is-active pre-nixos"), "pre-nixos", lambda t: t.strip() not in ("activating", "active"), limit)
        self.keep("diagnostics/polls.txt", "\n".join(polls) + "\n")
        for i, (name, command) in enumerate((
            ("id", "id"),
            ("required-commands", "for c in sudo disko vgs lvs pvs ip wipefs lsblk; do command -v $c || echo $c MISSING; done"),
            ("storage-status", "cat /run/pre-nixos/storage-status"),
            ("unit-status", "systemctl status -l pre-nixos"),
            ("unit-show", "systemctl show -p Type,RemainAfterExit,ActiveState,SubState,Result,ExecMainStatus pre-nixos"),
            ("unit-file", "systemctl cat pre-nixos"),
            ("list-jobs", "systemctl list-jobs"),
            ("failed-units", "systemctl --failed"),
            ("networkctl", "networkctl status lan"),
            ("addresses", "ip -4 addr show"),
            ("volume-groups", "vgs"),
            ("logical-volumes", "lvs"),
            ("signatures", "lsblk -f; wipefs --no-act /dev/vda"),
            ("rng", "cat /sys/class/misc/hw_random/rng_current"),
            ("clock", "date -u; cat /proc/uptime"),
        )):
            text = ask(command)
            self.keep("diagnostics/%02d-%s.txt" % (i + 1, name), "$ %s\n%s" % (command, text))
        self.keep("pre-nixos-journal.log", ask("journalctl -u pre-nixos -b --no-pager"))
        self.keep("dmesg.log", ask("dmesg"))
        self.off(root)

    def talk_hasty(self):
        """Looks once, at once, and leaves: the machine is still at work."""
        self.expect([PROMPT_USER], 60)
        self.child.sendline("sudo -i")
        self.expect([PROMPT_ROOT], 60)
        self.answer("stty cols 160; export SYSTEMD_PAGER=cat PAGER=cat", PROMPT_ROOT)
        for name, command in (
            ("storage_status.txt", "cat /run/pre-nixos/storage-status"),
            ("systemctl_is_active.txt", "systemctl is-active pre-nixos"),
            ("systemctl_status_pre_nixos.txt", "systemctl status pre-nixos --no-pager"),
            ("vgs.txt", "vgs --noheadings -o vg_name"),
            ("journalctl_pre_nixos.txt", "journalctl -u pre-nixos -b --no-pager"),
        ):
            self.keep(name, self.answer(command, PROMPT_ROOT))
        self.off(True)

    def talk_echo(self):
        """A wrong observer: takes the mark in its own typed line for the answer."""
        self.expect([PROMPT_USER], 60)
        self.child.sendline("[ $(id -u) = 0 ] && echo __AS_ROOT__ || echo __AS_USER__")
        self.expect([r"__AS_ROOT__", r"__AS_USER__"], 30)
        self.log("The shell is a root shell already, no sudo needed")
        self.expect([PROMPT_USER], 30)
        self.answer("stty cols 160; export SYSTEMD_PAGER=cat PAGER=cat", PROMPT_USER)
        time.sleep(40)
        for name, command in (
            ("storage_status.txt", "cat /run/pre-nixos/storage-status"),
            ("systemctl_is_active.txt", "systemctl is-active pre-nixos"),
            ("ip_addr_lan.txt", "ip -o -4 addr show dev lan"),
            ("vgs.txt", "vgs --noheadings -o vg_name"),
            ("lvs.txt", "lvs --noheadings -o vg_name,lv_name"),
            ("journalctl_pre_nixos.txt", "journalctl -u pre-nixos -b --no-pager"),
        ):
            self.keep(name, self.answer(command, PROMPT_USER))
        if "main" not in open(os.path.join(self.artifacts, "vgs.txt")).read().split():
            self.log("vgs as root does not list main")
            self.failure = "volume group main is missing"
        self.off(False)

    def talk_behind(self):
        """A wrong observer: reads up to a prompt that belongs to the command before."""
        self.expect([PROMPT_USER], 60)
        self.child.sendline("sudo -i")
        self.expect([PROMPT_ROOT], 60)
        self.answer("stty cols 160; export SYSTEMD_PAGER=cat PAGER=cat", PROMPT_ROOT)
        time.sleep(45)
        self.log("Waking the shell")
        self.child.sendline("")
        self.child.sendline("")
        self.expect([PROMPT_ROOT], 30)
        for name, command in (
            ("storage_status.txt", "cat /run/pre-nixos/storage-status"),
            ("systemctl_is_active.txt", "systemctl is-active pre-nixos"),
            ("ip_addr_lan.txt", "ip -o -4 addr show dev lan"),
            ("vgs.txt", "vgs --noheadings -o vg_name"),
            ("lvs.txt", "lvs --noheadings -o vg_name,lv_name"),
            ("systemctl_status_pre_nixos.txt", "systemctl status pre-nixos --no-pager"),
            ("networkctl_status_lan.txt", "networkctl status lan --no-pager"),
            ("journalctl_pre_nixos.txt", "journalctl -u pre-nixos -b --no-pager"),
        ):
            self.log("Command: " + command)
            self.child.sendline(command)
            self.child.expect(PROMPT_ROOT, timeout=60)
            self.drain()
            text = ESCAPES.sub("", self.child.before).replace("\r", "").strip("\n[")
            self.keep(name, text + "\n")
            self.log("Answer: " + (text.strip().split("\n") or [""])[-1])
            time.sleep(3)
        if "STATE=applied" not in open(os.path.join(self.artifacts, "storage_status.txt")).read():
            self.log("storage status is not applied")
            self.failure = "storage status is empty"
        self.child.expect(PROMPT_ROOT, timeout=60)
        self.off(True)

    def talk_missed(self):
        """A wrong observer: its pattern wants a blank right after the prompt's sign."""
        self.expect([r"nixos@nixos:\S*\$ $", r"root@nixos:\S*# $"], 60)

    def off(self, root):
        self.log("Sending: poweroff")
        self.child.send("poweroff\n" if root else "systemctl poweroff\n")
        try:
            self.child.expect(pexpect.EOF, timeout=60 if root else 10)
            self.drain()
        except pexpect.TIMEOUT:
            self.log("No end of the machine, stopping QEMU")

    # -- end -------------------------------------------------------------
    def finish(self, image_sha):
        code = None
        if not self.framed and self.child is not None:
            self.child.close(force=True)
            code = self.child.exitstatus if self.child.exitstatus is not None else -(self.child.signalstatus or 0)
        elif self.qemu is not None:
            try:
                self.qemu.wait(5)
            except subprocess.TimeoutExpired:
                self.qmp()
                self.qemu.terminate()
                self.qemu.wait(20)
            code = self.qemu.returncode
            self.stderr.close()
            with open(os.path.join(self.dir, "qemu-stderr.log"), errors="replace") as f:
                text = f.read()
            for line in text.splitlines():
                self.log("QEMU: " + line)
            if text:
                self.keep("qemu-stderr.log", text)
        for h in self.holders:
            (h.close if isinstance(h, socket.socket) else h.terminate)()
        self.serial.close()
        self.log("QEMU ended with %s" % code)
        self.log("Result: " + (self.failure or "done"))
        end = now()
        self.keep("metadata.json", json.dumps({
            "artifact": {"iso_path": self.iso, "iso_sha256": image_sha},
            "failure": self.failure,
            "generated_at": end.isoformat(),
            "logs": {"harness": os.path.join(self.artifacts, "harness.log"), "serial": os.path.join(self.artifacts, "serial.log")},
            "qemu": {"command": self.command, "disk_image": self.disk, "exit_status": code, "version": self.version},
            "timings": {"start": self.start.isoformat(), "end": end.isoformat(),
                        "boot_to_login_seconds": self.login_at and round(self.login_at, 3),
                        "total_seconds": round((end - self.start).total_seconds(), 3)},
        }, indent=2) + "\n")
        self.harness.close()

    def qmp(self):
        """Asks QEMU how the machine is, and for the text of its screen."""
        try:
            s = socket.socket(socket.AF_UNIX)
            s.settimeout(10)
            s.connect(os.path.join(self.dir, "qmp.sock"))
            f = s.makefile("rw")
            f.readline()

            def ask(name, **arguments):
                f.write(json.dumps({"execute": name, "arguments": arguments}) + "\n")
                f.flush()
                while True:
                    reply = json.loads(f.readline())
                    if "event" not in reply:
                        return reply.get("return", reply.get("error"))
            ask("qmp_capabilities")
            self.log("QMP status: " + json.dumps(ask("query-status")))
            path = os.path.join(self.dir, "vga.bin")
            ask("pmemsave", val=0xB8000, size=80 * 25 * 2, filename=path)
            with open(path, "rb") as g:
                cells = g.read()[::2].decode("cp437")
            screen = [cells[i:i + 80].replace("\0", " ").rstrip() for i in range(0, len(cells), 80)]
            if any(screen):
                self.keep("vga.txt", "\n".join(screen).rstrip("\n") + "\n")
        except (OSError, ValueError) as problem:
            self.log("QMP: %s" % problem)

    def record(self, image, image_sha):
        try:
            self.boot(image)
            self.converse()
        except Failure as problem:
            self.failure = str(problem)
        except (pexpect.TIMEOUT, pexpect.EOF) as problem:
            self.drain()
            self.failure = "%s while waiting for an answer" % type(problem).__name__
            self.log(self.failure)
        finally:
            self.finish(image_sha)


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]


def old_disk(image, images):
    """A disk that was somebody's: the image itself makes another volume group on it, in a boot that is not recorded."""
    disk, serial = os.path.join(images, "old-disk.img"), os.path.join(images, "old-disk.log")
    if os.path.exists(disk):
        return disk
    subprocess.run(["truncate", "-s", "4G", disk + ".part"], check=True)
    argv = [QEMU, "-accel", "tcg,thread=multi", "-m", "2048", "-smp", "2", "-display", "none", "-no-reboot", "-boot", "d", "-serial", "file:" + serial,
            "-cdrom", image, "-drive", "file=%s.part,if=virtio,format=raw" % disk, "-nic", "user,model=virtio-net-pci",
            "-fw_cfg", "name=opt/testimage/fault,string=other-plan"]
    qemu = subprocess.Popen(argv, stdin=subprocess.DEVNULL)
    try:
        for _ in range(180):
            time.sleep(1)
            with open(serial, errors="replace") as f:
                if "LAN IPv4 address" in f.read():
                    break
        else:
            raise SystemExit("record.py: the boot that should make an old disk did not finish, see " + serial)
        time.sleep(10)
    finally:
        qemu.terminate()
        qemu.wait()
    os.rename(disk + ".part", disk)
    return disk


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--list", action="store_true")
    p.add_argument("--images", default="/tmp/forensics-rec/images", help="where built images are kept")
    p.add_argument("--work", default="/tmp/forensics-rec", help="a folder whose name may stand in recordings")
    p.add_argument("--output", help="copy NAME/artifacts here")
    p.add_argument("names", nargs="*")
    o = p.parse_args()
    if o.list:
        for name, spec in RUNS.items():
            print("%-22s %s" % (name, " ".join("%s=%s" % kv for kv in spec.items())))
        return 0
    for name in o.names:
        if name not in RUNS:
            print("record.py: no run named " + name, file=sys.stderr)
            return 2
    for name in o.names:
        spec = RUNS[name]
        fault = spec.get("image")
        image = os.path.join(o.images, (fault or "healthy") + ".iso")
        subprocess.run([os.path.join(HERE, "build.sh")] + (["--fault", fault] if fault else []) + [image], check=True)
        sha = subprocess.run(["sha256sum", image], capture_output=True, text=True, check=True).stdout.split()[0]
        r = Recording(name, spec, o)
        r.record(image, sha)
        print("%s: %s, %s" % (name, r.artifacts, r.failure or "done"), flush=True)
        if o.output:
            target = os.path.join(o.output, name, "artifacts")
            shutil.rmtree(target, ignore_errors=True)
            shutil.copytree(r.artifacts, target)
        for scratch in ("disk.img", "nixos-minimal-x86_64-linux.iso"):
            if os.path.exists(os.path.join(r.dir, scratch)):
                os.remove(os.path.join(r.dir, scratch))
    return 0


if __name__ == "__main__":
    sys.exit(main())
