"""Planning: compares what is declared with what was produced, unit by unit. Pure: two values in, one value out.

Of a million units most are new, and nothing is known about them. These are judged together as sets, the others one by one.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from hashlib import sha256
from typing import Any

from reconciler.model.deviations import tell_deviations
from reconciler.model.plan import CampaignPlan, Group, Observed
from reconciler.model.produced import find_absent
from reconciler.model.states import MAKING, PlanAction
from reconciler.planning.claims import CLAIMING
from renderer.identity.digest_columns import choose, find_places, write
from renderer.identity.fingerprint import name_changes
from renderer.identity.payloads import Walk, name_payload_changes
from renderer.identity.units import StepUnits, tell_wait
from schemas.manifest.campaign import Campaign

NEW = "not produced"
"""The reason of most units that are submitted."""

LOST: Mapping[str, str] = {
    "gone": "output is gone from the storage",
    "changed": "output is not what was published",
}
"""What happened to a produced output → the words of the plan for it."""

_CLAIMED = " is to make the same"
"""The end of the reason of a claimed unit."""

_COMING = (*MAKING, PlanAction.REUSE)
"""Actions after which the output of a unit exists."""


def plan_campaign(
    campaign: Campaign,
    units: Sequence[StepUnits],
    observed: Observed,
    generation: int = 1,
    pins: tuple[tuple[str, str], ...] = (),
    refused: Mapping[int, str] | None = None,
    removed: Mapping[tuple[str, int], str] | None = None,
    claims: Mapping[bytes, str] | None = None,
    coming: Mapping[str, Mapping[int, PlanAction]] | None = None,
) -> CampaignPlan:
    """The plan of a campaign, from its declared units and the observed outputs.

    `refused` maps a run that must not be made to the reason. `removed` maps step and run to the reason why input files were
    removed after the unit was made. `claims` maps fingerprints that units of other campaigns are to make, by a plan of the same
    moment, to their campaign and step. `coming` maps steps of other campaigns, as in `proc7/reco`, and run to the action on a
    unit that is not done.
    """
    rivals = {value: name for value, name in (claims or {}).items() if value not in observed.begun}
    planning = _Planning(campaign, observed, refused or {}, removed or {}, dict(observed.begun), rivals)
    planning.claim_begun(units)
    planning.coming.update({step: dict(runs) for step, runs in (coming or {}).items()})
    for step_units in units:
        planning.add(step_units)
        planning.claim(step_units)
    groups, deviations = planning.groups(units), tell_deviations(campaign.steps)
    return CampaignPlan(campaign.name, generation, pins, planning.done, groups, deviations)


@dataclass(slots=True)
class _Planning:
    """One pass over a campaign's steps, upstream first."""

    campaign: Campaign
    observed: Observed
    refused: Mapping[int, str]
    removed: Mapping[tuple[str, int], str]
    claims: dict[bytes, str]
    """Fingerprint → campaign and step of the unit that makes it; a unit that would make the same waits."""
    rivals: Mapping[bytes, str]
    """The same for units that other campaigns of the plan are to begin."""
    repeated: set[str] = field(default_factory=set)
    """The digests of recipes that several steps have."""
    done: int = 0
    rows: dict[tuple[PlanAction, str, tuple[str, ...], str], list[int]] = field(default_factory=dict)
    coming: dict[str, dict[int, PlanAction]] = field(default_factory=dict)
    """Step → run → action, for the units that are not done; those to submit may be left out, since they can be a million.

    A step of another campaign has its campaign's name before it."""
    walks: dict[int, Walk] = field(default_factory=dict)
    """Place of a chain → the walk along it; for the step that is judged now."""
    named: dict[tuple[str, str], str] = field(default_factory=dict)
    """Digests of two payload sets → the difference in words."""

    def put(
        self, action: PlanAction, step: str, outputs: tuple[str, ...], reason: str, runs: Collection[int]
    ) -> None:
        self.rows.setdefault((action, step, outputs, reason), []).extend(runs)
        if action is not PlanAction.SUBMIT:
            self.coming.setdefault(step, {}).update(dict.fromkeys(runs, action))

    def add(self, units: StepUnits) -> None:
        name, elsewhere = units.step.name, self.observed.elsewhere
        columns = units.fingerprints
        absent = {output: find_absent(column, self.observed.produced) for output, column in columns.items()}
        for run, reason in units.waiting.items():
            action = PlanAction.BLOCKED if run in self.refused else PlanAction.WAITING
            self.put(action, name, tuple(columns), self.refused.get(run, reason), (run,))
        indices, *others = absent.values()
        known = self.find_known(units) if any(absent.values()) else set()
        if known is None or elsewhere or any(one != indices for one in others):
            self.add_apart(units, absent, known)
            return
        # the outputs of a unit are mostly produced together
        self.done += len(units.runs) - len(indices)
        runs = units.runs if len(indices) == len(units.runs) else [units.runs[index] for index in indices]
        if new := [run for run in runs if run not in known] if known else runs:
            self.put(PlanAction.SUBMIT, name, tuple(columns), NEW, new)
        if known:
            self.walks.clear()
            for index, run in zip(indices, runs, strict=True):
                if run in known:
                    self.judge(units, run, tuple(columns), index)

    def add_apart(
        self, units: StepUnits, absent: Mapping[str, Sequence[int]], known: AbstractSet[int] | None
    ) -> None:
        """Adds the units of a step of which some lack other outputs than others, or outputs that another campaign made."""
        name, elsewhere = units.step.name, self.observed.elsewhere
        missing: dict[str, set[int]] = {}  # output → the runs that lack it
        taken: dict[str, set[int]] = {}  # the same for outputs that another campaign made
        for output, indices in absent.items():
            column = units.fingerprints[output]
            there = {units.runs[one] for one in indices if elsewhere and column[one] in elsewhere}
            if there:
                taken[output] = there
            if len(there) < len(indices):
                missing[output] = {units.runs[one] for one in indices} - there
        lacking = set().union(*missing.values())
        reused = set().union(*taken.values()) - lacking
        self.done += len(units.runs) - len(lacking) - len(reused)
        new = set[int]()
        if missing and known is not None:
            new = set.intersection(*missing.values()) - known
        if new:
            self.put(PlanAction.SUBMIT, name, tuple(missing), NEW, sorted(new))
        for run in sorted(reused):
            outputs = _list_outputs(taken, run)
            place = bisect_left(units.runs, run)
            makers = {elsewhere[units.fingerprints[output][place]] for output in outputs}
            self.put(PlanAction.REUSE, name, outputs, f"taken over from {', '.join(sorted(makers))}", (run,))
        if lacking - new:
            self.walks.clear()
            for run in sorted(lacking - new):
                self.judge(units, run, _list_outputs(missing, run), bisect_left(units.runs, run))

    def name(self, step: str) -> str:
        return f"{self.campaign.name}/{step}"

    def claim_begun(self, units: Sequence[StepUnits]) -> None:
        """Notes which units began to make outputs that other steps would make too."""
        count = Counter(recipe.digest for item in units for recipe in item.recipes)
        self.repeated = {digest for digest, number in count.items() if number > 1}
        declared = {item.step.name for item in units}
        for (step, _), intent in self.observed.intents.items() if self.repeated else ():
            if step in declared and (intent.live or not intent.quarantined):
                self.claims.update(dict.fromkeys(intent.fingerprints, self.name(step)))

    def claim(self, units: StepUnits) -> None:
        """Notes what the units of a step are to make, if other steps would make the same."""
        step = units.step.name
        shared = [recipe.output for recipe in units.recipes if recipe.digest in self.repeated]
        claiming = [
            runs for (action, name, *_), runs in self.rows.items() if name == step and action in CLAIMING
        ]
        making = set().union(*claiming) if shared else set[int]()
        for output in shared:
            for run, value in zip(units.runs, units.fingerprints[output], strict=True):
                if run in making:
                    self.claims.setdefault(value, self.name(step))

    def find_known(self, units: StepUnits) -> AbstractSet[int] | None:
        """The runs that may be submitted only after further checks, since something is known about them; None if all are such.

        Others lack only an output. They are handled together, since there may be a million.
        """
        step, observed = units.step, self.observed
        if self.campaign.state == "held" or observed.unknown or observed.lost:
            return None
        known = {run for name, _, run in observed.made if name == step.name}
        known |= self.refused.keys() | units.refused.keys()
        known |= {run for name, run in observed.intents if name == step.name}
        known |= {run for run, action in self.find_coming(units).items() if action not in _COMING}
        claimed = self.claims.keys() | self.rivals.keys()
        for column in units.fingerprints.values() if claimed else ():
            known |= {run for run, value in zip(units.runs, column, strict=True) if value in claimed}
        return known

    def judge(self, units: StepUnits, run: int, outputs: tuple[str, ...], index: int) -> None:
        """Gives an action and a reason to one unit that is not done."""
        step = units.step
        wanted = frozenset(units.fingerprints[output][index] for output in outputs)
        action, reason = self.compare(units, run, outputs, index)
        intent = self.observed.intents.get((step.name, run))  # can have more outputs than are missing now
        upstream = self.coming.get(units.name_upstream(run) or "", {}).get(run, PlanAction.SUBMIT)
        if self.campaign.state == "held":
            action, reason = PlanAction.BLOCKED, "the campaign is held"
        elif refusal := self.refused.get(run) or units.refused.get(run):
            action, reason = PlanAction.BLOCKED, refusal
        elif wanted & self.observed.unknown:
            action, reason = PlanAction.UNKNOWN, "its storage cannot be read"
        elif intent is not None and intent.live:
            action, reason = PlanAction.IN_FLIGHT, "submitted"
            if not wanted <= intent.fingerprints:
                reason = "an attempt of an earlier plan is still running"
        elif intent is not None and (why := intent.find_quarantine(wanted)) is not None:
            action, reason = PlanAction.QUARANTINED, why
        elif makers := {self.claims[value] for value in wanted & self.claims.keys()} - {self.name(step.name)}:
            action, reason = PlanAction.WAITING, f"{', '.join(sorted(makers))} makes the same"
        elif rivals := {self.rivals[value] for value in wanted & self.rivals.keys()}:
            action, reason = PlanAction.WAITING, f"{', '.join(sorted(rivals))}{_CLAIMED}"
        elif upstream not in _COMING:
            action, reason = PlanAction.WAITING, tell_wait(units.name_upstream(run))
        elif intent is not None and wanted <= intent.fingerprints and intent.failure:
            reason = f"again, after: {intent.failure}"
        self.put(action, step.name, outputs, reason, (run,))

    def compare(
        self, units: StepUnits, run: int, outputs: Iterable[str], index: int
    ) -> tuple[PlanAction, str]:
        """Returns the action (submit or restate) and its reason, from the recipe of the last output and the declared one."""
        recipes = {recipe.output: recipe.content for recipe in units.recipes}
        reasons: dict[str, None] = {}
        lost: dict[str, None] = {}
        for output in outputs:
            made = self.observed.made.get((units.step.name, output, run))
            if trouble := self.observed.lost.get(units.fingerprints[output][index]):
                lost[LOST[trouble]] = None
            elif made is not None:
                changes = list(name_changes(made.recipe, recipes[output]))
                payload_set = units.payload_sets[index] if units.payload_sets else None
                if made.payload_set != payload_set:
                    changes.append(self.name_payloads(units, made.payload_set or "", payload_set or "", run))
                if made.input != units.inputs[index]:
                    why = self.removed.get((units.step.name, run))
                    files = "input files changed" + (f"; removed: {why}" if why else "")
                    changes.append("input restated" if units.find_registered(run) is None else files)
                reasons.update(dict.fromkeys(changes or ["produced before, with another fingerprint"]))
        if reasons:
            return PlanAction.RESTATE, "; ".join(reasons)
        return PlanAction.SUBMIT, "; ".join(lost) or NEW

    def name_payloads(self, units: StepUnits, before: str, after: str, run: int) -> str:
        """Which payloads changed, if the ledger knows the payloads of the earlier output.

        Runs must come in ascending order, since a `Walk` only goes forward.
        """
        if (before, after) not in self.named:
            known, what = self.observed.payloads.get(before), "payloads changed"
            if known is not None:
                place = units.chains.bound.get(run, 0)
                if place not in self.walks:
                    self.walks[place] = Walk(units.chains.of(run))
                what = name_payload_changes(known, self.walks[place].advance(run).checksums())
            self.named[before, after] = what
        return self.named[before, after]

    def groups(self, units: Sequence[StepUnits]) -> tuple[Group, ...]:
        self.apply_limits({item.step.name: item for item in units})
        columns = {item.step.name: _Column(item) for item in units} if self.rows or self.observed.made else {}
        for step, output, run in self.observed.made:
            column = columns.get(step)
            if column is None or output not in column.units.fingerprints or not column.declares(run):
                obsolete = (PlanAction.OBSOLETE, step, (output,), "no longer declared")
                self.rows.setdefault(obsolete, []).append(run)
        order = list(PlanAction)
        steps = {item.step.name: number for number, item in enumerate(units)}
        found = []
        for (action, step, outputs, reason), runs in self.rows.items():
            listed = tuple(sorted(runs))
            fingerprints = _digest_group(columns.get(step), outputs, listed)
            claimed = reason.endswith(_CLAIMED)
            found.append(Group(action, step, outputs, reason, listed, fingerprints, claimed))

        def rank(group: Group) -> tuple[Any, ...]:
            place = steps.get(group.step, len(steps))
            return order.index(group.action), place, group.outputs, group.reason, group.runs[:1]

        return tuple(sorted(found, key=rank))

    def find_coming(self, units: StepUnits) -> Mapping[int, PlanAction]:
        """Run → action on the unit that makes the input of a step's unit, where that is not done."""
        if units.source is None or not units.source.produced:
            upstream = units.step.input.step if units.source is None else "/".join(units.source.follows or ())
            return self.coming.get(upstream or "", {})
        coming: dict[int, PlanAction] = {}
        for one in units.source.produced:
            actions = self.coming.get("/".join(one.follows or ()), {})
            coming.update((run, action) for run, action in actions.items() if run in one.runs)
        return coming

    def apply_limits(self, declared: Mapping[str, StepUnits]) -> None:
        """Blocks the units that exceed the campaign's limits. Units that read them wait; `declared` has the units by step."""
        limits = self.campaign.limits
        restated = sum(len(runs) for (action, *_), runs in self.rows.items() if action == PlanAction.RESTATE)
        if restated > (allowed := self.campaign.max_restate):
            limit = "max_restate" if allowed == limits.max_restate else "restate.limit"
            self.block(declared, PlanAction.RESTATE, f"{limit} is {allowed}, to restate are {restated}")
        left_out = (PlanAction.OBSOLETE, PlanAction.BLOCKED)
        counted = (len(runs) for (action, *_), runs in self.rows.items() if action not in left_out)
        submitted = self.done + sum(counted)
        if submitted > limits.max_units:
            for action in MAKING:
                self.block(declared, action, f"max_units is {limits.max_units}, declared are {submitted}")

    def block(self, declared: Mapping[str, StepUnits], blocked: PlanAction, why: str) -> None:
        for (action, step, outputs, reason), runs in list(self.rows.items()):
            if action == blocked:
                del self.rows[action, step, outputs, reason]
                self.put(PlanAction.BLOCKED, step, outputs, f"{reason}; {why}", runs)
        for (action, step, outputs, reason), runs in list(self.rows.items()):
            upstream = self.find_coming(declared[step]) if action in MAKING else {}
            held = [run for run in runs if upstream.get(run, PlanAction.SUBMIT) not in _COMING]
            if held:
                self.rows[action, step, outputs, reason] = sorted(set(runs).difference(held))
            for run in held:
                self.put(
                    PlanAction.WAITING, step, outputs, tell_wait(declared[step].name_upstream(run)), (run,)
                )
        self.rows = {key: runs for key, runs in self.rows.items() if runs}


