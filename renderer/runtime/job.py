"""Runs one job in the folder of its attempt, and reports in result.json.

    python3 job.py ATTEMPT

The nonce, by which the result is known to be the attempt's own, is in B2PROD_NONCE or in the file `nonce` beside it: what
stands among a process's arguments, everybody on the machine can read. The application gets neither. Needs nothing but Python 3.6 or newer, since it runs where b2prod is not installed. It reads job.json beside it in
the working folder, checks the inputs, runs the application by an argument vector, checks the outputs, and writes
result.json last and by rename: whoever sees that file sees all of it. A folder is used once; a second start ends at
once with status 75 and touches nothing.

b2prod hands down an open, locked file (its number is in B2PROD_LOCK): as long as this process or the application
lives, the lock is held, and nobody takes the attempt for dead.
"""

import hashlib
import json
import os
import re
import resource
import signal
import stat
import subprocess
import sys
import time
import zlib
from typing import Any, Callable, Dict, List, Optional, Tuple

USED = 75
ALWAYS = ("PATH", "HOME", "LANG", "TMPDIR")
CLASSES = ("input", "permanent", "infrastructure", "transient", "unclassified")
CHECKSUMS = ("md5", "sha1", "sha256", "sha512")
MOST_EVENTS = 10**12
REPORT_SIZE = 1 << 24
RECORD_SIZE = 1 << 18
EVENT_NUMBERS = "event-numbers"
KINDS = ("events", "event list", "histograms")
MESSAGE_LENGTH = 2000
HOST_LENGTH = 255
BLOCK = 1 << 20

Seen = Tuple[int, int]
"""Size of a file in bytes, and when it was last changed, in nanoseconds since 1970."""

Start = Callable[[List[str], Dict[str, str], List[int]], Any]
"""Starts an application, by its command, its environment and the files that stay open; returns its process."""

PART = re.compile(r"(.+\.sroot)(?:-([1-9][0-9]*))?(\.gz)?$")
"""Raw data in the DAQ's format: X.sroot, which basf2 continues by X.sroot-1, X.sroot-2 …"""
SHORT_SUMS = {"adler32": (zlib.adler32, 1), "crc32": (zlib.crc32, 0)}
"""Checksums of 32 bits, and what each begins with."""


