"""What exists of a campaign in any state: live, stopped, archived, or no longer declared."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from reconciler.ledger.reading.heads import Head, read_heads, read_taken_over
from reconciler.ledger.reading.observation import list_campaigns
from reconciler.ledger.store.database import State
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.declaration import choose_units
from reconciler.planning.views import View, view_campaign
from reconciler.run_catalogue.run_selection import choose_runs, read_admissions
from renderer.identity.units import StepUnits
from renderer.steering import TemplateBroken
from schemas.manifest.campaign import Campaign
from schemas.manifest.variant import is_expandable
from schemas.repository import Declared, Repository


@dataclass(frozen=True, slots=True)
class Produced:
    """What a campaign should make, and what of it exists: what it made, and what it took over from other units.

    `selected` are its sorted run keys, or None if they are not known. `made` maps each declared output (step, name) to the
    runs for which it exists. `heads` are the outputs that count, including those of renamed steps. `unknown` says why it is not
    known what the campaign took over; None if it is known.
    """

    selected: tuple[int, ...] | None
    made: Mapping[tuple[str, str], frozenset[int]]
    heads: tuple[Head, ...]
    unknown: str | None = None

    @property
    def steps(self) -> tuple[str, ...]:
        """The names of the steps, in order."""
        return tuple(dict.fromkeys(step for step, _ in self.made))

    @property
    def taken_over(self) -> tuple[Head, ...]:
        """The outputs that other units made."""
        return tuple(head for head in self.heads if head.maker is not None)

    def list_produced(self, step: str | None = None) -> tuple[int, ...]:
        """The sorted run keys for which all outputs exist, of one step or of every step."""
        columns = [runs for (name, _), runs in self.made.items() if step in (None, name)]
        return tuple(sorted(frozenset.intersection(*columns))) if columns else ()

    def count_makers(self) -> dict[tuple[str, str], dict[str, int]]:
        """Step and output → unit's campaign and step, as in `proc6/reco` → how many runs were taken over from there."""
        found: dict[tuple[str, str], Counter[str]] = {}
        for head in self.taken_over:
            found.setdefault((head.step, head.output), Counter())[head.maker or ""] += 1
        return {place: dict(sorted(makers.items())) for place, makers in found.items()}


def read_production(
    connection: Connection, repository: Repository, name: str, state: State
) -> Produced | None:
    """What exists of a campaign; None if it was never declared and nothing of it was made.

    A live campaign must have a current lock, and its output counts if it is made as declared now. For any other campaign the
    newest version of each run counts, since its input may be gone and it is never made again. Where it has none, the output
    that another unit made counts, if it is what the campaign declares.

    Raises:
        SourceUnavailable: something that a live campaign depends on cannot be read.
    """
    declared = repository.campaigns.get(name)
    if declared is None:
        return _tell_past(read_heads(connection, name)) if name in list_campaigns(connection) else None
    if declared.campaign.is_live:
        return read_present(connection, repository, state, view_campaign(connection, repository, name, state))
    selected, unknown = _list_selected(connection, declared), None
    wanted = None if selected is None else frozenset(selected)
    heads = [head for head in read_heads(connection, name) if wanted is None or head.run in wanted]
    try:
        units = read_stopped(connection, repository, name, state).units
        heads = _complete(connection, repository, state, declared.campaign, units, heads)
    except SourceUnavailable as error:
        unknown = str(error)
    return _tell_past(heads, declared.campaign, selected, unknown)


def read_stopped(connection: Connection, repository: Repository, name: str, state: State) -> View:
    """The view of a campaign that is not planned, by what is declared, registered and known now: of the runs that it took in.

    Raises:
        SourceUnavailable: the campaign cannot be read completely: it has no lock, or what it names is gone.
    """
    declared = repository.campaigns[name]
    if lacking := _find_lacking(repository, declared):
        raise SourceUnavailable(f"{name} cannot be read completely: {lacking}")
    try:
        view = view_campaign(connection, repository, name, state)
    except TemplateBroken as error:
        raise SourceUnavailable(f"{name} cannot be read completely: {error}") from error
    wanted = frozenset(_list_selected(connection, declared) or ())
    # an open selection would take in others, which came after the campaign ended
    return replace(view, units=tuple(choose_units(units, wanted) for units in view.units), entrants=())


