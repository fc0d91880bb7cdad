"""What pre-nixos.service runs: network, then storage, then a status file."""
import json
import os
import subprocess
import sys
import traceback

from . import detect, network
from .events import emit, run

STATUS = "/run/pre-nixos/storage-status"


def status(state, detail):
    """Replaces the status file in one step."""
    os.makedirs(os.path.dirname(STATUS), exist_ok=True)
    with open(STATUS + ".new", "w") as f:
        f.write("STATE=%s\nDETAIL=%s\n" % (state, detail))
    os.rename(STATUS + ".new", STATUS)
    emit("status", state=state, detail=detail)


def provision_storage(config):
    plan = config["plan"]
    try:
        kind, found = detect.classify(plan["disk"])
    except Exception:
        traceback.print_exc()
        emit("detect.error", level="error", message="Storage detection encountered an error")
        status("failed", "detection-error")
        return 1
    if kind == "absent":
        status("failed", "disk-absent")
        return 1
    if kind == "occupied":
        emit("storage.plan_only", disk=plan["disk"], message="disk is not blank, nothing is written", signatures=found)
        status("pending", "existing-signatures")
        return 0
    path = "/run/pre-nixos/plan.json"
    with open(path, "w") as f:
        json.dump(plan, f, indent=2)
    argv = ["disko", "--mode", "apply", "--plan", path]
    emit("storage.apply", argv=argv, vg=plan["vg"], lvs=[v["name"] for v in plan["lvs"]])
    try:
        subprocess.run(argv, check=True)
    except (OSError, subprocess.CalledProcessError) as problem:
        emit("storage.apply_failed", level="error", message=str(problem))
        status("failed", "auto-applied")
        return 1
    status("applied", "auto-applied")
    return 0


def main():
    with open("/etc/pre-nixos/config.json") as f:
        config = json.load(f)
    status("pending", "starting")
    name = config["interface"]
    lan = network.wait_for_interface(name, config["interface_seconds"])
    if lan:
        network.wait_for_address(name, config["lease_seconds"])
    for unit in config["start_units"]:
        argv = ["systemctl", "start"] + ([] if config["start_blocking"] else ["--no-block"]) + [unit]
        run("units", argv)
    code = provision_storage(config)
    if not lan:
        emit("finish", level="error", message="interface %s never appeared" % name)
        code = 1
    else:
        emit("finish", exit=code)
    return code


sys.exit(main())
