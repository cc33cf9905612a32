"""Checks whether published files still exist unchanged: verify."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import rich_click as click
from sqlalchemy import Connection

from ci.approvals.root import list_pinned_storages
from ci.changes.campaign_faults import load_produced
from ci.changes.project import NOTHING, Project, pass_project
from ci.cli.console import count_things, print_data, print_json, progress, say
from ci.cli.exits import Exit, WrongUse
from ci.cli.options import processes_option, writes_json
from ci.reports.production import tell_taken_over
from reconciler.datasets.places import check_storage_here
from reconciler.datasets.verification.counting import find_miscounts
from reconciler.datasets.verification.file_check import Depth, FileFlaw, Published
from reconciler.datasets.verification.file_pool import Look, look
from reconciler.datasets.verification.rounds import Round, begin_round, list_files_of, list_published
from reconciler.datasets.verification.unknown_files import find_unknown_files
from reconciler.ledger.reading.observation import list_campaigns
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.transaction import now
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.production import read_production

_EVERY = 2.0
"""The seconds between two records of the progress; after an interruption, at most this time is repeated."""


@dataclass(slots=True)
class _Result:
    """The result of one campaign's verification."""

    campaign: str
    begun: str
    earlier: int
    files: int = 0
    bytes: int = 0
    seconds: float = 0.0
    troubles: list[FileFlaw] = field(default_factory=list)
    unavailable: str | None = None

    def data(self) -> dict[str, Any]:
        """The result as JSON data."""
        rate = {"bytes_per_second": round(self.bytes / self.seconds)} if self.seconds else {}
        return {
            "campaign": self.campaign,
            "begun": self.begun,
            "complete": self.unavailable is None,
            "examined_earlier": self.earlier,
            "files": self.files,
            "bytes": self.bytes,
            "seconds": round(self.seconds, 3),
            **rate,
            "troubles": [{"trouble": flaw.trouble.value, "text": flaw.text} for flaw in self.troubles],
            **({"unavailable": self.unavailable} if self.unavailable else {}),
        }


@click.command()
@click.argument("names", nargs=-1)
@click.option("--again", is_flag=True, help="Begin a new round, even if the last one did not end.")
@processes_option
@click.option("--strangers", is_flag=True, help="List instead the files that the ledger does not know.")
@writes_json
@pass_project
def verify(
    project: Project,
    names: tuple[str, ...],
    again: bool,
    processes: int | None,
    strangers: bool,
    as_json: bool,
) -> int:
    """Read every published file, and check its size, checksum, events and metadata.

    The numbers of events that were read, kept, registered with the inputs and recorded for the run are compared. Of a campaign
    that is named, the files are read too that it took over from other campaigns.

    If the last round did not end, this continues it. The next plan with --refresh makes again what is gone or changed; if
    something was published wrong, a person decides.
    """
    if strangers:
        if names or again or processes:
            raise WrongUse("--strangers looks at all storages, and takes neither names nor other options")
        return _list_unknown_files(project, as_json=as_json)
    state = project.state
    with reading(state) as connection:
        known = list_campaigns(connection)
    taken = _find_taken_over(project, names)
    if unknown := [name for name in names if name not in known and not taken[name]]:
        listed = ", ".join(known) or "none"
        raise WrongUse(f"nothing of {unknown[0]} was produced; of these something was: {listed}")
    results = []
    for name in names or known:
        with reading(state) as connection:
            files = [file for _, file in list_published(connection, name)]
            files += list_files_of(connection, taken.get(name, ()))
            away = _find_away(connection, files)
            miscounts = list(find_miscounts(connection, name))
        if away is not None:
            results.append(_Result(name, now(), 0, unavailable=away))
            continue
        with opened(state) as engine:
            begun = begin_round(engine, name, now(), again=again)
            results.append(_verify(begun, files, processes))
        results[-1].troubles += miscounts
    if as_json:
        print_json([result.data() for result in results])
    else:
        for result in results:
            _print(result)
    if unavailable := "; ".join(result.unavailable for result in results if result.unavailable):
        raise SourceUnavailable(f"{unavailable}; the same command goes on from here")
    return Exit.FINDINGS if any(result.troubles for result in results) else Exit.FINE


def _list_unknown_files(project: Project, *, as_json: bool) -> int:
    storages = list_pinned_storages(project)
    with reading(project.state) as connection:
        found = list(find_unknown_files(connection, project.state, storages))
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        for one in found:
            print_data(f"{one.path}: {one.what}: {one.advice}\n")
        removable = sum(one.may_be_removed for one in found)
        say(f"{count_things(len(found), 'unknown file')}, {removable:,} of which may be removed")
    return Exit.FINDINGS if found else Exit.FINE


def _find_taken_over(project: Project, names: Sequence[str]) -> dict[str, list[int]]:
    """The numbers of the outputs that each campaign took over from others. Where they are not known, a line says so."""
    repository = load_produced(project, names) if names else NOTHING
    taken: dict[str, list[int]] = {}
    with reading(project.state) as connection:
        for name in names:
            try:
                production = read_production(connection, repository, name, project.state)
            except SourceUnavailable as error:
                say(f"what {name} took over from other campaigns is not known: {error}")
                production = None
            if production is not None:
                tell_taken_over(name, production)
            heads = production.taken_over if production is not None else ()
            own = f"{name}/"  # another step of the campaign made it, and its files are read anyway
            taken[name] = [one.number for one in heads if not (one.maker or "").startswith(own)]
    return taken


def _find_away(connection: Connection, files: Sequence[Published]) -> str | None:
    """Why a storage of these files cannot be read, from its marker; None if all can be read."""
    try:
        for storage in sorted({file.storage for file in files}):
            check_storage_here(connection, storage)
    except SourceUnavailable as error:
        return str(error)
    return None


def _verify(begun: Round, files: Sequence[Published], processes: int | None) -> _Result:
    name, left = begun.campaign, begun.choose(files)
    result = _Result(name, begun.begun, len(files) - len(left))
    if result.earlier:
        earlier = count_things(result.earlier, "file")
        say(f"{name}: the round of {begun.begun} is continued; {earlier} examined before")
    start = written = time.monotonic()
    seen: list[Look] = []
    try:
        with progress(f"verifying {name}", len(left)) as advance:
            for one in look(left, Depth.FULL, processes=processes):
                seen.append(one)
                result.files += 1
                result.bytes += one[0].size
                advance()
                if time.monotonic() > written + _EVERY:
                    begun.record(seen)
                    seen, written = [], time.monotonic()
    except SourceUnavailable as error:
        result.unavailable = str(error)
    finally:
        begun.record(seen)
    result.seconds = time.monotonic() - start
    result.troubles = begun.read_troubles()
    if result.unavailable is None:
        begun.end(now())
    return result


def _print(result: _Result) -> None:
    for flaw in result.troubles:
        print_data(f"{result.campaign}: {flaw.trouble.value}: {flaw.text}\n")
    rate = result.bytes / result.seconds / 1e6 if result.seconds else 0.0
    say(
        f"{result.campaign}: {count_things(result.files, 'file')} ({result.bytes / 1e6:,.1f} MB) examined in "
        f"{result.seconds:.1f} s ({rate:,.0f} MB/s), {count_things(len(result.troubles), 'trouble')}"
    )
