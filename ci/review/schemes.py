"""What a change of schemes does: stages that come, go or change, and the units that a gate holds no longer, or holds now."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from sqlalchemy import Connection

from ci.approvals.signatures import find_criteria, find_sign_offs
from ci.changes.change import Change
from ci.changes.project import Project
from ci.cli.console import count_things
from ci.cli.markdown import code, escape
from reconciler.model.plan import CampaignPlan
from reconciler.model.states import MAKING, PlanAction
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.gates.judging import GATE
from reconciler.planning.views import StateView, draft_state_view, hold_state_view
from schemas.files.tree import SCHEMES
from schemas.manifest.scheme import Scheme
from schemas.repository import Repository


@dataclass(frozen=True, slots=True)
class GateChange:
    """Units of a step, as in `proc8/reco`, that go because of a change, or that go no longer; `reason` is why they wait."""

    step: str
    units: int
    reason: str
    opens: bool


@dataclass(frozen=True, slots=True)
class SchemeReview:
    """What a change does to one scheme: `lines` of Markdown, one for each difference of what it declares."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class SchemesReview:
    """The schemes that a change touches, and the units for which that opens or closes gates; `why` says why nobody knows these."""

    schemes: tuple[SchemeReview, ...] = ()
    gates: tuple[GateChange, ...] = ()
    why: str = ""


def review_schemes(change: Change, before: Repository, after: Repository) -> SchemesReview:
    """The schemes that a change touches, without what it does to units."""
    paths = (path.removeprefix(f"{SCHEMES}/") for path in change.paths if path.startswith(f"{SCHEMES}/"))
    names = sorted(
        {path.removesuffix(".yaml") for path in paths if path.endswith(".yaml") and "/" not in path}
    )
    told = []
    for name in names:
        old, new = before.schemes.get(name), after.schemes.get(name)
        lines = [*_compare(old, new)] if new is not None else [*_tell_gone(name, old, change)]
        told.append(SchemeReview(name, tuple(lines)))
    return SchemesReview(tuple(told))


def find_gate_changes(
    connection: Connection,
    project: Project,
    before: Repository,
    after: Repository,
    found: SchemesReview,
    names: Collection[str],
) -> SchemesReview:
    """The review with the units of the campaigns `names` for which gates open or close, as the state is now."""
    touched = {one.name for one in found.schemes}
    changed = [
        scheme
        for schemes in (before.schemes, after.schemes)
        for name, scheme in schemes.items()
        if name in touched
    ]
    wanted = sorted({campaign for scheme in changed for campaign in scheme.campaigns}.intersection(names))
    if not wanted:
        return found
    try:
        drafts = draft_state_view(connection, after, wanted, project.state, spare=True)
        old, new = (
            _hold(connection, project, replace(after, schemes=schemes), drafts)
            for schemes in (before.schemes, after.schemes)
        )
    except SourceUnavailable as error:
        return replace(found, why=str(error))
    gates = [
        one
        for plans in zip(old.plan.campaigns, new.plan.campaigns, strict=True)
        for one in _compare_plans(*plans)
    ]
    return replace(found, gates=tuple(gates), why="; ".join(dict.fromkeys(drafts.absent.values())))


def format_schemes(review: SchemesReview) -> list[str]:
    """The review of schemes as Markdown."""
    lines: list[str] = []
    for one in review.schemes:
        lines += [f"### Scheme {code(one.name)}", "", *(f"- {line}" for line in one.lines), ""]
    told = [_tell_gate(one) for one in review.gates]
    if told:
        lines += ["**What that does to units, as things are now**", "", *(f"- {line}" for line in told), ""]
    elif review.schemes and not review.why:
        lines += ["As things are now, that opens and closes no gate.", ""]
    if review.why:
        lines += [f"**Which gates that opens is not known:** {escape(review.why)}", ""]
    return lines


