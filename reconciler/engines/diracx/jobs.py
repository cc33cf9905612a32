"""A job of DiracX: the files that are sent, its description, and the meaning of the service's states."""

from __future__ import annotations

import hashlib
import json
import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from reconciler.engines.attempt_folders import RESULT, write_result
from reconciler.engines.diracx.settings import read_settings
from reconciler.model.engine import JobHandle, Observation, Sighting
from reconciler.model.states import FailureClass
from renderer.applications.port import JOB
from schemas.policy.site import Site

RUNTIME = Path(__file__).resolve().parents[3] / "renderer" / "runtime" / "job.py"
NAME_LENGTH = 128
GROUP_LENGTH = 32
"""The most characters in the names of a job and of its group; some databases cut longer names without an error."""

LOG, ERRORS = "log", "log.err"
LEFT = (RESULT, "application.json", "event-numbers", "started", LOG, ERRORS)
"""The files that a job leaves besides its outputs."""

_STATES: Mapping[str, Sighting] = {
    **dict.fromkeys(
        ("Submitting", "Received", "Checking", "Scouting", "Staging", "Waiting", "Rescheduled", "Matched"),
        Sighting.PENDING,
    ),
    # Stalled: its heartbeat is missing, but may come back. Completing, Completed: it is ending, but may still fail
    **dict.fromkeys(("Running", "Stalled", "Completing", "Completed"), Sighting.RUNNING),
    **dict.fromkeys(("Done", "Failed", "Killed", "Deleted"), Sighting.ENDED),
}
LIVE = tuple(state for state, sighting in _STATES.items() if sighting is not Sighting.ENDED)
"""The states of jobs that have not ended."""

_SOUND = ("", "Unknown", "Done", "Executed", "Execution Complete", "All events processed")
"""The application states of a Done job that mean success."""

_SITE = "sandbox|stalled|watchdog|cpu limit|wall clock|exception during execution|job wrapper"
_CLASSES = (
    (re.compile("input data|input resolution"), FailureClass.INPUT),
    (re.compile(_SITE), FailureClass.INFRASTRUCTURE),
    (re.compile("reschedul|pilot"), FailureClass.TRANSIENT),
)
"""Patterns in the states of a failed job, with the class of the failure; the first match counts."""


_WORD = "[A-Za-z0-9_.:/+@|-]+"
_ITEM, _TEXT = re.compile(_WORD), re.compile(f"{_WORD}(?: {_WORD})*")

Value = str | int | tuple[str, ...]


class NotSendable(Exception):
    """No job can be made from an attempt; the text says why."""


def read_files(handle: JobHandle, *, mounted: bool) -> tuple[dict[str, bytes], dict[str, Any]]:
    """The files that are sent with a job, by name, and the attempt's job JSON, with the original paths.

    If inputs are not `mounted` on the nodes, DIRAC puts them beside the job: the sent job JSON has names as paths.

    Raises:
        NotSendable: the folder cannot be read, or two inputs have the same name.
    """
    try:
        files = {
            entry.name: Path(entry.path).read_bytes()
            for entry in os.scandir(handle.folder)
            if entry.is_file(follow_symlinks=False)
            and not entry.name.startswith(".")
            and entry.name not in LEFT
        }
        files["job.py"] = RUNTIME.read_bytes()
        # not an argument: others may read those in the job's description
        files["nonce"] = handle.nonce.encode()
        job = json.loads(files[JOB])
        if not mounted:
            names = [os.path.basename(item["path"]) for item in _list_read(job)]
            if len(set(names)) != len(names):
                raise NotSendable("two of its inputs have one name, and DIRAC lays them into one folder")
            sent = {
                key: [{**item, "path": os.path.basename(item["path"])} for item in job[key]]
                for key in ("inputs", "parts")
                if key in job
            }
            files[JOB] = json.dumps({**job, **sent}, sort_keys=True).encode()
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise NotSendable(f"{handle.folder} cannot be sent: {type(error).__name__}: {error}") from error
    return files, job


