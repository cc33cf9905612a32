"""Whether what was published is still there, the same, and what was declared: verify."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import rich_click as click
from sqlalchemy import Connection

from ci.approvals.gate import check_anchor
from ci.approvals.root import read_pinned_sites
from ci.changes.project import Settings
from ci.cli.console import count_things, print_data, print_json, progress, say
from ci.cli.exits import Exit, WrongUse
from reconciler.datasets.places import check_storage_here, list_storages
from reconciler.datasets.verification.counting import find_miscounts
from reconciler.datasets.verification.file_check import Depth, FileFlaw, Published
from reconciler.datasets.verification.file_pool import Look, look
from reconciler.datasets.verification.rounds import Rounds, list_published
from reconciler.datasets.verification.unknown_files import find_unknown_files
from reconciler.ledger.reading.observation import list_campaigns
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.writing.transaction import now
from reconciler.outside.errors import SourceUnavailable

_EVERY = 2.0
"""Seconds between writing down what was seen: so much is seen again after an interruption."""


@dataclass(slots=True)
class _Result:
    """What came of one campaign's round."""

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
@click.option("--again", is_flag=True, help="Begin anew, also where an earlier round was cut short.")
@click.option(
    "--processes", type=click.IntRange(1, 256), help="How many read at once; else one for each processor."
)
@click.option(
    "--strangers",
    is_flag=True,
    help="List instead what lies in the storages and in the state, and the ledger does not know.",
)
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@click.pass_obj
def verify(
    settings: Settings,
    names: tuple[str, ...],
    again: bool,
    processes: int | None,
    strangers: bool,
    as_json: bool,
) -> int:
    """Read every published file, and check its size, checksum, events and metadata.

    The events that were read, kept, registered with the inputs and recorded of the run are held against one another.

    A round that was cut short is continued. What is gone or changed is made again by the next plan with --refresh;
    what was published wrong is for a person to decide.
    """
    state = settings.project().state
    if strangers:
        if names or again or processes:
            raise WrongUse("--strangers looks at all storages, and takes neither names nor other options")
        return _list_unknown_files(state, settings.trust, as_json=as_json)
    with reading(state) as connection:
        known = list_campaigns(connection)
    if unknown := [name for name in names if name not in known]:
        raise WrongUse(
            f"nothing of {unknown[0]} was produced; of these something was: {', '.join(known) or 'none'}"
        )
    results = []
    for name in names or known:
        with reading(state) as connection:
            away = _find_away(connection, name)
            files = [file for _, file in list_published(connection, name)]
            miscounts = list(find_miscounts(connection, name))
        if away is not None:
            results.append(_Result(name, now(), 0, unavailable=away))
            continue
        with opened(state) as engine:
            results.append(_verify(Rounds(engine), name, files, again=again, processes=processes))
        results[-1].troubles += miscounts
    if as_json:
        print_json([result.data() for result in results])
    else:
        for result in results:
            _print(result)
    if unavailable := "; ".join(result.unavailable for result in results if result.unavailable):
        raise SourceUnavailable(f"{unavailable}; the same command goes on from here")
    return Exit.FINDINGS if any(result.troubles for result in results) else Exit.FINE


def _list_unknown_files(state: State, anchor: str | None, *, as_json: bool) -> int:
    sites = read_pinned_sites(state, check_anchor(anchor))
    storages = {str(state.storage(site.storage)) for site in sites.values()}
    with reading(state) as connection:
        found = list(find_unknown_files(connection, state, storages))
    if as_json:
        print_json([asdict(one) for one in found])
    else:
        for one in found:
            print_data(f"{one.path}: {one.what}: {one.advice}\n")
        removable = sum(one.may_be_removed for one in found)
        say(f"{count_things(len(found), 'unknown file')}, {removable:,} of which may be removed")
    return Exit.FINDINGS if found else Exit.FINE


def _find_away(connection: Connection, name: str) -> str | None:
    """Why a storage of a campaign cannot be asked; None where each can, as far as its marker tells."""
    try:
        for storage in list_storages(connection, name):
            check_storage_here(connection, storage)
    except SourceUnavailable as error:
        return str(error)
    return None


def _verify(
    rounds: Rounds, name: str, files: Sequence[Published], *, again: bool, processes: int | None
) -> _Result:
    begun = rounds.begin(name, now(), again=again)
    left = rounds.choose(begun, files)
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
                    rounds.record(begun, seen)
                    seen, written = [], time.monotonic()
    except SourceUnavailable as error:
        result.unavailable = str(error)
    finally:
        rounds.record(begun, seen)
    result.seconds = time.monotonic() - start
    result.troubles = rounds.read_troubles(begun)
    if result.unavailable is None:
        rounds.end(begun, name, now())
    return result


def _print(result: _Result) -> None:
    for flaw in result.troubles:
        print_data(f"{result.campaign}: {flaw.trouble.value}: {flaw.text}\n")
    rate = result.bytes / result.seconds / 1e6 if result.seconds else 0.0
    say(
        f"{result.campaign}: {count_things(result.files, 'file')} ({result.bytes / 1e6:,.1f} MB) examined in "
        f"{result.seconds:.1f} s ({rate:,.0f} MB/s), {count_things(len(result.troubles), 'trouble')}"
    )


COMMANDS = (verify,)