def head_schemes(review: SchemesReview) -> str:
    """The schemes in a few words, for the headline; empty if none is touched."""
    names = ", ".join(code(one.name) for one in review.schemes[:4])
    if not names:
        return ""
    opened, closed = (sum(one.units for one in review.gates if one.opens is opens) for opens in (True, False))
    told = [f"{count_things(opened, 'unit')} let go"] if opened else []
    told += [f"{count_things(closed, 'unit')} held"] if closed else []
    unknown = "effect not known" if review.why else "no gate moves"
    return f"Scheme {names}: {' and '.join(told) or unknown}"


def _tell_gate(one: GateChange) -> str:
    what = f"{count_things(one.units, 'unit')} of {code(one.step)}"
    gate = one.reason.removeprefix(GATE).partition(":")[0].partition(",")[0]
    named = f"gate {code(gate)}" if one.reason.startswith(GATE) else "the gate before what they read"
    if one.opens:
        return f"**This change opens {named}:** {what} go, which wait now: {escape(one.reason)}"
    return f"This change closes {named}: {what} wait, which go now: {escape(one.reason)}"


def _tell_gone(name: str, old: Scheme | None, change: Change) -> Iterator[str]:
    held = ", ".join(map(code, sorted(old.campaigns))) if old is not None else ""
    if f"{SCHEMES}/{name}.yaml" in change.after:
        yield "it cannot be read with this change: the campaigns that it names wait until that is corrected"
    elif held:
        yield f"**it is gone, and holds nothing back any more** of {held}"
    else:
        yield "it is gone"


def _compare(old: Scheme | None, new: Scheme) -> Iterator[str]:
    """What is different of a scheme, in Markdown."""
    before: Mapping[str, Any] = {} if old is None else old.document.data
    after = new.document.data
    if old is None:
        yield "it is new"
    stages = [before.get("stages", {}), after["stages"]]
    for name in dict.fromkeys(key for one in stages for key in one):
        one, two = (each.get(name) for each in stages)
        if one == two:
            continue
        if two is None:
            yield f"**the stage {code(name)} is gone**: {_tell_keys(one)}"
        elif one is None:
            yield f"the stage {code(name)} is new: {_tell_keys(two)}"
        else:
            for key in dict.fromkeys((*one, *two)):
                if one.get(key) != two.get(key):
                    values = f"{_tell_value(one.get(key))} → {_tell_value(two.get(key))}"
                    yield f"the stage {code(name)}, {code(key)}: {values}"
    for key in ("buckets", "title"):
        if before.get(key) != after.get(key) and old is not None:
            yield f"{code(key)}: {_tell_value(before.get(key))} → {_tell_value(after.get(key))}"


def _tell_keys(data: Mapping[str, Any]) -> str:
    return ", ".join(f"{code(key)} {_tell_value(value)}" for key, value in data.items())


def _tell_value(value: Any) -> str:
    if value is None:
        return "none"
    if isinstance(value, Mapping):
        return f"({'; '.join(f'{code(str(key))} {_tell_value(one)}' for key, one in value.items())})"
    if isinstance(value, str):
        return code(value)
    if isinstance(value, Iterable):
        return ", ".join(map(_tell_value, value)) or "none"
    return code(str(value))


def _hold(connection: Connection, project: Project, repository: Repository, drafts: StateView) -> StateView:
    signs, criteria = find_sign_offs(project, repository), find_criteria(project, repository)
    return hold_state_view(connection, repository, project.state, drafts, signs, criteria)


def _compare_plans(old: CampaignPlan, new: CampaignPlan) -> Iterator[GateChange]:
    """The units that one plan makes and the other one has waiting, by step and reason."""
    for waiting, going, opens in ((old, new, True), (new, old, False)):
        goes: dict[str, set[int]] = {}
        for group in going.groups:
            if group.action in MAKING:
                goes.setdefault(group.step, set()).update(group.runs)
        counts: dict[tuple[str, str], int] = {}
        for group in waiting.groups:
            if group.action == PlanAction.WAITING:
                number = len(goes.get(group.step, set()).intersection(group.runs))
                key = f"{waiting.campaign}/{group.step}", group.reason
                counts[key] = counts.get(key, 0) + number
        yield from (
            GateChange(step, units, reason, opens) for (step, reason), units in counts.items() if units
        )
