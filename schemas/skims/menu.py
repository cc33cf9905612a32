"""Skim menus: named selections of events, by a cut, by a stored decision, or by a skim of basf2's registry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from schemas.conditions.iov import Interval, merge_intervals, parse_iov, subtract_all
from schemas.findings.finding import Finding
from schemas.json_schema.values import read_value
from schemas.skims.cut_error import CutSyntaxError
from schemas.skims.cut_tree import Cut, canonical
from schemas.yaml.composer import Path
from schemas.yaml.document import Document, find_value
from schemas.yaml.scalars import show
from schemas.yaml.wording import suggest

DEFINITIONS = ("cut", "line", "registry")
"""A skim has exactly one of these keys."""


@dataclass(frozen=True, slots=True)
class RegistrySkim:
    """A skim as basf2 registers it (`skim/scripts/skim/registry.py`); the meaning of its code never changes."""

    code: str
    module: str
    name: str

    def describe(self) -> dict[str, Any]:
        """The fields that identify it, as JSON data."""
        return {"code": self.code, "name": self.name}


@dataclass(frozen=True, slots=True)
class Validity:
    """The data whose files have an HLT line; trigger menus change.

    `runs` are those for which the HLT had the line, as sorted intervals of run keys that do not overlap or touch; `releases`
    are prefixes of the releases whose reconstruction calculates it.
    """

    runs: tuple[Interval, ...] = ()
    releases: tuple[str, ...] = ()

    def find_outside(self, runs: Sequence[Interval]) -> tuple[Interval, ...]:
        """The parts of the sorted intervals `runs` in which the HLT did not have the line."""
        return subtract_all(runs, self.runs)

    def serves(self, release: str) -> bool:
        """Whether a reconstruction in `release` calculates the line; a prerelease counts as its release.

        >>> Validity(releases=("release-03-00",)).serves("prerelease-03-00-00b")
        True
        """
        name = release.removeprefix("pre")
        return any(re.match(rf"{re.escape(one)}(?![0-9])", name) for one in self.releases)


@dataclass(frozen=True, slots=True)
class Skim:
    """One selection: `cut`, or the `decision` that `line` stored in the file, or a skim that basf2 has `registered`.

    With `combines`, the names of registered skims of the menu, it selects the events of any of them; `members` are these skims.
    `validity` is that of its line; None if its menu does not state it.
    """

    name: str
    cut: Cut | None = None
    line: str | None = None
    decision: str = "final"
    registered: RegistrySkim | None = None
    combines: tuple[str, ...] = ()
    members: tuple[RegistrySkim, ...] = ()
    validity: Validity | None = None

    @property
    def kind(self) -> str:
        """How it selects: cut, line, registry or combined."""
        if self.combines:
            return "combined"
        return "cut" if self.cut is not None else "line" if self.line is not None else "registry"

    def describe(self) -> dict[str, Any]:
        """What determines the selected events: the cut's normal form, line and decision, or codes and names."""
        if self.cut is not None:
            return {"cut": canonical(self.cut)}
        if self.registered is None:
            return {"line": self.line or "", "decision": self.decision}
        described: dict[str, Any] = self.registered.describe()
        if self.combines:
            described["combines"] = [one.describe() for one in sorted(self.members, key=lambda one: one.code)]
        return described


def read_skims(document: Document) -> tuple[tuple[Skim, ...], tuple[Finding, ...]]:
    """The skims of a menu that the schema `skims/1` has accepted, without their `members`, and the findings."""
    from schemas.skims.cut import parse_cut  # noqa: PLC0415 -- the parser loads slowly, and most commands read no cut

    skims: list[Skim] = []
    findings: list[Finding] = []
    whole = _read_validity(document, (), findings)
    for name, data in document.data["skims"].items():
        path = ("skims", name)
        given = [key for key in DEFINITIONS if key in data]
        alone = next((key for key, needed in _NEEDS.items() if key in data and needed not in data), None)
        if len(given) != 1:
            message = f"{name} needs one of `cut`, `line` and `registry`, not {' and '.join(given) or 'none'}"
            findings.append(document.report_key(path, "BP207", message, "keep one of them"))
        elif alone is not None:
            message = f"`{alone}` goes with `{_NEEDS[alone]}` only"
            findings.append(document.report_key((*path, alone), "BP207", message, "remove it"))
        elif "cut" in data:
            try:
                skims.append(Skim(name, cut=parse_cut(data["cut"])))
            except CutSyntaxError as error:
                at = document.point_into((*path, "cut"), error.column - 1)
                message = f"the cut of {name} does not parse: {error.problem} (character {error.column})"
                findings.append(Finding(at, "BP516", message, error.hint))
        else:
            own = _read_validity(document, path, findings) or whole
            registered = RegistrySkim(**data["registry"]) if "registry" in data else None
            validity = own if "line" in data else None
            skims.append(read_value(Skim, data, name=name, registered=registered, validity=validity))
    return tuple(skims), tuple(findings)


_NEEDS = {"decision": "line", "holds_for": "line", "combines": "registry"}


def _read_validity(document: Document, path: Path, findings: list[Finding]) -> Validity | None:
    """The `holds_for` of a menu, or of the skim at `path`, or None; wrong intervals become findings."""
    data = find_value(document.data, path)
    if "holds_for" not in data:
        return None
    runs: list[Interval] = []
    for index, text in enumerate(data["holds_for"].get("runs", ())):
        try:
            runs.append(parse_iov(text))
        except ValueError as error:
            message, _, hint = str(error).partition("; ")
            at = (*path, "holds_for", "runs", index)
            hint = hint or "write it as in `exp 3, runs 5 - 9`"
            findings.append(document.report(at, "BP402", message, hint))
    return Validity(merge_intervals(runs), tuple(data["holds_for"].get("releases", ())))


def combine_skims(skims: Mapping[str, Skim]) -> dict[str, Skim]:
    """The skims with their `members`; members that do not exist are left out."""
    registered = {name: skim.registered for name, skim in skims.items() if skim.registered is not None}
    return {
        name: replace(skim, members=tuple(registered[one] for one in skim.combines if one in registered))
        for name, skim in skims.items()
    }


def check_members(document: Document, skims: Mapping[str, Skim], known: Sequence[str]) -> list[Finding]:
    """Findings on the members of the skims of a menu; `known` are the skims of all menus."""
    findings = []
    for name, data in document.data["skims"].items():
        for index, member in enumerate(data.get("combines", ())):
            path = ("skims", name, "combines", index)
            if member not in known:
                hint = suggest(member, known, "define it, or take it out")
                message = f"{name} combines {show(member)}, which is on no menu"
                findings.append(document.report(path, "BP517", message, hint))
            elif member in skims and skims[member].kind != "registry":
                message = f"{name} combines {show(member)}, which is not a single skim of basf2's registry"
                findings.append(document.report(path, "BP509", message, "take it out"))
    return findings