class Failure(Exception):
    """Why the job failed: its class (input, infrastructure, transient, permanent, unclassified) and a text.

    `scope` is `step` where all jobs of the step would fail so.
    """

    def __init__(self, kind: str, message: str, scope: Optional[str] = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.scope = scope


def read_json(file: str) -> Any:
    with open(file, encoding="utf-8") as stream:
        return json.load(stream)


def sum_content(file: str, algorithm: str = "sha256") -> str:
    """The checksum of a file's bytes with its algorithm, as in `adler32:0a1b2c3d`."""
    with open(file, "rb") as stream:
        blocks = iter(lambda: stream.read(BLOCK), b"")
        if algorithm in SHORT_SUMS:
            add, value = SHORT_SUMS[algorithm]
            for block in blocks:
                value = add(block, value)
            return "{}:{:08x}".format(algorithm, value)
        found = hashlib.new(algorithm)
        for block in blocks:
            found.update(block)
        return "{}:{}".format(algorithm, found.hexdigest())


def look_at(path: str) -> Seen:
    try:
        found = os.stat(path)
    except OSError as error:
        raise Failure("input", "{}: {}".format(path, error.strerror))
    if not stat.S_ISREG(found.st_mode):
        raise Failure("input", "{} is not a plain file".format(path))
    return found.st_size, found.st_mtime_ns


def check_checksum(path: str, registered: str) -> None:
    algorithm, _, value = registered.partition(":")
    if algorithm not in SHORT_SUMS and algorithm not in CHECKSUMS:
        known = ", ".join(sorted((*SHORT_SUMS, *CHECKSUMS)))
        text = "{} is registered with the checksum {}; known here are {}: register it again"
        raise Failure("input", text.format(path, registered, known))
    try:
        found = sum_content(path, algorithm)
    except OSError as error:
        raise Failure("infrastructure", "{} cannot be read: {}".format(path, error.strerror))
    except ValueError as error:  # this machine's policy forbids the algorithm
        raise Failure("infrastructure", "{} of {} cannot be told here: {}".format(algorithm, path, error))
    if algorithm in SHORT_SUMS:
        value = value.rjust(8, "0")  # leading zeros get lost in lists
    if found != "{}:{}".format(algorithm, value.lower()):
        text = "{} has the checksum {}, registered was {}: it is not the file that was registered"
        raise Failure("input", text.format(path, found, registered))


def check_inputs(job: Dict[str, Any]) -> Dict[str, Seen]:
    """Ensures that the inputs are those that were registered; what each looked like while that was so."""
    seen = {}
    for item in [*job["inputs"], *job.get("parts", [])]:
        path = item["path"]
        seen[path] = look_at(path)
        if seen[path][0] != item["size"]:
            text = "{} has {} bytes, registered were {}"
            raise Failure("input", text.format(path, seen[path][0], item["size"]))
        if job.get("verify") != "size":
            check_checksum(path, item["checksum"])
    check_unchanged(seen)
    return seen


def check_parts(job: Dict[str, Any]) -> None:
    """Ensures that basf2 finds no further part beside a set of raw data: it would read it, and nobody registered it."""
    read = {item["path"] for item in job["inputs"]} | {item["path"] for item in job.get("parts", [])}
    for path in sorted(read):
        found = PART.match(path)
        if found is None:
            continue
        after = "{}-{}{}".format(found.group(1), int(found.group(2) or 0) + 1, found.group(3) or "")
        if after not in read and os.path.exists(after):
            text = "{} lies beside {}, so that basf2 reads it too, and is not registered: import it, or move it away"
            raise Failure("input", text.format(after, path))


def check_unchanged(seen: Dict[str, Seen]) -> None:
    """Ensures that the inputs are as they were: what was read while a file changed is neither the old nor the new one."""
    for path, before in seen.items():
        after = look_at(path)
        if after != before:
            text = "{} changed while the job read it: it had {}, and now has {}"
            raise Failure("input", text.format(path, tell_look(before), tell_look(after)))


def tell_look(seen: Seen) -> str:
    size, nanoseconds = seen
    seconds, rest = divmod(nanoseconds, 10**9)
    clock = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return "{} bytes of {}.{:03d}Z".format(size, clock, rest // 10**6)


def check_testing_payloads(job: Dict[str, Any]) -> None:
    """What is used must be what was approved: each payload file has the sum that its snapshot states."""
    for local in job.get("testing_payloads", []):
        folder = os.path.dirname(local["database"])
        for name, checksum in local["payloads"].items():
            file = os.path.join(folder, name)
            try:
                with open(file, "rb") as stream:
                    found = hashlib.md5(stream.read()).hexdigest()  # noqa: S324 -- the sum that basf2 uses
            except OSError as error:
                raise Failure("input", "{}: {}".format(file, error.strerror))
            if found != checksum:
                raise Failure("input", "{} has MD5 sum {}, not {}".format(file, found, checksum))


def check_payloads(job: Dict[str, Any]) -> None:
    """Releases before 04 take another payload, and say nothing, where a file is missing."""
    if "payload_folder" not in job:
        return
    with open(job["local_conditions"], encoding="utf-8") as stream:
        rows = [line.split() for line in stream]
    for path, revision, _ in rows:
        file = "dbstore_{}_rev_{}.root".format(path.rpartition("/")[2], revision)
        if not os.path.isfile(os.path.join(job["payload_folder"], file)):
            text = "{} is not in {}, and the run is to be made with it"
            raise Failure("infrastructure", text.format(file, job["payload_folder"]))


def prepare_script(job: Dict[str, Any]) -> List[str]:
    """Ensures that the script is the one that was approved, and that it can be started; its arguments."""
    if "script" not in job:
        return []
    file, checksum = job["script"]["file"], job["script"]["checksum"]
    try:
        found = sum_content(file)
        os.chmod(file, 0o500)
    except OSError as error:
        raise Failure("infrastructure", "{}: {}".format(file, error.strerror))
    if found != checksum:
        raise Failure("infrastructure", "{} is not the script that was approved".format(file))
    return [word for one in job["script"]["arguments"] for word in expand_word(one, job)]


def expand_word(word: str, job: Dict[str, Any]) -> List[str]:
    """The words that one of a script's arguments stands for; most stand for themselves."""
    if word == "@inputs":
        return [item["path"] for item in job["inputs"]]
    if word.startswith("@output:"):
        output = word[len("@output:") :]
        wanted = [item["file"] for item in job["outputs"] if item["output"] == output]
        return wanted or [
            "not-wanted-{}".format(output)
        ]  # it was made before; what stands there is cleared away
    places = {"@job": "job.json", "@experiment": str(job["experiment"]), "@run": str(job["run"])}
    return [places.get(word, word)]


def start_process(command: List[str], environment: Dict[str, str], kept: List[int]) -> Any:
    return subprocess.Popen(command, stdin=subprocess.DEVNULL, env=environment, pass_fds=kept, close_fds=True)


def run_application(job: Dict[str, Any], start: Start) -> int:
    command = [sys.executable if word == "@python" else word for word in job["command"]]
    command += prepare_script(job)
    environment = {name: os.environ[name] for name in (*ALWAYS, *job["environment"]) if name in os.environ}
    if "conditions" in job:
        # Relative to this folder, in which the application starts: basf2 takes what is behind a blank for another file.
        environment["BELLE2_CONDB_METADATA"] = job["conditions"]
    if "most_events" in job:
        environment["B2PROD_MOST_EVENTS"] = str(job["most_events"])
    lock = os.environ.get("B2PROD_LOCK")
    kept = [int(lock)] if lock else []
    try:
        process = start(command, environment, kept)
    except OSError as error:
        raise Failure("infrastructure", "{} cannot be started: {}".format(command[0], error.strerror))
    signal.signal(signal.SIGTERM, lambda _number, _frame: process.terminate())
    status: int = process.wait()
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    return status


def read_report() -> Any:
    """What the application says of itself, if it says anything."""
    if not os.path.lexists("application.json"):
        return {}
    if not os.path.isfile("application.json") or os.stat("application.json").st_size > REPORT_SIZE:
        raise Failure("infrastructure", "the application's report is not a file, or too large")
    report = read_json("application.json")
    if not isinstance(report, dict):
        raise Failure("infrastructure", "the application's report is not a JSON object")
    return report


def check_count(count: Any) -> Optional[int]:
    """A number of events as the application says it; None where it says none."""
    if count is None or (type(count) is int and 0 <= count <= MOST_EVENTS):
        return count
    raise Failure("infrastructure", "the report has {:.50} events".format(repr(count)))


def check_outputs(job: Dict[str, Any], report: Dict[str, Any]) -> List[Dict[str, Any]]:
    outputs = []
    for item in job["outputs"]:
        file = item["file"]
        if not os.path.isfile(file):
            raise Failure("unclassified", "the application ended well but did not write {}".format(file))
        if os.stat(file).st_size == 0:
            raise Failure("unclassified", "the application ended well, but {} is empty".format(file))
        said = report.get("outputs", {}).get(file, {})
        output = {
            "output": item["output"],
            "file": file,
            "size": os.stat(file).st_size,
            "checksum": sum_content(file),
            "events": check_count(said.get("events")),
        }
        if said.get("rows") is not None:
            output["rows"] = check_count(said["rows"])
        if said.get("kind") is not None:
            if said["kind"] not in KINDS:
                raise Failure("infrastructure", "the report has an output of no kind that is known")
            output["kind"] = said["kind"]
        outputs.append(output)
    return outputs


def check_record(report: Dict[str, Any]) -> Dict[str, Any]:
    """What else the application wants to be known of the unit, and the record of the events that it read."""
    found = {}
    if report.get("record"):
        if not isinstance(report["record"], dict) or len(json.dumps(report["record"])) > RECORD_SIZE:
            raise Failure("infrastructure", "the application's record is not an object, or too large")
        found["record"] = report["record"]
    if os.path.isfile(EVENT_NUMBERS):
        found["event_numbers"] = {
            "size": os.stat(EVENT_NUMBERS).st_size,
            "checksum": sum_content(EVENT_NUMBERS),
        }
    return found


def run_job(job: Dict[str, Any], start: Start) -> Dict[str, Any]:
    """What the result says of the job: outputs, events read (None: not said), record."""
    check_parts(job)
    seen = check_inputs(job)
    check_testing_payloads(job)
    check_payloads(job)
    status = run_application(job, start)
    check_unchanged(seen)
    report = read_report()
    if report.get("failure"):
        kind, message = report["failure"]["class"], report["failure"]["message"]
        scope = report["failure"].get("scope")
        if kind not in CLASSES or not isinstance(message, str) or scope not in (None, "step"):
            raise Failure("infrastructure", "the application's report has a failure that is none")
        raise Failure(kind, message, scope)
    if status < 0:
        raise Failure("transient", "the application was ended by signal {}".format(-status))
    if status > 0:
        raise Failure("unclassified", "the application ended with status {}".format(status))
    return {
        "outputs": check_outputs(job, report),
        "events_read": check_count(report.get("events_read")),
        **check_record(report),
    }


def describe(kind: str, message: str, scope: Optional[str] = None) -> Dict[str, str]:
    """A failure as the result has it: of a length, and of characters that everybody can write."""
    plain = message.encode("utf-8", "replace").decode("utf-8").replace("\0", "?")
    described = {"class": kind, "message": plain[:MESSAGE_LENGTH]}
    if scope is not None:
        described["scope"] = scope
    return described


def measure_usage() -> Dict[str, Any]:
    """What the application used: CPU time, and the memory of its largest process in bytes; and where it ran."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return {
        "cpu_seconds": round(usage.ru_utime + usage.ru_stime, 3),
        "peak_memory": usage.ru_maxrss * 1024,  # Linux counts in kilobytes
        "host": os.uname().nodename[:HOST_LENGTH],
    }


def write_result(result: Dict[str, Any]) -> None:
    with open("result.json.part", "w", encoding="utf-8") as stream:
        json.dump(result, stream, sort_keys=True)
        stream.flush()
        os.fsync(stream.fileno())
    os.rename("result.json.part", "result.json")


def take_nonce() -> str:
    """The nonce, which nothing that is started from here finds in the environment or in the folder."""
    nonce = os.environ.pop("B2PROD_NONCE", "")
    try:
        with open("nonce", encoding="ascii") as stream:
            nonce = nonce or stream.read().strip()
        os.unlink("nonce")
    except FileNotFoundError:
        pass
    return nonce


def main(attempt: str, start: Start = start_process) -> int:
    try:
        marker = os.open("started", os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600)
    except FileExistsError:
        print("this folder was used by an earlier start of the job", file=sys.stderr)
        return USED
    nonce = take_nonce()
    os.write(marker, "{} {}\n".format(nonce, os.getpid()).encode())
    os.close(marker)
    began = time.time()
    result: Dict[str, Any] = {"schema": "result/1", "attempt": attempt, "nonce": nonce}
    result.update(outputs=[], failure=None)
    try:
        job = read_json("job.json")
        result["key"] = job["key"]
        result.update(run_job(job, start))
    except Failure as failure:
        result["failure"] = describe(failure.kind, str(failure), failure.scope)
    except (OSError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        # also a strange report
        result["failure"] = describe("infrastructure", "{}: {}".format(type(error).__name__, error))
    result["wall_seconds"] = max(0.0, round(time.time() - began, 3))  # clocks are set back
    result.update(measure_usage())
    write_result(result)
    return 1 if result["failure"] else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
