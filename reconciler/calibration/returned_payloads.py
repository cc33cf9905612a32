"""Reads what a calibration gives back: `caf_outputdb_results/CALIBRATION/database.txt`, with payload files beside each.

The folder is written by others: only plain files are read, each up to a size, and no name from a file becomes a path.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from reconciler.conditions.database_file import name_file, parse_entry
from reconciler.outside.errors import foreseeing
from reconciler.outside.plain_files import NotPlain, open_plain, read_plain
from schemas.conditions.iov import FOREVER, Interval, merge_intervals, touches_any
from schemas.conditions.local_database import find_misreadings, number_lines
from schemas.conditions.snapshot import LOCAL, Iov, Snapshot, freeze_tag
from schemas.files.text import decode_text
from schemas.findings.finding import MOST, Finding, Place, limit_findings
from schemas.manifest.runs import format_runs

RESULTS = "caf_outputdb_results"
"""The folder in which `b2caf-prompt-run` puts the databases of all calibrations."""
DATABASE = "database.txt"

LARGEST_TEXT = 16 * 1024**2
"""The largest size in bytes of a `database.txt`."""
LARGEST_PAYLOAD = 2 * 1024**3
"""The largest size in bytes of a payload file; the largest on the server are a tenth of it."""
_BLOCK = 1024**2
_SHOWN = 10


@dataclass(frozen=True, slots=True)
class ReturnedPayload:
    """A line of a returned database: the IoV with its checksum, the place of the line, and the payload's file."""

    iov: Iov
    place: Place
    file: Path


@dataclass(frozen=True, slots=True)
class ReturnedPayloads:
    """All lines, in the order in which they count. `notes` are what a person should know, and findings what must be corrected.

    Findings are sorted; with findings there may be lines without a checksum.
    """

    payloads: tuple[ReturnedPayload, ...]
    findings: tuple[Finding, ...]
    notes: tuple[str, ...] = ()

    def freeze(self, name: str) -> Snapshot:
        """The lines as the snapshot of a local database."""
        return _freeze(name, self.payloads)


def read_returned(folder: Path, wanted: Sequence[str], runs: Sequence[int], release: str) -> ReturnedPayloads:
    """What is in a folder, held against the names of the `wanted` payloads and the run keys `runs` that were handed over.

    `folder` has `caf_outputdb_results`, or is it. `release` is the one whose jobs are to read the payloads.

    Raises:
        SourceUnavailable: the folder cannot be read.
    """
    findings: list[Finding] = []
    payloads: list[ReturnedPayload] = []
    with foreseeing(f"{folder} cannot be read"):
        top = folder / RESULTS if (folder / RESULTS).is_dir() else folder
        names = sorted(os.listdir(top))
    databases = [name for name in names if os.path.lexists(top / name / DATABASE)]
    if not databases:
        hint = f"give the folder in which b2caf-prompt-run has written {RESULTS}"
        findings.append(Finding(Place(str(top)), "BP526", f"no calibration has a {DATABASE} here", hint))
    sums: dict[Path, str | None] = {}
    for name in databases:
        for one in _read_database(top / name, findings, len(payloads)):
            if one.file not in sums:
                sums[one.file] = _sum_payload(one, findings)
            payloads.append(replace(one, iov=replace(one.iov, checksum=sums[one.file] or "")))
    findings += _check_names(top, payloads, wanted) if databases else ()
    findings += _check_clashes(payloads)
    findings += _check_coverage(payloads, wanted, runs)
    findings += _check_release(payloads, release)
    return ReturnedPayloads(tuple(payloads), limit_findings(findings), tuple(_tell_bounds(payloads, runs)))


