"""The interface that udev calls `lan`, and its DHCP lease."""
import json
import os
import time

from .events import emit, run


def wait_for_interface(name, seconds):
    """True when the kernel has an interface of that name within the time."""
    emit("lan.wait", interface=name, limit_seconds=seconds)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if os.path.isdir("/sys/class/net/" + name):
            with open("/sys/class/net/%s/address" % name) as f:
                emit("lan.found", interface=name, mac=f.read().strip())
            return True
        time.sleep(1)
    emit("lan.absent", interface=name, level="error", present=sorted(os.listdir("/sys/class/net")),
         message="no network interface named %s after %d s" % (name, seconds))
    return False


def wait_for_address(name, seconds):
    """The first IPv4 address that DHCP gave, or None."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        done = run("lan.address", ["ip", "-j", "-4", "addr", "show", "dev", name], check=False)
        links = json.loads(done.stdout or "[]") if done.returncode == 0 else []
        for info in [i for link in links for i in link.get("addr_info", [])]:
            emit("lan.lease", interface=name, address=info["local"], prefix=info["prefixlen"])
            return info["local"]
        time.sleep(3)
    emit("lan.no_lease", interface=name, level="warning", message="no IPv4 address on %s after %d s" % (name, seconds))
    return None
