"""What a stage of a scheme would hand over to calibration now: editions, runs that are left out and why, conditions, luminosity."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import Connection, select

from reconciler.calibration.caf_files import RunPlace
from reconciler.calibration.hand_over import HandedDataset, HandOverFacts
from reconciler.calibration.output_folders import place_runs
from reconciler.conditions.following import choose_chains
from reconciler.conditions.metadata_file import cut_snapshots
from reconciler.datasets.editions import Edition, choose_runs, read_edition
from reconciler.datasets.frozen_contents import stream_frozen
from reconciler.datasets.frozen_runs import FrozenRuns
from reconciler.datasets.output_digests import digest_edition
from reconciler.ledger.reading.editions import find_edition
from reconciler.ledger.schema.tables import runs as run_table
from reconciler.ledger.store.database import State
from reconciler.model.states import PlanAction
from reconciler.planning.declared_heads import read_head
from reconciler.planning.views import View, view_campaign
from reconciler.run_catalogue.luminosity import add_luminosity, read_luminosity
from schemas.conditions.snapshot import Snapshot
from schemas.manifest.campaign import Campaign
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.runs import RunSet, format_runs, run_key
from schemas.manifest.scheme import RunBucket, Stage
from schemas.manifest.step import Step
from schemas.manifest.variant import find_declared
from schemas.repository import Repository

_OUTSIDE = "not asked for"
"""Why a run is left out that the stage or the person who hands over does not ask for."""
_UNTOLD = "not made"


class NothingToHandOver(Exception):
    """A stage cannot be handed over as it is declared; the message says what to change."""


@dataclass(frozen=True, slots=True)
class StageDataset:
    """A dataset of a stage as it is now: `frozen` is the name of the edition that the scheme names, None for a head."""

    name: DatasetName
    step: Step
    edition: Edition
    frozen: str | None
    left_out: tuple[tuple[str, tuple[int, ...]], ...] | None


def read_stage(
    connection: Connection,
    repository: Repository,
    state: State,
    stage: Stage,
    bucket: RunBucket | None = None,
    asked: RunSet | None = None,
) -> tuple[StageDataset, ...]:
    """The datasets of a stage with at least one run, of the runs of a bucket and of those that are asked for.

    Raises:
        NothingToHandOver: a dataset is not of a campaign of the repository, or there is no run at all.
        SourceUnavailable: something that a campaign depends on cannot be read.
    """
    views: dict[str, View | None] = {}
    found = []
    for text in stage.names:
        wanted = parse_dataset(text)
        declared = repository.campaigns.get(wanted.campaign)
        if declared is None:
            raise NothingToHandOver(
                f"{text} is of no campaign here, so that nobody knows its release and global tags"
            )
        campaign = declared.campaign
        if campaign.name not in views:
            planned = campaign.is_live and declared.lock is not None
            views[campaign.name] = (
                view_campaign(connection, repository, campaign.name, state) if planned else None
            )
        for step, name in _list_outputs(campaign, wanted):
            edition, frozen = _read_edition(connection, repository, state, name)
            chosen = choose_runs(
                edition,
                {
                    run
                    for run in edition.runs
                    if (bucket is None or run in bucket.runs) and (asked is None or run in asked)
                },
            )
            if frozen is not None and len(chosen.runs) < len(edition.runs):
                frozen = None
            left = _list_left_out(views[campaign.name], name, chosen, edition)
            found.append(StageDataset(name, step, chosen, frozen, left))
    if not any(one.edition.runs for one in found):
        raise NothingToHandOver(f"nothing of {', '.join(stage.names)} is there to be handed over")
    return tuple(one for one in found if one.edition.runs)


def gather_facts(
    connection: Connection,
    repository: Repository,
    about: tuple[str, str, int],
    stage: Stage,
    found: Iterable[tuple[StageDataset, str]],
    due: str | None,
) -> tuple[HandOverFacts, tuple[str, ...]]:
    """What is handed over `about` a scheme, a stage and an iteration, and what is wrong with the folders of it, in words.

    `found` has the datasets, each with the name of its edition.

    Raises:
        NothingToHandOver: the datasets were made with different releases or global tags.
        SourceUnavailable: a snapshot of the ledger is damaged.
    """
    datasets, problems = [], list[str]()
    campaigns: dict[str, Campaign] = {}
    for one, edition in found:
        campaigns.setdefault(one.name.campaign, repository.campaigns[one.name.campaign].campaign)
        contents = stream_frozen(connection, FrozenRuns(one.edition.content))
        placed = place_runs(one.name, one.edition.made, contents)
        problems += placed.problems
        datasets.append(
            _hand_dataset(
                one, edition, placed.places, digest_edition(connection, one.edition, one.edition.runs)
            )
        )
    runs = sorted({run for one in datasets for run in one.runs})
    release, chain = _find_conditions(connection, repository, campaigns.values(), runs)
    measured = read_luminosity(connection, runs)
    totals = [add_luminosity(where, values, runs) for where, values in measured.items()]
    luminosity = [
        {
            "method": one.method,
            "version": one.version,
            "correction": one.correction,
            "inverse_nanobarn": one.value,
            "statistical": one.statistical,
            "systematic": one.systematic,
            "runs": one.runs,
            "without": format_runs(one.without),
        }
        for one in totals
    ]
    facts = HandOverFacts(
        *about,
        release,
        chain,
        tuple(datasets),
        stage.caf,
        stage.payloads,
        stage.returns or "",
        due,
        luminosity,
        _read_quality(connection, runs),
    )
    return facts, tuple(problems)


def _list_outputs(campaign: Campaign, wanted: DatasetName) -> Iterator[tuple[Step, DatasetName]]:
    """Yields the steps and datasets that a name means: one dataset, or all of a step with its variants."""
    for step in campaign.expand():
        if wanted.step in (step.name, find_declared(step.name)):
            for output in step.outputs:
                if wanted.output in ("", output):
                    yield step, DatasetName(campaign.name, step.name, output, wanted.edition)


def _read_edition(
    connection: Connection, repository: Repository, state: State, name: DatasetName
) -> tuple[Edition, str | None]:
    if name.edition is None:
        return read_head(connection, repository, name, state), None
    try:
        stored = find_edition(connection, name)
    except LookupError as error:
        raise NothingToHandOver(str(error)) from error
    return read_edition(connection, stored.digest), stored.name


def _list_left_out(
    view: View | None, name: DatasetName, chosen: Edition, whole: Edition
) -> tuple[tuple[str, tuple[int, ...]], ...] | None:
    """The runs that a campaign selects and that are not in an edition, by reason; None if no plan tells what is selected."""
    if view is None:
        return None
    units = next((one for one in view.units if one.step.name == name.step), None)
    if units is None:
        return None
    missing = {*units.runs, *units.waiting} - chosen.runs.keys()
    reasons: dict[int, str] = {run: _OUTSIDE for run in missing if run in whole.runs}
    for group in view.plan.groups:
        if group.step == name.step and name.output in group.outputs and group.action is not PlanAction.REUSE:
            for run in group.runs:
                if run in missing:
                    reasons.setdefault(run, f"{group.action.word}: {group.reason}")
    gathered: dict[str, list[int]] = defaultdict(list)
    for run in sorted(missing):
        gathered[reasons.get(run, _UNTOLD)].append(run)
    return tuple((why, tuple(runs)) for why, runs in sorted(gathered.items()))


def _hand_dataset(
    one: StageDataset, edition: str, places: tuple[RunPlace, ...], outputs: str | None
) -> HandedDataset:
    contents = one.edition.runs.values()
    counted = [run.events for run in contents if run.events is not None]
    return HandedDataset(
        one.name.dataset,
        edition,
        one.edition.digest,
        one.step.stream,
        one.name.output,
        places,
        sum(len(run.files) for run in contents),
        sum(run.bytes for run in contents),
        sum(counted) if len(counted) == len(contents) else None,
        one.left_out,
        outputs,
    )


def _find_conditions(
    connection: Connection, repository: Repository, campaigns: Iterable[Campaign], runs: list[int]
) -> tuple[str, tuple[Snapshot, ...]]:
    """The release and the chain of tags that all these campaigns have. Of running tags, each run keeps what it was made with."""
    first, *others = campaigns
    for other in others:
        if (other.release, other.global_tags) != (first.release, first.global_tags):
            both = f"{first.name} and {other.name}"
            raise NothingToHandOver(
                f"{both} have not the same release and global tags; hand them over in two stages"
            )
    if first.release is None or not first.global_tags:
        raise NothingToHandOver(f"{first.name} has no release and no global tags that the CAF could use")
    chains, _ = choose_chains(connection, repository, first)
    used = [(chain, here) for chain, here in chains.divide(runs) if here]
    return first.release, used[0][0] if len(used) == 1 else cut_snapshots(used)


def _read_quality(connection: Connection, runs: list[int]) -> dict[str, str]:
    """Quality → the runs that the run catalogue gives it, as text; `unknown` for those without one."""
    wanted = set(runs)
    there = run_table.c.experiment.in_({run >> 32 for run in runs})
    gathered: dict[str, list[int]] = defaultdict(list)
    columns = (run_table.c.experiment, run_table.c.run, run_table.c.quality)
    for experiment, run, quality in connection.execute(select(*columns).where(there)):
        if (key := run_key(experiment, run)) in wanted:
            gathered[quality or "unknown"].append(key)
    return {quality: format_runs(sorted(keys)) for quality, keys in sorted(gathered.items())}
