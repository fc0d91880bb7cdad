"""One JSON object a line on standard output, which is the journal."""
import datetime
import json
import subprocess


def emit(event, **fields):
    record = {"event": "pre_nixos." + event, "time": datetime.datetime.now(datetime.timezone.utc).isoformat()}
    record.update(fields)
    print(json.dumps(record, sort_keys=True), flush=True)


def run(subject, argv, check=True):
    """Runs a command, its beginning and end on the journal."""
    emit(subject + ".exec", argv=argv)
    done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    outcome = "ok" if done.returncode == 0 else "error"
    fields = {"argv": argv, "exit": done.returncode, "outcome": outcome}
    if done.returncode != 0:
        fields["stderr"] = done.stderr[-2000:]
    emit(subject + ".exit", **fields)
    if check:
        done.check_returncode()
    return done
