"""The deviations of a campaign from the standard, as a plan lists them: each once, with its steps."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from schemas.manifest.deviation import Deviations, Scan
from schemas.manifest.step import Step


@dataclass(frozen=True, slots=True)
class Told:
    """One deviation: what it is, in which steps, why, and where that was agreed."""

    what: str
    steps: tuple[str, ...]
    reason: str
    ticket: str

    def data(self) -> dict[str, Any]:
        """The deviation as JSON data."""
        return {"what": self.what, "steps": list(self.steps), "reason": self.reason, "ticket": self.ticket}


def tell_deviations(steps: Iterable[Step]) -> tuple[Told, ...]:
    """The overrides, testing payloads, additional branches and scans of the steps of a campaign, in their order."""
    found: dict[tuple[str, str, str], list[str]] = {}
    for step in steps:
        for told in _tell_step(step):
            found.setdefault(told, []).append(step.name)
    return tuple(Told(what, tuple(steps), reason, ticket) for (what, reason, ticket), steps in found.items())


def _tell_step(step: Step) -> Iterator[tuple[str, str, str]]:
    yield from _tell(step.deviations)
    for scan in step.scans:
        told = [one for _, deviations in scan.points for one in _tell(deviations)]
        if told:
            points = ", ".join(name for name, _ in scan.points)
            yield f"scan {scan.name}{_name_target(scan)}: {points}", *told[0][1:]


def _tell(deviations: Deviations) -> Iterator[tuple[str, str, str]]:
    for one in deviations.overrides:
        value = json.dumps(one.value, ensure_ascii=False)
        yield f"{one.module}.{one.parameter} = {value}", one.reason, one.ticket
    for local in deviations.testing_payloads:
        yield f"testing payloads {local.name}", local.reason, local.ticket
    for branch in deviations.additional_branches:
        yield f"additional branch {branch.name}", branch.reason, branch.ticket


def _name_target(scan: Scan) -> str:
    """What is scanned: a payload, or a parameter of a module."""
    if scan.payload is not None:
        return f" of payload {scan.payload}"
    overrides = [one for _, deviations in scan.points for one in deviations.overrides]
    return f" of {overrides[0].module}.{overrides[0].parameter}" if overrides else ""
