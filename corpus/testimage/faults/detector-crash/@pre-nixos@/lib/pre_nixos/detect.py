"""Reads what is on a disk, and never writes to it."""
import json
import os
import stat

from .events import emit, run


def disks():
    """Names of the disks that could take a system: no loops, drives for media, mappings."""
    names = []
    for name in sorted(os.listdir("/sys/block")):
        if not name.startswith(("loop", "ram", "sr", "fd", "dm-", "md", "zram")):
            names.append("/dev/" + name)
    return names


def signatures(path):
    """What wipefs finds: partition tables, file systems, LVM, RAID."""
    done = run("detect", ["blkid", "--probe", "--output", "export", path])
    return [line[5:] for line in done.stdout.splitlines() if line.startswith("TYPE=")]


def classify(path):
    """'absent', 'blank' or 'occupied', with the signatures found."""
    found = disks()
    emit("detect.disks", disks=found)
    try:
        if not stat.S_ISBLK(os.stat(path).st_mode):
            raise ValueError(path + " is no block device")
    except FileNotFoundError:
        emit("detect.disk", disk=path, classification="absent", level="error",
             message="the plan names %s, which is not here; present: %s" % (path, ", ".join(found) or "none"))
        return "absent", []
    kinds = signatures(path)
    parts = sorted(n for n in os.listdir("/sys/block/" + os.path.basename(path)) if n.startswith(os.path.basename(path)))
    if parts:
        kinds += ["partition " + p for p in parts]
    kind = "occupied" if kinds else "blank"
    emit("detect.disk", disk=path, classification=kind, signatures=kinds)
    return kind, kinds
