"""The plan: what is declared minus what was produced, unit by unit, each with one action and its reason.

Pure: two values in, one value out. A plan is empty when nothing is to be submitted or restated.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from reconciler.deviations import Told, tell_deviations
from renderer.payloads import Walk, name_payload_changes
from renderer.units import StepUnits
from schemas.campaign import Campaign
from schemas.canonical import digest
from schemas.runs import format_runs

SUBMIT, REUSE, RESTATE, BLOCKED, UNKNOWN, OBSOLETE = "+", "=", "~", "!", "?", "-"
IN_FLIGHT, WAITING, QUARANTINED = "in flight", "waiting", "quarantined"

ACTIONS: Mapping[str, str] = {
    SUBMIT: "submit",
    RESTATE: "restate",
    REUSE: "reuse",
    BLOCKED: "blocked",
    UNKNOWN: "unknown",
    OBSOLETE: "obsolete",
    IN_FLIGHT: "in flight",
    WAITING: "waiting",
    QUARANTINED: "quarantined",
}
"""The actions, and the states that are listed but are none, in the order in which they are shown."""

LOST: Mapping[str, str] = {
    "gone": "output is gone from the storage",
    "changed": "output is not what was published",
}
"""What may have become of a produced output, and how that is told."""


@dataclass(frozen=True, slots=True)
class Made:
    """An output of a unit as the ledger has it: what it was made from."""

    fingerprint: bytes
    recipe: Mapping[str, Any]
    input: str
    conditions: str | None


@dataclass(frozen=True, slots=True)
class Intent:
    """An intent that came to no end yet. `live`: an attempt may still deliver. `failure`: the last one's text."""

    fingerprints: frozenset[bytes]
    live: bool
    quarantined: bool
    failure: str | None