def describe(handle: JobHandle, job: Mapping[str, Any], sandbox: str, site: Site) -> dict[str, Value]:
    """The description of an attempt's job, whose files are in `sandbox`."""
    settings, python = read_settings(site), site.batch.python
    words = f"job.py {handle.name}"
    named = (
        python != sys.executable
    )  # else the site's file names none, and this process's own is not on the nodes
    described: dict[str, Value] = {
        "JobName": handle.name,
        "JobGroup": name_group(str(job["campaign"])),
        "JobType": settings.job_type,
        "Executable": python if named else "/usr/bin/env",
        "Arguments": words if named else f"python3 {words}",
        "InputSandbox": (sandbox,),
        "OutputSandbox": (*LEFT, *(str(item["file"]) for item in job["outputs"])),
        "StdOutput": LOG,
        "StdError": ERRORS,
        "Site": "ANY",
    }
    if site.batch.minutes is not None:
        described["CPUTime"] = site.batch.minutes * 60
    if not settings.mounted:
        described["InputData"] = tuple(f"LFN:{item['path']}" for item in _list_read(job))
    return described


def _list_read(job: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    """The files that a job reads: its inputs, and the parts beside them."""
    return [*job["inputs"], *job.get("parts", [])]


def name_group(campaign: str) -> str:
    """The name of the group of a campaign's jobs: the campaign's name; if that is too long, cut and with a digest."""
    if len(campaign) <= GROUP_LENGTH:
        return campaign
    return f"{campaign[: GROUP_LENGTH - 9]}-{hashlib.sha256(campaign.encode()).hexdigest()[:8]}"


def observe(row: Mapping[str, Any]) -> Observation:
    """The observation that a job's row gives."""
    words = ("Status", "MinorStatus", "ApplicationStatus")
    status, minor, application = (str(row.get(word) or "") for word in words)
    said = "; ".join(word for word in (minor, application) if word not in {"", "Unknown"})
    reason = f"{status}: {said}" if said else status
    sighting = _STATES.get(status, Sighting.UNKNOWN)
    ended = sighting is Sighting.ENDED
    return Observation(sighting, reason, _classify(status, minor, application) if ended else None)


def withholds(row: Mapping[str, Any]) -> bool:
    """Whether a job is Done although its application did not succeed; then its result is not trusted."""
    return row.get("Status") == "Done" and (row.get("ApplicationStatus") or "") not in _SOUND


def write_failure(handle: JobHandle, message: str) -> None:
    """Writes a failure as the result of a job whose own result cannot be read; an existing result stays.

    Raises:
        OSError: the folder cannot be written.
    """
    if not (handle.folder / RESULT).exists():
        write_result(handle, failure={"class": FailureClass.INFRASTRUCTURE, "message": message})


def _classify(status: str, minor: str, application: str) -> FailureClass | None:
    if status == "Done":
        return None if application in _SOUND else FailureClass.UNCLASSIFIED
    if status != "Failed":
        return FailureClass.TRANSIENT  # killed or deleted, by us or by an operator of the grid
    said = f"{minor} {application}".lower()
    return next((kind for words, kind in _CLASSES if words.search(said)), FailureClass.UNCLASSIFIED)


def write_jdl(values: Mapping[str, Value]) -> str:
    """The job description (JDL); lists are tuples, and an empty one is left out.

    DIRAC's reader knows no escapes: it splits at `;`, `[` and `=`, replaces `%j`, divides lists at `,` and removes the
    blanks in them. So a value with special characters is refused.

    Raises:
        NotSendable: a value is not plain text.
    """
    lines = (f"{name} = {_write(name, value)};" for name, value in values.items() if value != ())
    return f"[{' '.join(lines)}]"


def _write(name: str, value: Value) -> str:
    match value:
        case int():
            return str(value)
        case str():
            return _quote(name, value, _TEXT)
        case _:
            return "{" + ",".join(_quote(name, item, _ITEM) for item in value) + "}"


def _quote(name: str, text: str, allowed: re.Pattern[str]) -> str:
    if not allowed.fullmatch(text):
        takes = "DIRAC takes letters, digits and _ . : / + @ | - there"
        raise NotSendable(f"{name} cannot be {text[:200]!r}: {takes}")
    return f'"{text}"'
