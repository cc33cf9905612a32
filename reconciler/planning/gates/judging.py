"""Judges the stages of a scheme by their evidence: which have passed, what is lacking, and whose move it is. Pure.

The gate of a stage is open when all stages of its `after` have passed. A stage has passed when its gate is open, its evidence
lacks nothing, and its roles have signed just this evidence. So evidence of a later stage never closes an earlier gate.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from enum import StrEnum
from typing import Any

from reconciler.model.sign_offs import ReadSignOffs, SignOffMatter, SignOffs
from reconciler.planning.gates.evidence import StageEvidence, StepCount
from reconciler.planning.gates.told_evidence import describe_evidence, list_times
from reconciler.validation.results import ValidationVerdict
from schemas.files.canonical import digest
from schemas.manifest.scheme import (
    ANNOUNCE,
    BY_PEOPLE,
    COMPARE,
    HAND_OVER,
    MAKE,
    PUBLISH,
    RunBucket,
    Scheme,
    Stage,
)
from schemas.policy.validation import Validation

GATE = "gate "
"""The beginning of the reason of every unit that waits for a gate."""


class StageState(StrEnum):
    """The state of a stage."""

    PASSED = "passed"
    """Nothing is lacking: the stages after it may go."""
    OPEN = "open"
    """Its gate is open, and it is not done yet."""
    HELD = "held"
    """Its gate is open, and what was seen speaks against it: a person must do something."""
    WAITING = "waiting"
    """Its gate is closed: a stage before it has not passed."""
    UNKNOWN = "unknown"
    """Its evidence cannot be read."""


@dataclass(frozen=True, slots=True)
class Lack:
    """Something that a stage lacks, in words. `whose` are the roles whose move it is; none: b2prod makes it by itself.

    `command` is what to do next. With `against`, something that was seen speaks against the stage.
    """

    text: str
    whose: tuple[str, ...] = ()
    command: str = ""
    against: bool = False


@dataclass(frozen=True, slots=True)
class StageStatus:
    """A stage at one moment, for one bucket or all runs.

    `evidence` is what was seen, in words. `lacks` are empty if it has passed, and say of a stage that waits what the stages
    before it lack. `blocker` is the stage that lacks it: this one or one before. `matter` is what its roles sign. `since` is the time of the newest
    evidence that its gate opened by; None if it is closed, or opened by no evidence with a time. `is_ready`: it may be done now,
    or was: nothing is lacking but that it is done. `unpublished` are the datasets that it publishes, and that are not yet.
    """

    scheme: str
    stage: Stage
    bucket: str | None
    state: StageState
    evidence: tuple[str, ...]
    lacks: tuple[Lack, ...]
    blocker: Stage
    iteration: int
    due: date | None
    matter: SignOffMatter | None = None
    sign_offs: SignOffs | None = None
    since: str | None = None
    is_ready: bool = False
    unpublished: tuple[str, ...] = ()

    @property
    def is_closed(self) -> bool:
        """Whether its gate holds units back."""
        return self.state is StageState.WAITING

    def is_overdue(self, today: date) -> bool:
        """Whether its last day has passed, and something is still lacking."""
        return self.due is not None and self.state is not StageState.PASSED and today > self.due

    def name_gate(self) -> str:
        """Its name for commands, as in `proc8/calibrate` or `GCR5/compare.bucket1`."""
        name = self.stage.name if self.bucket is None else f"{self.stage.name}.{self.bucket}"
        return f"{self.scheme}/{name}"

    @property
    def whose(self) -> tuple[str, ...]:
        """The roles whose move it is; none if it is b2prod's, or nobody's."""
        return self.lacks[0].whose if self.lacks else ()

    def tell(self) -> str:
        """Why its units wait, and whose move it is: `gate calibrate, iteration 2: CDCTimeZeros not returned, due 2019-02-15, calibration`."""
        first, *others = self.lacks
        where = f"{GATE}{self.blocker.name}"
        where += f", iteration {self.iteration}" if self.iteration else ""
        where += f", {self.bucket}" if self.bucket is not None else ""
        more = f" (and {len(others)} more)" if others else ""
        due = f", due {self.due.isoformat()}" if self.due is not None else ""
        whose = f", {' and '.join(first.whose)}" if first.whose else ""
        return f"{where}: {first.text}{more}{due}{whose}"


FindValidation = Callable[[str], Validation | None]
"""The criteria of a name that count; None if there are none that can be read."""


def judge_scheme(
    scheme: Scheme,
    evidence: Mapping[str, StageEvidence],
    read_sign_offs: ReadSignOffs,
    bucket: RunBucket | None = None,
) -> tuple[StageStatus, ...]:
    """The stages in their order, for a bucket or all runs. `evidence` has that of each stage by its name."""
    judged: dict[str, StageStatus] = {}
    facts: dict[str, Mapping[str, Any]] = {}
    for stage in scheme.order_stages():
        seen = evidence[stage.name]
        facts[stage.name] = _gather_facts(stage, bucket, seen, facts)
        matter = describe_matter(scheme, stage, seen, facts[stage.name], bucket)
        before = [judged[name] for name in stage.after if name in judged]
        closed = next((one for one in before if one.state is not StageState.PASSED), None)
        own = list(_list_lacks(scheme, stage, seen, bucket))
        signs = None
        if matter is not None and not own and seen.unread is None:
            signs = read_sign_offs(matter)
            own += _list_unsigned(scheme, stage, bucket, signs)
        ready = closed is None and not own and seen.unread is None
        if stage.does == PUBLISH:
            facts[stage.name] = {**facts[stage.name], "published": _list_published(seen)}
            # roles sign what was seen before: that it may be published
            own += _list_unpublished(stage, seen, bucket) if not own else ()
        if stage.does == ANNOUNCE and not stage.sign and seen.unread is None:
            own += _list_unannounced(stage, seen)  # else people sign that it is done, here or elsewhere
        due = stage.due if bucket is None or bucket.due is None else bucket.due
        if closed is not None:
            # the stage that lacks it, with its own day and iteration
            state, lacks, blocker = StageState.WAITING, closed.lacks, closed.blocker
            iteration, due = closed.iteration, closed.due
        else:
            blocker, iteration = stage, seen.iteration
            lacks = tuple(own)
            state = StageState.PASSED
            if seen.unread is not None:
                state, lacks = StageState.UNKNOWN, (Lack(seen.unread, against=True),)
            elif own:
                state = StageState.HELD if any(one.against for one in own) else StageState.OPEN
        times = [time for one in before for time in list_times(evidence[one.stage.name])]
        since = max(times) if times and closed is None else None
        name = None if bucket is None else bucket.name
        lines = tuple(describe_evidence(stage, seen))
        judged[stage.name] = StageStatus(
            scheme.name,
            stage,
            name,
            state,
            lines,
            lacks,
            blocker,
            iteration,
            due,
            matter,
            signs,
            since,
            ready,
            tuple(one.name for one in seen.published if one.lacking is not None),
        )
    return tuple(judged[one.name] for one in scheme.stages)


def name_subject(scheme: Scheme, stage: Stage, bucket: RunBucket | None) -> str:
    """The subject of signatures on a stage, as in `gate/proc8/calibrate` or `gate/GCR5/compare.bucket1`."""
    return f"gate/{scheme.name}/{name_gate(stage, bucket)}"


def name_gate(stage: Stage, bucket: RunBucket | None) -> str:
    """The name of a stage within its scheme, with that of a bucket: `calibrate` or `calibrate.bucket1`."""
    return stage.name if bucket is None else f"{stage.name}.{bucket.name}"


def describe_matter(
    scheme: Scheme, stage: Stage, seen: StageEvidence, facts: Mapping[str, Any], bucket: RunBucket | None
) -> SignOffMatter | None:
    """What the roles of a stage sign; None if nobody signs it. Days, titles and the order of stages are in no signature."""
    if not stage.sign:
        return None
    lines = (_describe_asked(stage, bucket), *describe_evidence(stage, seen))
    return SignOffMatter(name_subject(scheme, stage, bucket), facts, lines, stage.sign)


def _gather_facts(
    stage: Stage, bucket: RunBucket | None, seen: StageEvidence, before: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Any]:
    """What a stage asks, and the digests of its evidence: else a signature would count for what is asked by a later change."""
    return {"asked": _ask(stage, bucket), **_gather_digests(stage, seen, before)}


def _ask(stage: Stage, bucket: RunBucket | None) -> Mapping[str, Any]:
    """What a stage asks, by the keys of its file; in which order names stand there says nothing."""
    asked: dict[str, Any] = {stage.does: sorted(stage.names), "sign": sorted(stage.sign)}
    if stage.does == MAKE:
        asked["complete"] = float(stage.complete)
    elif stage.does == COMPARE:
        asked |= {"against": stage.against, "by": stage.by}
    elif stage.does == HAND_OVER:
        asked |= {"payloads": sorted(stage.payloads), "returns": stage.returns}
    if bucket is not None:
        asked["runs"] = [
            f"{bucket.experiment}:{one}" for one in sorted(bucket.ranges, key=lambda one: one.first)
        ]
    return asked


def _describe_asked(stage: Stage, bucket: RunBucket | None) -> str:
    """What a stage asks, in words."""
    asked = _ask(stage, bucket).items()
    told = (f"{key} {', '.join(one) if isinstance(one, list) else one}" for key, one in asked)
    return f"asked: {'; '.join(told)}"


def _gather_digests(
    stage: Stage, seen: StageEvidence, before: Mapping[str, Mapping[str, Any]]
) -> Mapping[str, Any]:
    """The digests of the evidence of a stage: of what was made, of a comparison, of editions and snapshots.

    Of what only people do, there is none but that of the stages before.
    """
    if stage.does == MAKE:
        return {"made": {one.name: one.content or f"{one.made} runs" for one in seen.counts}}
    if stage.does == COMPARE:
        return {"comparison": None if seen.comparison is None else seen.comparison.digest}
    if stage.does == HAND_OVER:
        one = seen.hand_over
        return {
            "hand_over": None if one is None else one.digest,
            "editions": {} if one is None else dict(one.editions),
            "returned": None if one is None else one.return_digest,
            "snapshot": None if one is None else one.tag,
        }
    after = {name: digest(dict(before[name])) for name in stage.after if name in before}
    return {"after": after}


def _list_lacks(
    scheme: Scheme, stage: Stage, seen: StageEvidence, bucket: RunBucket | None
) -> Iterator[Lack]:
    """What the evidence of a stage lacks, without signatures."""
    if stage.does == MAKE:
        if not seen.counts:
            yield Lack(f"nothing of {stage.name} is declared yet")
        yield from (
            Lack(_tell_missing(one, stage.complete), command=f"b2prod status {one.name.partition('/')[0]}")
            for one in seen.counts
            if not one.reaches(stage.complete)
        )
    elif stage.does == COMPARE:
        yield from _judge_comparison(stage, seen, bucket)
    elif stage.does == HAND_OVER:
        yield from _judge_hand_over(scheme, stage, seen, bucket)


def _tell_missing(count: StepCount, share: float) -> str:
    if not count.declared:
        return f"no run of {count.name} is declared yet"
    kinds = ", ".join(f"{number} {word}" for word, number in sorted(count.missing.items()))
    wanted = "" if share == 1 else f", {share:.1%} are wanted"
    return f"{count.made} of {count.declared} runs of {count.name} are made{wanted} ({kinds})"


def _judge_comparison(stage: Stage, seen: StageEvidence, bucket: RunBucket | None) -> Iterator[Lack]:
    whose = stage.sign
    runs = "" if bucket is None else f" --runs {bucket.experiment}:{','.join(map(str, bucket.ranges))}"
    command = f"b2prod compare {stage.names[0]} {stage.against} --by {stage.by}{runs} --keep"
    found = seen.comparison
    if found is None:
        yield Lack(f"{stage.names[0]} is not compared with {stage.against} yet", whose, command)
    elif found.stale is not None:
        yield Lack(f"the comparison is stale: {found.stale}", whose, command)
    elif found.verdict == ValidationVerdict.WARN and not stage.sign:
        text = "the verdict is warn, and the stage has no `sign`, with the roles that may accept it"
        yield Lack(text, whose, f"b2prod compare {found.digest}", against=True)
    elif found.verdict not in (ValidationVerdict.PASS, ValidationVerdict.WARN):
        yield Lack(f"the verdict is {found.verdict}", whose, f"b2prod compare {found.digest}", against=True)


def _judge_hand_over(
    scheme: Scheme, stage: Stage, seen: StageEvidence, bucket: RunBucket | None
) -> Iterator[Lack]:
    whose, found = stage.sign, seen.hand_over
    gate = name_gate(stage, bucket)
    returning = f"b2prod payloads return FOLDER --scheme {scheme.name} --stage {gate} -o DIR"
    command = f"b2prod handover {scheme.name} {gate} -o DIR"
    if found is None:
        yield Lack(f"{', '.join(stage.names)} not handed over", command=command)
    elif found.partial is not None:
        yield Lack(f"only a part was handed over: {found.partial}", command=command)
    elif found.return_digest is None and found.again is not None:
        # once payloads are back they are judged with what they were made from: then it is only told
        yield Lack(f"{found.again} after the hand-over of {found.created}; hand over again", command=command)
    elif found.return_digest is None:
        yield Lack(f"{', '.join(stage.payloads)} not returned", whose, returning)
    elif missing := sorted({*stage.payloads} - {*found.returned}):
        yield Lack(f"{', '.join(missing)} not returned", whose, returning)
    elif more := sorted({*found.returned} - {*stage.payloads}):
        text = f"{', '.join(more)} returned, and not declared"
        yield Lack(text, whose, returning, against=True)
    elif found.tag is None:
        text = f"the payloads are returned, and {stage.returns} is as before"
        yield Lack(text, whose, f"upload them, then `b2prod gt pull {stage.returns}`")
    elif found.differences:
        first, *others = found.differences
        text = f"{stage.returns} does not hold exactly what was returned: {first}"
        text += f" (and {len(others)} more)" if others else ""
        yield Lack(text, whose, f"b2prod gt pull {stage.returns}", against=True)


def _list_published(seen: StageEvidence) -> Mapping[str, str | None]:
    """Dataset → the digest of its edition that was published."""
    return {one.name: one.digest if one.lacking is None else None for one in seen.published}


def _list_unpublished(stage: Stage, seen: StageEvidence, bucket: RunBucket | None) -> Iterator[Lack]:
    """What is not published of what a stage publishes."""
    runs = "" if bucket is None else f" --runs {bucket.experiment}:{','.join(map(str, bucket.ranges))}"
    if not seen.published:
        yield Lack(f"nothing of {', '.join(stage.names)} is declared yet", stage.sign)
    for one in seen.published:
        if one.lacking is not None:
            name, _, number = one.name.partition(":")
            freeze = "" if number else f"`b2prod dataset freeze {name}{runs}`, then "
            yield Lack(one.lacking, stage.sign, f"{freeze}b2prod publish {name}:{number or 'N'}")


def _list_unannounced(stage: Stage, seen: StageEvidence) -> Iterator[Lack]:
    """What is not announced of what a stage announces."""
    if not seen.announced:
        yield Lack(f"nothing of {', '.join(stage.names)} is declared yet")
    for one in seen.announced:
        if one.lacking is not None:
            name, _, number = one.name.partition(":")
            yield Lack(one.lacking, command=f"b2prod announce {name}:{number or 'N'}")


def _list_unsigned(scheme: Scheme, stage: Stage, bucket: RunBucket | None, signs: SignOffs) -> Iterator[Lack]:
    gate = f"{scheme.name}/{name_gate(stage, bucket)}"
    command = f"b2prod approve --gate {gate}"
    if signs.obstacle is not None:
        yield Lack(f"no signature counts: {signs.obstacle}", stage.sign, command)
        return
    for role, why in sorted(signs.missing.items()):
        void = [one for one in signs.void if one.role == role]
        text = (
            f"not signed by {role} ({why})"
            if not void
            else f"the signature of {void[0].principal} is void: {void[0].reason}"
        )
        if stage.does in BY_PEOPLE:
            text = f"{stage.does} is done by people, who sign when it is: {text}"
        yield Lack(text, (role,), f"{command} --role {role}", against=bool(void))