Unit = tuple[str, int]
"""Step and run key, within one campaign."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What the ledger knows of one campaign, and what of other campaigns' it could take over.

    `produced` are fingerprints with an output that exists; `elsewhere` those of other campaigns at the same storage.
    `made` holds the latest output of units that were produced before; `lost` are fingerprints whose
    files are `gone` or `changed`, each with that word.
    `payloads` are the payload sets (name → checksum) by digest that `made` was made with.
    """

    produced: frozenset[bytes] | set[bytes] = frozenset()
    elsewhere: frozenset[bytes] | set[bytes] = frozenset()
    made: Mapping[tuple[str, str, int], Made] = field(default_factory=dict)
    intents: Mapping[Unit, Intent] = field(default_factory=dict)
    lost: Mapping[bytes, str] = field(default_factory=dict)
    unknown: frozenset[bytes] = frozenset()
    payloads: Mapping[str, Mapping[str, str]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Group:
    """Units of one step with the same action, for the same reason, of the same outputs. `runs` are sorted run keys."""

    action: str
    step: str
    outputs: tuple[str, ...]
    reason: str
    runs: tuple[int, ...]
    content: str

    def data(self) -> dict[str, Any]:
        """The group as JSON data; `content` is the digest of all fingerprints that it is about."""
        return {
            "action": ACTIONS[self.action],
            "step": self.step,
            "outputs": list(self.outputs),
            "reason": self.reason,
            "units": len(self.runs),
            "runs": format_runs(self.runs),
            "content": self.content,
        }


@dataclass(frozen=True, slots=True)
class CampaignPlan:
    """The plan of one campaign. `pins` are digests of what it was computed from, by name."""

    campaign: str
    generation: int
    pins: tuple[tuple[str, str], ...]
    done: int
    groups: tuple[Group, ...]
    deviations: tuple[Told, ...] = ()

    def count(self, action: str) -> int:
        """How many units have an action."""
        return sum(len(group.runs) for group in self.groups if group.action == action)

    def data(self) -> dict[str, Any]:
        """The campaign's plan as JSON data."""
        return {
            "campaign": self.campaign,
            "generation": self.generation,
            "pins": dict(self.pins),
            "summary": {"done": self.done, **{word: self.count(action) for action, word in ACTIONS.items()}},
            "groups": [group.data() for group in self.groups],
            **({"deviations": [one.data() for one in self.deviations]} if self.deviations else {}),
        }


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done, as one value. `lost` are fingerprints of outputs that a look at the storage missed."""

    ledger: str
    serial: int
    catalogue_serial: int
    campaigns: tuple[CampaignPlan, ...]
    refreshed: bool = False
    lost: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to submit and nothing to restate."""
        return not any(campaign.count(action) for campaign in self.campaigns for action in (SUBMIT, RESTATE))

    @property
    def unknown(self) -> int:
        """How many units could not be judged."""
        return sum(campaign.count(UNKNOWN) for campaign in self.campaigns)

    def content(self) -> dict[str, Any]:
        """The plan as JSON data, without its digest."""
        return {
            "format_version": "1.0",
            "ledger": {"id": self.ledger, "serial": self.serial, "catalogue_serial": self.catalogue_serial},
            "refreshed": self.refreshed,
            "lost": list(self.lost),
            "has_changes": not self.is_empty,
            "campaigns": [campaign.data() for campaign in self.campaigns],
        }

    def digest(self) -> str:
        """The digest of the plan's content: equal plans have equal digests."""
        return digest(self.content())


def plan_campaign(
    campaign: Campaign,
    units: Sequence[StepUnits],
    observed: Observed,
    generation: int = 1,
    pins: tuple[tuple[str, str], ...] = (),
    refused: Mapping[int, str] | None = None,
) -> CampaignPlan:
    """The plan of a campaign whose declared units and observed outputs are given; `refused` are runs not to be made, with reasons."""
    planning = _Planning(campaign, observed, refused or {})
    for step_units in units:
        planning.add(step_units)
    groups, deviations = planning.groups(units), tell_deviations(campaign)
    return CampaignPlan(campaign.name, generation, pins, planning.done, groups, deviations)


class _Planning:
    """One pass over a campaign's steps, upstream first."""

    def __init__(self, campaign: Campaign, observed: Observed, refused: Mapping[int, str]) -> None:
        self.campaign = campaign
        self.refused = refused
        self.observed = observed
        self.done = 0
        self.rows: dict[tuple[str, str, tuple[str, ...], str], list[int]] = {}
        self.coming: dict[str, dict[int, str]] = {}  # step → run → its action, where it is not done
        self.walks: dict[int, Walk] = {}  # along the chains of the step that is judged, by place
        self.named: dict[tuple[str, str], str] = {}  # digests of two payload sets → what differs

    def put(self, action: str, step: str, outputs: tuple[str, ...], reason: str, run: int) -> None:
        self.rows.setdefault((action, step, outputs, reason), []).append(run)
        self.coming.setdefault(step, {})[run] = action

    def add(self, units: StepUnits) -> None:
        name, observed = units.step.name, self.observed
        missing: dict[int, list[str]] = {}
        taken: dict[int, list[str]] = {}
        for output, column in units.fingerprints.items():
            absent = set(column) - observed.produced
            if not absent:
                continue
            for run, value in zip(units.runs, column, strict=True):
                if value in absent:
                    (taken if value in observed.elsewhere else missing).setdefault(run, []).append(output)
        for run, reason in units.waiting.items():
            if run in self.refused:
                self.put(BLOCKED, name, tuple(units.fingerprints), self.refused[run], run)
            else:
                self.put(WAITING, name, tuple(units.fingerprints), reason, run)
        self.done += len(units.runs) - len(missing.keys() | taken.keys())
        for run in sorted(taken.keys() - missing.keys()):
            self.put(REUSE, name, tuple(taken[run]), "another campaign made the same", run)
        if missing:
            place = {run: index for index, run in enumerate(units.runs)}
            self.walks.clear()
            for run in sorted(missing):
                self.judge(units, run, tuple(missing[run]), place[run])

    def judge(self, units: StepUnits, run: int, outputs: tuple[str, ...], index: int) -> None:
        """Gives one unit that is not done its action and reason."""
        step = units.step
        wanted = frozenset(units.fingerprints[output][index] for output in outputs)
        action, reason = self.compare(units, run, outputs, index)
        intent = self.observed.intents.get((step.name, run))
        upstream = self.coming.get(step.input.step or "", {}).get(run, SUBMIT)
        if self.campaign.state == "held":
            action, reason = BLOCKED, "the campaign is held"
        elif run in self.refused:
            action, reason = BLOCKED, self.refused[run]
        elif wanted & self.observed.unknown:
            action, reason = UNKNOWN, "its storage cannot be read"
        elif intent is not None and intent.live:
            same = intent.fingerprints == wanted
            action, reason = (
                IN_FLIGHT,
                "submitted" if same else "an attempt of an earlier plan is still running",
            )
        elif intent is not None and intent.quarantined and intent.fingerprints == wanted:
            action, reason = QUARANTINED, intent.failure or "attempts used up"
        elif upstream not in (SUBMIT, RESTATE, REUSE):
            action, reason = WAITING, f"waits for {step.input.step}"
        elif intent is not None and intent.fingerprints == wanted and intent.failure:
            reason = f"again, after: {intent.failure}"
        self.put(action, step.name, outputs, reason, run)

    def compare(self, units: StepUnits, run: int, outputs: Iterable[str], index: int) -> tuple[str, str]:
        """Submit or restate, and why: what the unit was last made from against what it would be made from now."""
        recipes = {recipe.output: recipe.content for recipe in units.recipes}
        reasons: dict[str, None] = {}
        lost: dict[str, None] = {}
        for output in outputs:
            made = self.observed.made.get((units.step.name, output, run))
            if trouble := self.observed.lost.get(units.fingerprints[output][index]):
                lost[LOST[trouble]] = None
            elif made is not None:
                changes = list(name_changes(made.recipe, recipes[output]))
                conditions = units.conditions[index] if units.conditions else None
                if made.conditions != conditions:
                    changes.append(self.name_payloads(units, made.conditions or "", conditions or "", run))
                if made.input != units.inputs[index]:
                    changes.append(
                        "input files changed" if units.step.input.step is None else "input restated"
                    )
                reasons.update(dict.fromkeys(changes or ["produced before, with another fingerprint"]))
        if reasons:
            return RESTATE, "; ".join(reasons)
        return SUBMIT, "; ".join(lost) or "not produced"

    def name_payloads(self, units: StepUnits, before: str, after: str, run: int) -> str:
        """Which payloads changed, where the ledger knows what the run was made with. Runs only go up."""
        if (before, after) not in self.named:
            known = self.observed.payloads.get(before)
            place = units.chains.bound.get(run, 0)
            if place not in self.walks:
                self.walks[place] = Walk(units.chains.of(run))
            self.named[before, after] = (
                "payloads changed"
                if known is None
                else name_payload_changes(known, self.walks[place].advance(run).checksums())
            )
        return self.named[before, after]

    def groups(self, units: Sequence[StepUnits]) -> tuple[Group, ...]:
        self.brake()
        columns = {item.step.name: _Column(item) for item in units} if self.rows or self.observed.made else {}
        for step, output, run in self.observed.made:
            column = columns.get(step)
            if column is None or output not in column.units.fingerprints or not column.declares(run):
                self.rows.setdefault((OBSOLETE, step, (output,), "no longer declared"), []).append(run)
        order = list(ACTIONS)
        steps = {item.step.name: number for number, item in enumerate(units)}
        found = []
        for (action, step, outputs, reason), runs in self.rows.items():
            listed = tuple(sorted(runs))
            found.append(
                Group(
                    action, step, outputs, reason, listed, _digest_group(columns.get(step), outputs, listed)
                )
            )
        found.sort(
            key=lambda g: (
                order.index(g.action),
                steps.get(g.step, len(steps)),
                g.outputs,
                g.reason,
                g.runs[:1],
            )
        )
        return tuple(found)

    def brake(self) -> None:
        """Blocks what would go beyond the campaign's limits, and what waits for it."""
        limits = self.campaign.limits
        restated = sum(len(runs) for (action, *_), runs in self.rows.items() if action == RESTATE)
        if restated > (allowed := self.campaign.max_restate):
            limit = "max_restate" if allowed == limits.max_restate else "restate.limit"
            self.block(RESTATE, f"{limit} is {allowed}, to restate are {restated}")
        submitted = self.done + sum(
            len(runs) for (action, *_), runs in self.rows.items() if action not in (OBSOLETE, BLOCKED)
        )
        if submitted > limits.max_units:
            for action in (SUBMIT, RESTATE):
                self.block(action, f"max_units is {limits.max_units}, declared are {submitted}")

    def block(self, blocked: str, why: str) -> None:
        behind = {step.name: step.input.step for step in self.campaign.expand()}
        for (action, step, outputs, reason), runs in list(self.rows.items()):
            if action == blocked:
                del self.rows[action, step, outputs, reason]
                self.rows.setdefault((BLOCKED, step, outputs, f"{reason}; {why}"), []).extend(runs)
                self.coming[step].update(dict.fromkeys(runs, BLOCKED))
        for (action, step, outputs, reason), runs in list(self.rows.items()):
            upstream = self.coming.get(behind.get(step) or "", {})
            held = (
                [run for run in runs if upstream.get(run) == BLOCKED] if action in (SUBMIT, RESTATE) else []
            )
            if held:
                self.rows[action, step, outputs, reason] = sorted(set(runs).difference(held))
                self.rows.setdefault((WAITING, step, outputs, f"waits for {behind[step]}"), []).extend(held)
                self.coming[step].update(dict.fromkeys(held, BLOCKED))
        self.rows = {key: runs for key, runs in self.rows.items() if runs}


def name_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[str]:
    """What differs between two recipes, in words."""
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from name_changes(old, new)
        elif old != new:
            shown = key in ("release", "application", "cut", "line", "decision", "split")
            yield f"{key} changed: {old} -> {new}" if shown else f"{key} changed"


def _digest_group(column: _Column | None, outputs: tuple[str, ...], runs: tuple[int, ...]) -> str:
    """The digest of the fingerprints of a group's units, output by output, run by run."""
    if column is None or any(output not in column.units.fingerprints for output in outputs):
        return ""
    found = sha256()
    for output in outputs:
        values = column.units.fingerprints[output]
        for run in runs:
            found.update(values[column.place[run]] if run in column.place else b"-")
    return found.hexdigest()


class _Column:
    """A step's units, and where each run stands in their columns."""

    def __init__(self, units: StepUnits) -> None:
        self.units = units
        self.place = {run: index for index, run in enumerate(units.runs)}

    def declares(self, run: int) -> bool:
        """Whether the run is declared, be its input there or not."""
        return run in self.place or run in self.units.waiting
