"""Copies outputs to tape, and reads the copies back: by the site's checksum command, or by a sample that comes from tape."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path

from reconciler.execution.operating.tape.archived_files import ArchivedFile, ArchivedOutput
from reconciler.execution.operating.tape.commands import (
    LOST,
    TAPE,
    ask_archive,
    ask_checksums,
)
from reconciler.execution.operating.tape.scratch import Scratch
from reconciler.ledger.schema.rows import divide
from reconciler.outside.checksums import digest_file
from schemas.policy.site import Site

CALLS = 50
"""Largest number of calls of a command for one operation in one turn."""


@dataclass
class Findings:
    """What a turn found out of the outputs of an operation: those that are done, and those that are refused, with the reason.

    `pending` is what the others wait for; empty if nothing is known to be awaited.
    """

    done: list[int] = field(default_factory=list)
    refused: dict[int, str] = field(default_factory=dict)
    pending: str = ""


def archive_outputs(
    site: Site,
    some: Sequence[ArchivedOutput],
    sample: int | None,
    operation: int,
    seconds: float,
    prolong: Callable[[], None],
    scratch: Scratch,
) -> Findings:
    """Asks for copies on tape of outputs, and reads back those that are there; it may be called again after any end.

    Raises:
        SourceUnavailable: a command failed; what it was to do is unknown.
    """
    found = Findings()
    assert site.archive is not None
    paths = {path: (one, file) for one in some for path, file in one.list_paths()}
    taped: set[str] = set()
    waiting = 0
    for calls, part in enumerate(divide(paths, site.archive.batch)):
        if calls >= CALLS or waiting >= site.archive.in_flight:
            break
        prolong()
        said = ask_archive(site.archive, part, seconds)
        taped |= {path for path, state in said.items() if state == TAPE}
        for path, state in said.items():
            if state == LOST:
                found.refused[paths[path][0].number] = f"{path} is lost, says the site's archive command"
        waiting += sum(said.get(path) not in (TAPE, LOST) for path in part)
    whole = [
        one
        for one in some
        if one.number not in found.refused and all(path in taped for path, _ in one.list_paths())
    ]
    away = len(some) - len(whole) - len(found.refused)
    if away:
        found.pending = f"{away:,} outputs are not on tape yet"
    if site.checksum is not None:
        _compare(site, whole, seconds, prolong, found)
    elif sample is not None and not away:
        _compare_sample(whole, sample, operation, scratch, found)
    elif not away:
        found.pending = (
            "nothing tells how the copies on tape are read back: `checksum` of the site, or `sample`"
        )
    return found


def _compare(
    site: Site,
    some: Sequence[ArchivedOutput],
    seconds: float,
    prolong: Callable[[], None],
    found: Findings,
) -> None:
    """Compares the checksums of copies on tape with what was published."""
    assert site.checksum is not None
    paths = {path: file for one in some for path, file in one.list_paths()}
    said: dict[str, str] = {}
    for calls, part in enumerate(divide(paths, site.checksum.batch)):
        if calls >= CALLS:
            break
        prolong()
        said |= ask_checksums(site.checksum, part, seconds)
    for one in some:
        verdicts = [_judge(path, file, said.get(path)) for path, file in one.list_paths()]
        wrong = [told for told in verdicts if told]
        if wrong:
            found.refused[one.number] = wrong[0]
        elif None in verdicts:
            found.pending = f"the checksum command says nothing of {next(p for p, _ in one.list_paths())}"
        else:
            found.done.append(one.number)


def _judge(path: str, file: ArchivedFile, said: str | None) -> str | None:
    """Empty if the copy on tape is what was published; None if that is not known; else what is wrong.

    Where tape knows another algorithm than the ledger, the copy on disk is read: if it is as published, it tells the other checksum.
    """
    if said is None:
        return None
    algorithm = said.partition(":")[0]
    if file.checksum.partition(":")[0] == algorithm:
        return (
            ""
            if said == file.checksum
            else f"the copy on tape of {path} has {said}, published was {file.checksum}"
        )
    try:
        if digest_file(Path(path), file.checksum.partition(":")[0]) != file.checksum:
            return f"{path} on disk is not what was published"
        own = digest_file(Path(path), algorithm)
    except OSError as error:
        return f"{path} cannot be read on disk: {error.strerror}"
    return "" if own == said else f"the copy on tape of {path} has {said}, the one on disk {own}"


def choose_sample(paths: Mapping[str, ArchivedFile], percent: int, operation: int) -> list[str]:
    """The files that are read back: so many percent, rounded up, in an order that only the operation's number decides."""
    order = sorted(paths, key=lambda path: sha256(f"{operation} {path}".encode()).digest())
    return sorted(order[: -(-len(order) * percent // 100)])


def _compare_sample(
    some: Sequence[ArchivedOutput], percent: int, operation: int, scratch: Scratch, found: Findings
) -> None:
    """Brings a sample from tape; all outputs are done, or none is."""
    owners = {path: (one, file) for one in some for path, file in one.list_paths()}
    chosen = choose_sample({path: file for path, (_, file) in owners.items()}, percent, operation)
    came = scratch.bring([owners[path] for path in chosen])
    if came.wrong:
        told = f"of the sample that was read back, {next(iter(came.wrong.values()))}"
        found.refused |= dict.fromkeys((one.number for one in some), told)
    elif came.pending:
        found.pending = came.pending
    else:
        found.done += [one.number for one in some]
    if not came.pending or came.wrong:
        scratch.clear([owners[path] for path in chosen])
