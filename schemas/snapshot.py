"""Snapshots of global tags: `productions/global-tags/<name>.iov`, one interval of validity (IoV) a line.

A header of `# key: value` lines, then sorted lines `payload revision checksum firstExp,firstRun,finalExp,finalRun`;
both ends of an IoV are included, -1 means unlimited (basf2 `framework/scripts/conditions_db/iov.py`).
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from schemas.finding import Finding, Place
from schemas.runs import run_key

FIRST_LINE = "# b2prod snapshot/1"
USABLE_STATES = ("TESTING", "VALIDATED", "PUBLISHED", "RUNNING")
"""The states in which basf2 processes with a tag (`conditions.expert_settings(usable_globaltag_states=…)`)."""

FOREVER = 1 << 62
_LINE = re.compile(
    r"(?P<payload>[A-Za-z0-9_+:.-]+) (?P<revision>[0-9a-f]+) (?P<checksum>[0-9a-f]{32}) "
    r"(?P<fe>[0-9]+),(?P<fr>[0-9]+),(?P<le>-1|[0-9]+),(?P<lr>-1|[0-9]+)",
    re.ASCII,
)


@dataclass(frozen=True, slots=True, order=True)
class Iov:
    """A payload and the run keys it holds for: `first` included, `end` not."""

    payload: str
    revision: str
    checksum: str
    first: int
    end: int


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The frozen list of a tag's IoVs. `digest` is the sha256 of its lines."""

    name: str
    state: str
    digest: str
    iovs: tuple[Iov, ...]


def read_snapshot(file: str, name: str, content: bytes) -> tuple[Snapshot | None, tuple[Finding, ...]]:
    """The snapshot of the tag `name` in a file, or what is wrong with the file."""
    lines = content.decode("utf-8", "replace").splitlines()
    header = dict(line[2:].split(": ", 1) for line in lines[1:] if line.startswith("# ") and ": " in line)
    findings: list[Finding] = []
    if not lines or lines[0] != FIRST_LINE:
        findings.append(
            Finding(
                Place(file), "BP502", f"this is no snapshot of {name}", f"its first line is `{FIRST_LINE}`"
            )
        )
        return None, tuple(findings)
    if header.get("name") != name:
        found = f"the file {name}.iov holds the tag {header.get('name')!r}"
        findings.append(Finding(Place(file), "BP502", found, "name the file after the tag"))
    state = header.get("state", "")
    if state not in USABLE_STATES:
        hint = "freeze the tag, or choose another"
        findings.append(
            Finding(Place(file), "BP502", f"{name} is in state {state!r}, which no job may use", hint)
        )
    body = [(number, line) for number, line in enumerate(lines, 1) if not line.startswith("#")]
    iovs: list[Iov] = []
    for number, line in body:
        match = _LINE.fullmatch(line)
        iov = match and _read_iov(match)
        if not iov:
            hint = "a line is `payload revision md5 firstExp,firstRun,finalExp,finalRun`"
            findings.append(Finding(Place(file, number), "BP502", f"not an IoV: {line[:80]!r}", hint))
        else:
            iovs.append(iov)
    listed = [line for _, line in body]
    if listed != sorted(listed):
        findings.append(
            Finding(Place(file), "BP502", "the IoVs are not sorted", "write the snapshot with the tool")
        )
    found_digest = hashlib.sha256("\n".join(listed).encode()).hexdigest()
    if header.get("digest") != found_digest:
        hint = f"fetch the tag again; do not edit snapshots (the lines have digest {found_digest})"
        findings.append(Finding(Place(file), "BP502", "the lines do not match the header's digest", hint))
    if findings:
        return None, tuple(findings)
    return Snapshot(name, state, found_digest, tuple(iovs)), ()


def _read_iov(match: re.Match[str]) -> Iov | None:
    first_exp, first_run, last_exp, last_run = (int(match[key]) for key in ("fe", "fr", "le", "lr"))
    if last_exp < 0:
        end = FOREVER if last_run < 0 else -1
    elif last_run < 0:
        end = run_key(last_exp + 1, 0)
    else:
        end = run_key(last_exp, last_run) + 1
    first = run_key(first_exp, first_run)
    return Iov(match["payload"], match["revision"], match["checksum"], first, end) if first < end else None
