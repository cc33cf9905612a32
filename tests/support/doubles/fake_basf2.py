"""Stands in for `basf2` in tests: WORLD RELEASE basf2 [-n N] steering.py -- job.json, as a site's launcher calls it.

It quickly writes every output, with the same bytes for the same job: all events of its inputs (one for a file without a known
number), followed by who made them. The file WORLD/behaviour/STEP-JOB, STEP-RUN, or else `any`, selects another behaviour: one
word and its arguments.
"""

import hashlib
import json
import os
import signal
import sys
import time

world, release, name, *limit, steering, _, job_file = sys.argv[1:]
assert (name, steering) == ("basf2", "steering.py"), sys.argv
most = int(limit[limit.index("-n") + 1]) if limit else None
with open(job_file) as stream:
    job = json.load(stream)
with open(os.path.join(world, "starts"), "a") as stream:
    stream.write("{} {} {}\n".format(job["step"], job["key"], os.path.basename(os.getcwd())))


def read_behaviour():
    step = job["step"]
    for wanted in (f"{step}-{job['key']}", f"{step}-{job['run']}", "any"):
        try:
            with open(os.path.join(world, "behaviour", wanted)) as stream:
                return stream.read().split()
        except FileNotFoundError:
            pass
    return ["fine"]


def write_outputs(events=None, file=None):
    if events is None:
        events = sum(item.get("events", 1) for item in job["inputs"])
        events = events if most is None else min(events, most)
    with open(os.path.join(world, file or f"events/{events}.root"), "rb") as stream:
        content = stream.read()
    seen = hashlib.sha256()
    for item in job["inputs"]:
        with open(item["path"], "rb") as stream:
            seen.update(stream.read())
    with open(steering) as stream:
        seen.update(stream.read().encode())
    seen.update(json.dumps([release, job["seed"], job["global_tags"]]).encode())
    for item in job["outputs"]:
        with open(item["file"], "wb") as stream:
            stream.write(content + "{} {}\n".format(item["fingerprint"], seen.hexdigest()).encode())
    report = {item["file"]: {"events": events} for item in job["outputs"]}
    with open("application.json", "w") as stream:
        json.dump({"events_read": events, "outputs": report}, stream)


what, *arguments = read_behaviour()
if what == "first":  # only for the first attempt at a job; later ones are fine
    what, *arguments = arguments if os.getcwd().endswith("-a1") else ["fine"]
if what == "hang":  # until WORLD/go exists, but not for ever, in case a test failed
    end = time.monotonic() + 120
    while not os.path.exists(os.path.join(world, "go")) and time.monotonic() < end:
        time.sleep(0.01)
elif what == "slow":
    time.sleep(float(arguments[0]))
elif what == "deaf":  # ignores SIGTERM, but not for ever
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    time.sleep(float(arguments[0]))
elif what == "fatal":
    print("[INFO] Starting event processing")
    print("[FATAL] " + " ".join(arguments))
    sys.exit(1)
elif what == "status":
    sys.exit(int(arguments[0]))
elif what == "signal":
    os.kill(os.getpid(), int(arguments[0]))
elif what == "unlog":  # the log is not a file any more
    os.unlink("log")
    os.mkfifo("log")
    write_outputs()
    sys.exit(0)
elif what == "killed":  # as by the machine: it kills the runtime too
    os.killpg(0, signal.SIGKILL)
elif what == "report":
    with open("application.json", "w") as stream:
        stream.write(" ".join(arguments))
    sys.exit(0)
elif what == "lie":  # OUTPUT=FILE...: it reports in place of the runtime that these outputs exist
    with open("started") as stream:
        nonce = stream.read().split()[0]
    result = {
        "schema": "result/1",
        "attempt": os.path.basename(os.getcwd()),
        "nonce": nonce,
        "key": job["key"],
    }
    result.update(failure=None, wall_seconds=1, cpu_seconds=1, events_read=1, outputs=[])
    with open(os.path.join(world, "events", "1.root"), "rb") as stream:
        content = stream.read()
    checksum = "sha256:" + hashlib.sha256(content).hexdigest()
    outputs = []
    for output, file in (argument.split("=") for argument in arguments):
        with open(file, "wb") as stream:
            stream.write(content)
        said = {"output": output, "file": file, "size": len(content), "checksum": checksum, "events": 1}
        result["outputs"].append(said)
        outputs.append(dict(job["outputs"][0], output=output, file=file))
    with open("job.json", "w") as stream:
        json.dump(dict(job, outputs=outputs), stream)
    with open("result.json", "w") as stream:
        json.dump(result, stream)
    os.kill(os.getppid(), signal.SIGKILL)
    sys.exit(0)
elif what == "environment":
    with open(os.path.join(world, "environment"), "w") as stream:
        json.dump(dict(os.environ), stream)
    with (
        # basf2 reads this as a list with blanks between
        open(os.environ["BELLE2_CONDB_METADATA"].split()[0], "rb") as stream,
        open(os.path.join(world, "conditions.sqlite"), "wb") as copy,
    ):
        copy.write(stream.read())

if what == "nothing":
    sys.exit(0)
if what == "counts":  # events read, written and reported: `counts 24 3 null`
    read, written, said = map(json.loads, arguments)
    write_outputs(written)
    with open("application.json", "w") as stream:
        outputs = {item["file"]: {"events": said} for item in job["outputs"]}
        json.dump({"events_read": read, "outputs": outputs}, stream)
    sys.exit(0)
if what == "made":  # `made 400`: this number of events, from WORLD/made/TAG-RUN.root
    write_outputs(int(arguments[0]), "made/{}-{}.root".format(job["global_tags"][0], job["run"]))
    sys.exit(0)
write_outputs()
if what == "empty":
    for output in job["outputs"]:
        os.truncate(output["file"], 0)
elif what == "half":
    for output in job["outputs"]:
        os.truncate(output["file"], 20)
    sys.exit(1)