def _read_database(folder: Path, findings: list[Finding], before: int) -> Iterator[ReturnedPayload]:
    """Yields the lines of a calibration; the first counts as the line after `before` others."""
    file = folder / DATABASE
    if folder.is_symlink():
        message = f"{folder.name} is a link, and links are not followed"
        findings.append(Finding(Place(str(file)), "BP526", message, "give the folder itself"))
        return
    try:
        text = decode_text(read_plain(file, LARGEST_TEXT))
    except (NotPlain, ValueError, OSError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        hint = f"give the {DATABASE} that the CAF wrote"
        findings.append(Finding(Place(str(file)), "BP526", f"it cannot be read: {reason}", hint))
        return
    wrong = count = 0
    for number, raw in enumerate(text.splitlines(), 1):
        place = Place(str(file), number)
        try:
            entry = parse_entry(raw, before + number)
        except ValueError as error:
            findings.append(Finding(place, "BP526", str(error)))
            wrong += 1
            if wrong > MOST:
                return
            continue
        if entry is not None:
            count += 1
            yield ReturnedPayload(entry, place, folder / name_file(entry))
    if not count and not wrong:
        findings.append(Finding(Place(str(file)), "BP526", "there is no payload in it"))


def _sum_payload(one: ReturnedPayload, findings: list[Finding]) -> str | None:
    """The md5 sum of a payload's file; None with a finding, if it is not what the line names."""
    reason = hint = ""
    try:
        with open_plain(one.file) as stream:
            size = os.fstat(stream.fileno()).st_size
            if size > LARGEST_PAYLOAD:
                reason = f"{one.file.name} has {size:,} bytes, and a payload has at most {LARGEST_PAYLOAD:,}"
            elif not size:
                reason = f"{one.file.name} is empty"
            else:
                digest = hashlib.md5(usedforsecurity=False)
                while part := stream.read(_BLOCK):
                    digest.update(part)
                checksum = digest.hexdigest()
                if one.iov.revision.isdecimal() or checksum.startswith(one.iov.revision):
                    return checksum
                begin = one.iov.revision
                reason = f"{one.file.name} has the md5 {checksum}, which does not begin with {begin}"
    except NotPlain as error:
        reason, hint = str(error), "give the file itself"
    except OSError as error:
        reason = f"{one.file.name} cannot be read: {error.strerror}"
    hint = hint or "copy the calibration's output again, completely"
    findings.append(Finding(one.place, "BP514", reason, hint))
    return None


def _check_names(
    top: Path, payloads: Sequence[ReturnedPayload], wanted: Collection[str]
) -> Iterator[Finding]:
    first: dict[str, Place] = {}
    for one in payloads:
        first.setdefault(one.iov.payload, one.place)
    for name in sorted(set(wanted) - first.keys()):
        hint = "return it too, or take it from the stage's `payloads`"
        yield Finding(Place(str(top)), "BP526", f"{name} was asked for and is not returned", hint)
    for name in sorted(first.keys() - set(wanted)):
        hint = "leave it out, or add it to the stage's `payloads`"
        yield Finding(first[name], "BP526", f"{name} was not asked for", hint)


def _check_clashes(payloads: Iterable[ReturnedPayload]) -> Iterator[Finding]:
    """Of two calibrations it is not known whose line is the later one, and their payload files go into one folder."""
    files: dict[tuple[str, str], ReturnedPayload] = {}
    groups: dict[str, list[ReturnedPayload]] = {}
    for one in payloads:
        other = files.setdefault((one.iov.payload, one.iov.revision), one)
        if other.iov.checksum != one.iov.checksum and "" not in (other.iov.checksum, one.iov.checksum):
            message = (
                f"the revision {one.iov.revision} of {one.iov.payload} has another content at {other.place}"
            )
            yield Finding(one.place, "BP526", message, "give the two contents two revisions")
        groups.setdefault(one.iov.payload, []).append(one)
    for group in groups.values():
        if len({one.file.parent for one in group}) > 1:
            yield from _check_overlaps(sorted(group, key=lambda one: (one.iov.first, one.iov.end)))


def _check_overlaps(ordered: Sequence[ReturnedPayload]) -> Iterator[Finding]:
    """Findings on lines of one payload, sorted by their first run, that overlap with those of another calibration."""
    furthest: dict[Path, ReturnedPayload] = {}
    for one in ordered:
        for folder, other in furthest.items():
            overlaps = folder != one.file.parent and other.iov.end > one.iov.first
            if overlaps and other.iov.checksum != one.iov.checksum:
                message = (
                    f"{one.iov.payload} is also returned by {folder.name}, for the same runs: {other.place}"
                )
                yield Finding(one.place, "BP526", message, "let one calibration return it")
        known = furthest.get(one.file.parent)
        if known is None or known.iov.end < one.iov.end:
            furthest[one.file.parent] = one


def _check_coverage(
    payloads: Sequence[ReturnedPayload], wanted: Collection[str], runs: Sequence[int]
) -> Iterator[Finding]:
    for name in sorted(set(wanted)):
        mine = [one for one in payloads if one.iov.payload == name]
        covered = merge_intervals(Interval(one.iov.first, one.iov.end) for one in mine)
        bare = [run for run in runs if not touches_any(run, run + 1, covered)]
        if mine and bare:
            message = f"{name} has no IoV for {format_runs(bare, _SHOWN)}"
            hint = "these runs were handed over: return IoVs that hold them"
            yield Finding(mine[0].place, "BP503", message, hint)


def _check_release(payloads: Sequence[ReturnedPayload], release: str) -> Iterator[Finding]:
    """Findings on lines that the release reads in another way than they are meant."""
    places = {one.iov.line: one.place for one in payloads}
    lines = {(one.iov.payload, one.iov.revision, one.iov.first, one.iov.end): one.place for one in payloads}
    for wrong in find_misreadings(_freeze("returned", payloads), release):
        iov = wrong.iov
        place = places.get(iov.line) or lines[iov.payload, iov.revision, iov.first, iov.end]
        yield Finding(place, "BP518", wrong.reason, wrong.hint.partition(", and say `b2prod gt pull")[0])


def _tell_bounds(payloads: Iterable[ReturnedPayload], runs: Sequence[int]) -> Iterator[str]:
    """Yields where payloads are not as open-ended, or as narrow, as is usual."""
    groups: dict[str, list[Interval]] = {}
    for one in payloads:
        groups.setdefault(one.iov.payload, []).append(Interval(one.iov.first, one.iov.end))
    for name, intervals in sorted(groups.items()):
        whole = merge_intervals(intervals)
        if whole[-1].end < FOREVER:
            yield f"{name} ends: {whole[-1].describe()}; runs after that get the payload of the global tag"
        if runs and whole[0].first < min(runs):
            yield f"{name} begins before the first run that was handed over: {whole[0].describe()}"


def _freeze(name: str, payloads: Iterable[ReturnedPayload]) -> Snapshot:
    return freeze_tag(name, LOCAL, number_lines([one.iov for one in payloads]), source=RESULTS)
