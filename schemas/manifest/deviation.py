"""Deviations from the standard: overrides of module parameters, testing payloads, scans of either, additional branches."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

Scalar = str | int | float | bool
Parameter = Scalar | tuple[Scalar, ...]


@dataclass(frozen=True, slots=True)
class Override:
    """A module parameter that is set after the standard path is built, with the reason and the ticket."""

    module: str
    parameter: str
    value: Parameter
    reason: str
    ticket: str


@dataclass(frozen=True, slots=True)
class TestingPayloads:
    """Payloads that have priority over all global tags: the name of their snapshot, the reason and the ticket."""

    name: str
    reason: str
    ticket: str


@dataclass(frozen=True, slots=True)
class AdditionalBranch:
    """A branch that is written in addition to those of the data level, with the reason and the ticket."""

    name: str
    reason: str
    ticket: str


@dataclass(frozen=True, slots=True)
class Deviations:
    """The deviations of a step. The first testing payloads win; the last override wins."""

    overrides: tuple[Override, ...] = ()
    testing_payloads: tuple[TestingPayloads, ...] = ()
    additional_branches: tuple[AdditionalBranch, ...] = ()

    def __add__(self, other: Deviations) -> Deviations:
        return Deviations(
            self.overrides + other.overrides,
            other.testing_payloads + self.testing_payloads,
            self.additional_branches + other.additional_branches,
        )

    def __bool__(self) -> bool:
        return bool(self.overrides or self.testing_payloads or self.additional_branches)


@dataclass(frozen=True, slots=True)
class Scan:
    """A scan of one module parameter, or of one payload (`payload`): name of each point → its deviations.

    A scan with neither, or with both, has no points.
    """

    name: str
    points: tuple[tuple[str, Deviations], ...]
    payload: str | None = None


STANDARD = Deviations()


def read_scans(data: Mapping[str, Any]) -> tuple[Scan, ...]:
    """The scans in a step's data, in their order."""
    scans = data.get("scan", {}).items()
    return tuple(Scan(name, tuple(_read_points(scan)), scan.get("payload")) for name, scan in scans)


def freeze(value: Any) -> Parameter:
    """The value; a list becomes a tuple."""
    return tuple(value) if isinstance(value, list) else value


def _read_points(scan: Mapping[str, Any]) -> Iterator[tuple[str, Deviations]]:
    why = {"reason": scan["reason"], "ticket": scan["ticket"]}
    for point, value in scan["values"].items() if ("payload" in scan) != ("module" in scan) else ():
        if "payload" in scan:
            yield point, Deviations(testing_payloads=(TestingPayloads(str(value), **why),))
        else:
            override = Override(scan["module"], scan.get("parameter", ""), freeze(value), **why)
            yield point, Deviations((override,))
