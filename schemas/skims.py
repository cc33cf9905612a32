"""Skim menus: named selections, by a cut or by a stored decision."""

from __future__ import annotations

from dataclasses import dataclass

from schemas.cut import Cut, CutSyntaxError, canonical, parse_cut
from schemas.document import Document
from schemas.finding import Finding
from schemas.pointing import point_into


@dataclass(frozen=True, slots=True)
class Skim:
    """One selection: either `cut`, or the `decision` that `line` stored in the file."""

    name: str
    cut: Cut | None = None
    line: str | None = None
    decision: str = "final"

    def describe(self) -> dict[str, str]:
        """What determines the events that are selected: the normal form of the cut, or line and decision."""
        if self.cut is not None:
            return {"cut": canonical(self.cut)}
        return {"line": self.line or "", "decision": self.decision}


def read_skims(document: Document) -> tuple[tuple[Skim, ...], tuple[Finding, ...]]:
    """The skims of a menu that the schema `skims/1` has accepted, and what is wrong with their cuts."""
    skims: list[Skim] = []
    findings: list[Finding] = []
    for name, data in document.data["skims"].items():
        path = ("skims", name)
        if ("cut" in data) == ("line" in data):
            message = (
                f"skim {name} needs either `cut` or `line`, not {'both' if 'cut' in data else 'neither'}"
            )
            findings.append(Finding(document.key_place(path), "BP207", message, "keep one of the two"))
        elif "decision" in data and "cut" in data:
            place = document.key_place((*path, "decision"))
            findings.append(Finding(place, "BP207", "`decision` goes with `line` only", "remove it"))
        elif "line" in data:
            skims.append(Skim(name, line=data["line"], decision=data.get("decision", "final")))
        else:
            try:
                skims.append(Skim(name, cut=parse_cut(data["cut"])))
            except CutSyntaxError as error:
                at = point_into(document, (*path, "cut"), error.column - 1)
                message = (
                    f"the cut of {name} does not parse: {error.problem} (character {error.column} of the cut)"
                )
                findings.append(Finding(at, "BP516", message, error.hint))
    return tuple(skims), tuple(findings)