def _find_lacking(repository: Repository, declared: Declared) -> str | None:
    """What a campaign lacks or names that the repository does not have; None if all is there."""
    campaign = declared.campaign
    if declared.lock is None:
        return "it has no lock"
    if not is_expandable(campaign.steps):
        return "its steps have too many variants"
    steps = campaign.expand()
    payloads = {one.name for step in steps for one in step.deviations.testing_payloads}
    templates = {step.template for step in steps if step.template is not None}
    skims = {output for step in steps if step.skims for output in step.outputs}
    validations = {step.validation for step in steps if step.validation is not None}
    named: tuple[tuple[str, Iterable[str], Collection[str]], ...] = (
        ("site", (campaign.site,), repository.sites),
        ("layout", (campaign.layout,), repository.layouts),
        ("snapshot of", {*campaign.tag_names, *payloads}, repository.snapshots),
        ("template", templates, repository.templates),
        ("skim", skims, repository.skims),
        ("script", campaign.scripts, repository.scripts),
        ("validation", validations, repository.validations),
    )
    gone = (
        f"there is no {what} {one}"
        for what, names, there in named
        for one in sorted(names)
        if one not in there
    )
    return next(gone, None)


def read_present(connection: Connection, repository: Repository, state: State, view: View) -> Produced:
    """As `read_production`, for a live campaign whose view is known."""
    campaign = view.campaign
    chosen = choose_runs(connection, campaign, view.lock)
    wanted = {run for run in chosen.runs if run not in chosen.refused}
    current = {value for units in view.units for column in units.fingerprints.values() for value in column}
    own = read_heads(connection, campaign.name, current)
    heads = _complete(connection, repository, state, campaign, view.units, own)
    runs = _gather(heads)
    made = {
        (units.step.name, output): frozenset(wanted.intersection(runs.get((units.step.name, output), ())))
        for units in view.units
        for output in units.step.outputs
    }
    return Produced(tuple(sorted(wanted)), made, _name_as_made(heads, own))


def _complete(
    connection: Connection,
    repository: Repository,
    state: State,
    campaign: Campaign,
    units: Sequence[StepUnits],
    heads: Sequence[Head],
) -> list[Head]:
    """The heads, and the outputs that are not among them as other units made them.

    What the campaign made under the former name of a step counts as made by the step.
    """
    there = {head[:3] for head in heads}
    missing: dict[bytes, list[tuple[str, str, int]]] = {}
    for item in units:
        for output, column in item.fingerprints.items():
            for run, value in zip(item.runs, column, strict=True):
                place = (item.step.name, output, run)
                if place not in there:
                    missing.setdefault(value, []).append(place)
    storage = str(state.storage(repository.sites[campaign.site].storage))
    taken = read_taken_over(connection, campaign.name, storage, missing, reuse=campaign.reuse)
    steps = {item.step.name for item in units}
    renamed = {head.number for head in heads if head.step not in steps}.intersection(
        one.number for one in taken
    )
    kept = [head for head in heads if head.number not in renamed]
    return kept + [one._replace(maker=None) if one.number in renamed else one for one in taken]


def _name_as_made(heads: Iterable[Head], own: Iterable[Head]) -> tuple[Head, ...]:
    """The heads, each once; those of the campaign's own outputs have the names of the steps that made them."""
    made = {head.number: head for head in own}
    return tuple({head.number: made.get(head.number, head) for head in heads}.values())


def _list_selected(connection: Connection, declared: Declared) -> tuple[int, ...] | None:
    """The runs of a campaign that ended and takes in no more; None if they are not known."""
    lock = declared.lock
    if lock is None:
        return None
    admitted = read_admissions(connection, declared.campaign.name) if lock.open_runs else ()
    return tuple(sorted({*lock.runs, *admitted}))


def _gather(heads: Iterable[Head]) -> dict[tuple[str, str], set[int]]:
    """Step and output → runs."""
    runs: dict[tuple[str, str], set[int]] = {}
    for head in heads:
        runs.setdefault((head.step, head.output), set()).add(head.run)
    return runs


def _tell_past(
    heads: Sequence[Head],
    campaign: Campaign | None = None,
    selected: tuple[int, ...] | None = None,
    unknown: str | None = None,
) -> Produced:
    runs = _gather(heads)
    if campaign is None:
        made = {key: frozenset(found) for key, found in sorted(runs.items())}
    else:
        made = _match(runs, [(s.name, output) for s in campaign.expand() for output in s.outputs])
    return Produced(selected, made, tuple(heads), unknown)


def _match(
    runs: Mapping[tuple[str, str], Collection[int]], declared: Sequence[tuple[str, str]]
) -> dict[tuple[str, str], frozenset[int]]:
    """The runs of each declared output, including those that were made when its step had another name."""
    steps = {step for step, _ in declared}
    former: dict[str, set[int]] = {}
    for (step, output), found in runs.items():
        if step not in steps:
            former.setdefault(output, set()).update(found)
    return {
        (step, output): frozenset({*runs.get((step, output), ()), *former.get(output, ())})
        for step, output in declared
    }