def _list_outputs(runs: Mapping[str, set[int]], run: int) -> tuple[str, ...]:
    return tuple(output for output, here in runs.items() if run in here)


def digest_group(units: StepUnits, outputs: tuple[str, ...], runs: tuple[int, ...]) -> str:
    """The digest of all that determines some outputs of these sorted runs: recipes, inputs and payload sets."""
    return _digest_group(_Column(units), outputs, runs)


def _digest_group(column: _Column | None, outputs: tuple[str, ...], runs: tuple[int, ...]) -> str:
    """As `digest_group`; empty for a step or an output that is no longer declared."""
    if column is None or any(output not in column.units.fingerprints for output in outputs):
        return ""
    units = column.units
    whole = len(runs) == len(units.runs) and runs == tuple(units.runs)
    found = sha256("".join(one.digest for one in units.recipes if one.output in outputs).encode())
    there = [] if whole else find_places(units.runs, runs)
    for values in (units.inputs, units.payload_sets or ()):
        for text in write(values if whole or not values else choose(values, there)):
            found.update(text.encode())
    return found.hexdigest()


@dataclass(frozen=True, slots=True)
class _Column:
    """The units of a step, whose indices are found by run."""

    units: StepUnits

    def find(self, run: int) -> int | None:
        """The index of a run in the columns; None if it has none."""
        runs = self.units.runs
        place = bisect_left(runs, run)
        return place if place < len(runs) and runs[place] == run else None

    def declares(self, run: int) -> bool:
        """Whether the run is declared, even if its input does not exist yet."""
        return self.find(run) is not None or run in self.units.waiting
