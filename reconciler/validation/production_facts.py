"""What is known of a dataset's runs for a comparison: events, bytes, CPU time, and the skims that were made of it. Only reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from math import fsum
from typing import Any

from sqlalchemy import Connection, select

from reconciler.datasets.contents import choose_few
from reconciler.datasets.editions import Edition
from reconciler.ledger.reading.editions import belongs_to
from reconciler.ledger.schema.tables import attempts, jobs, outputs
from reconciler.model.states import AttemptState, OutputState
from schemas.files.canonical import digest
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.runs import format_run, run_key


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What is known of one run of a dataset; None is not known. `read` is the number of events that were read to make it.

    `cpu_seconds` are those of all jobs of the unit that made it.
    """

    bytes: int
    events: int | None = None
    read: int | None = None
    cpu_seconds: float | None = None


SkimCounts = Mapping[int, tuple[int, int]]
"""Run key → events kept and events read, of the runs of which both are known."""

SkimName = tuple[str, str]
"""The step that made a skim, and the output."""


@dataclass(frozen=True, slots=True)
class ProductionFacts:
    """What is known of a dataset, by run key. `dataset` is its name, with the number of an edition; `edition` a digest.

    `skims` are the counts of its own output, and of those that steps of the same campaigns made of exactly these outputs.
    `keeps_all` tells whether it is meant to hold all events that are read, as a data level does and a skim does not.
    """

    dataset: str
    edition: str
    runs: Mapping[int, RunFacts]
    skims: Mapping[SkimName, SkimCounts]
    keeps_all: bool

    @property
    def digest(self) -> str:
        """The digest of all of it."""
        runs = {
            format_run(run): [one.bytes, one.events, one.read, one.cpu_seconds]
            for run, one in self.runs.items()
        }
        skims = {
            "/".join(name): {format_run(run): pair for run, pair in counts.items()}
            for name, counts in self.skims.items()
        }
        return digest({"runs": runs, "skims": skims})


def read_facts(connection: Connection, name: str, edition: Edition) -> ProductionFacts:
    """What is known of what an edition lists; of each skim the newest version counts that was made of it."""
    makers: dict[str, set[int]] = defaultdict(set)
    for run, one in edition.runs.items() if edition.made else ():
        makers[one.dataset or edition.dataset].add(run)
    found = {run: RunFacts(one.bytes, one.events) for run, one in edition.runs.items()}
    skims: dict[SkimName, dict[int, tuple[int, int]]] = {}
    for maker, runs in makers.items():
        found |= _read_runs(connection, maker, {run: edition.runs[run].input for run in runs}, found)
        _collect_skims(connection, maker, {run: edition.runs[run].input for run in runs}, skims)
    own = parse_dataset(edition.dataset)
    kept = {
        run: (one.events, one.read)
        for run, one in found.items()
        if one.events is not None and one.read is not None
    }
    if kept:
        skims[own.step, own.output] = kept
    counted = {skim: dict(sorted(counts.items())) for skim, counts in sorted(skims.items())}
    keeps_all = own.output in _WHOLE
    return ProductionFacts(name, edition.digest, dict(sorted(found.items())), counted, keeps_all)


_WHOLE = ("raw", "cdst", "mdst", "dst")
"""The data levels that hold every event; what selects events is called after its skim."""


def _read_runs(
    connection: Connection, maker: str, wanted: Mapping[int, str], known: Mapping[int, RunFacts]
) -> dict[int, RunFacts]:
    """What the ledger knows of the outputs of a campaign with these fingerprints, by run key."""
    mine = belongs_to(parse_dataset(maker)) & choose_few(outputs, wanted)
    spent = (
        select(jobs.c.intent, attempts.c.cpu_seconds)
        .join(attempts, attempts.c.job == jobs.c.id)
        .where(jobs.c.intent.in_(select(outputs.c.intent).where(mine)))
        .where(attempts.c.state == AttemptState.VERIFIED)
    )
    used: dict[int, list[float | None]] = defaultdict(list)
    for intent, cpu_seconds in connection.execute(spent):
        used[intent].append(cpu_seconds)
    # databases add floats in an order of their own
    seconds = {
        intent: fsum(stated)
        for intent, some in used.items()
        if len(stated := [one for one in some if one is not None]) == len(some)
    }
    columns = ("experiment", "run", "fingerprint", "intent", "events_read")
    rows = connection.execute(select(*(outputs.c[one] for one in columns)).where(mine).order_by(outputs.c.id))
    found = {}
    for experiment, run, fingerprint, intent, read in rows:
        key = run_key(experiment, run)
        if wanted.get(key) == fingerprint.hex():
            found[key] = RunFacts(known[key].bytes, known[key].events, read, seconds.get(intent))
    return found


def _collect_skims(
    connection: Connection,
    maker: str,
    wanted: Mapping[int, str],
    skims: dict[SkimName, dict[int, tuple[int, int]]],
) -> None:
    """Adds the counts of what steps of the maker's campaign made of the outputs with these fingerprints."""
    name = parse_dataset(maker)
    columns = ("step", "output", "experiment", "run", "input", "events", "events_read")
    query = select(*(outputs.c[one] for one in columns)).where(
        outputs.c.campaign == name.campaign,
        outputs.c.step != name.step,
        outputs.c.state == OutputState.PRODUCED,
        outputs.c.events.is_not(None),
        outputs.c.events_read.is_not(None),
        choose_few(outputs, wanted),
    )
    rows: Any = connection.execute(query.order_by(outputs.c.version))
    for step, output, experiment, run, made_from, kept, read in rows:
        key = run_key(experiment, run)
        if wanted.get(key) == made_from:
            skims.setdefault((step, output), {})[key] = (kept, read)
