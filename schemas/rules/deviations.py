"""Rules on what deviates from the standard: overrides, testing payloads, scans, additional branches."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.conditions.local_database import find_misreadings
from schemas.conditions.snapshot import LOCAL
from schemas.findings.finding import Finding
from schemas.manifest.deviation import TestingPayloads
from schemas.manifest.step import Step
from schemas.manifest.template import DEVIATIONS
from schemas.repository import GLOBAL_TAGS, SITES, Declared, Repository
from schemas.rules.support.documents import find_clash, spell
from schemas.yaml.composer import Path
from schemas.yaml.scalars import show
from schemas.yaml.wording import suggest

KEYS = ("overrides", "testing_payloads", "scan", "additional_branches")
STRICT = "reprocessing"
"""The kind of campaign that is the standard, and nothing else."""

DERIVED = {
    ("RootInput", "inputFileNames"): "the job's input files",
    ("RootInput", "inputFileName"): "the job's input files",
    ("RootOutput", "outputFileName"): "the names that the layout and the level give",
}
"""Parameters that the tool sets itself, and what from."""


def check_deviations(repository: Repository) -> Iterator[Finding]:
    """Ensure that deviations occur where they are allowed, and that the template of the step sets them."""
    for declared, step in _deviating(repository):
        document = declared.document
        given = document.data["steps"][step.name]
        for key in KEYS:
            if key in given and declared.campaign.kind == STRICT:
                message = f"`{key}` in a campaign of `kind: {STRICT}`, which is the standard and nothing else"
                hint = "ask for a patch release, or study it in a campaign of `kind: calibration`"
                yield find_clash(document, ("kind",), ("steps", step.name, key), message, hint, "BP513")
        template = repository.templates.get(step.template or "")
        if template is None:
            continue
        for key, kinds in _find_kinds(step):
            if kinds <= template.deviates:
                continue
            others = [
                one.name
                for one in repository.templates.values()
                if kinds <= one.deviates
                and one.superseded is None
                and one.name.split("/")[0] == template.name.split("/")[0]
                and (declared.campaign.release is None or one.serves(declared.campaign.release))
            ]
            place = document.key_place(("steps", step.name, key))
            hint = f"choose {', '.join(others)}" if others else "choose a template that does"
            yield Finding(place, "BP512", f"{template.name} does not set `{key}`", hint)


def _find_kinds(step: Step) -> Iterator[tuple[str, frozenset[str]]]:
    """The keys of a step by which it deviates, and what its template must set for each."""
    for kind in DEVIATIONS:
        if getattr(step.deviations, kind):
            yield kind, frozenset({kind})
    points = [deviations for scan in step.scans for _, deviations in scan.points]
    if points:
        yield "scan", frozenset(kind for kind in DEVIATIONS if any(getattr(one, kind) for one in points))


def check_overrides(repository: Repository) -> Iterator[Finding]:
    """Ensure that no parameter is set twice, nor one that the tool derives."""
    for declared, step in _deviating(repository):
        document, first = declared.document, dict[tuple[str, str], int]()
        for index, one in enumerate(step.deviations.overrides):
            path = ("steps", step.name, "overrides")
            key = (one.module, one.parameter)
            if key in DERIVED:
                place = document.place((*path, index, "parameter"))
                message = f"{one.module}.{one.parameter} is derived: {show(one.parameter)} <- {DERIVED[key]}"
                yield Finding(place, "BP512", message, "remove it")
            elif first.setdefault(key, index) != index:
                places = (*path, first[key]), (*path, index)
                message = f"{one.module}.{one.parameter} is overridden twice"
                yield find_clash(document, *places, message, "keep one of them", "BP512")


WHOLE = "dst"
"""The data level that has all branches as it is."""


def check_branches(repository: Repository) -> Iterator[Finding]:
    """Ensure that additional branches are each named once, and that an output has branches of its own to add them to."""
    for declared, step in _deviating(repository):
        document, first = declared.document, dict[str, int]()
        path = ("steps", step.name, "additional_branches")
        for index, one in enumerate(step.deviations.additional_branches):
            if first.setdefault(one.name, index) != index:
                places = (*path, first[one.name], "name"), (*path, index, "name")
                message = f"the branch {one.name} is added twice"
                yield find_clash(document, *places, message, "keep one of them", "BP512")
        if first and not step.skims and set(step.outputs) == {WHOLE}:
            message = f"the step {step.name} writes {WHOLE} alone, which has all branches as it is"
            yield Finding(
                document.key_place(path), "BP512", message, "remove it, or write another data level"
            )


def check_modules(repository: Repository) -> Iterator[Finding]:
    """Ensure that a module whose parameter is set, or scanned, is in the path that the template makes."""
    for declared, step in _deviating(repository):
        template = repository.templates.get(step.template or "")
        if template is None or template.modules is None:
            continue
        given = declared.document.data["steps"][step.name]
        wanted: list[tuple[Path, str]] = [
            (("overrides", index, "module"), one["module"])
            for index, one in enumerate(given.get("overrides", ()))
        ]
        wanted += [
            (("scan", name, "module"), scan["module"])
            for name, scan in given.get("scan", {}).items()
            if "module" in scan
        ]
        for path, module in wanted:
            if not template.may_have(module):
                message = f"the path of {template.name} has no module {show(module)}"
                place = declared.document.place(("steps", step.name, *path))
                yield Finding(place, "BP512", message, suggest(module, template.modules, "take it out"))


def check_scans(repository: Repository) -> Iterator[Finding]:
    """Ensure that a scan is over one thing, and has different values."""
    for declared, step in _deviating(repository):
        document = declared.document
        for name, scan in document.data["steps"][step.name].get("scan", {}).items():
            path = ("steps", step.name, "scan", name)
            if ("payload" in scan) == ("module" in scan) or ("module" in scan) != ("parameter" in scan):
                hint = "write `payload`, or `module` with `parameter`"
                message = f"the scan {name} is over one payload, or over one parameter of one module"
                yield Finding(document.key_place(path), "BP207", message, hint)
                continue
            seen: dict[str, str] = {}
            for point, value in scan["values"].items():
                known = seen.setdefault(show(value), point)
                place = document.place((*path, "values", point))
                if known != point:
                    there = spell(document.place((*path, "values", known)))
                    message = f"{point} has the value of {known} (see also {there})"
                    yield Finding(place, "BP512", message, "give every point another value")
                elif "payload" in scan and not isinstance(value, str):
                    message = f"the value of {point} must be the name of a snapshot, not {show(value)}"
                    yield Finding(place, "BP204", message, f"write the name of a file of {GLOBAL_TAGS}")


def check_testing_payloads(repository: Repository) -> Iterator[Finding]:
    """Ensure that testing payloads have a snapshot of a local database, which stands in no chain of tags."""
    for declared in repository.campaigns.values():
        for index, tag in enumerate(declared.campaign.global_tags):
            found = repository.snapshots.get(tag.name)
            if found is not None and found.state == LOCAL:
                place = declared.document.place(("global_tags", index, "name"))
                message = f"{show(tag.name)} is a local database, no global tag"
                yield Finding(place, "BP502", message, "name it under `testing_payloads` of a step")
    for declared, step in _deviating(repository):
        for path, one, payload in _list_testing(step):
            yield from _check_local(repository, declared, ("steps", step.name, *path), one, payload)
        site = repository.sites.get(declared.campaign.site)
        if site is not None and site.testing_payloads is None and any(True for _ in _list_testing(step)):
            place = declared.document.place(("site",))
            message = f"the site {site.name} has no folder of testing payloads"
            hint = f"add `testing_payloads` to {SITES}/{site.name}.yaml, or choose another site"
            yield Finding(place, "BP506", message, hint)


def _check_local(
    repository: Repository,
    declared: Declared,
    path: tuple[str | int, ...],
    one: TestingPayloads,
    payload: str | None,
) -> Iterator[Finding]:
    file = f"{GLOBAL_TAGS}/{one.name}.iov"
    place = declared.document.place(path)
    found = repository.snapshots.get(one.name)
    if found is None:
        if file not in repository.broken:
            message = f"the testing payloads {show(one.name)} have no snapshot, so nothing says what they are"
            pull = f"`b2prod gt pull {one.name} --from database.txt`"
            yield Finding(place, "BP514", message, suggest(one.name, repository.snapshots, pull))
    elif found.state != LOCAL:
        message = f"{show(one.name)} is a global tag, no local database"
        yield Finding(place, "BP502", message, "name it in `global_tags`, before the others")
    elif payload is not None and payload not in {iov.payload for iov in found.iovs}:
        message = f"{show(one.name)} has no payload {payload}, which the scan is over"
        yield Finding(place, "BP512", message, "correct `payload`, or the value")
    else:
        for wrong in find_misreadings(found, declared.campaign.release or ""):
            line = found.above + 1 + found.iovs.index(wrong.iov)
            message = f"{wrong.reason} ({file}:{line})"
            yield Finding(place, "BP518", message, wrong.hint)


def _list_testing(step: Step) -> Iterator[tuple[tuple[str | int, ...], TestingPayloads, str | None]]:
    """Testing payloads with their place in the step, and the payload that a scan is over."""
    for index, one in enumerate(step.deviations.testing_payloads):
        yield ("testing_payloads", index, "name"), one, None
    for scan in step.scans:
        for point, deviations in scan.points:
            for one in deviations.testing_payloads:
                yield ("scan", scan.name, "values", point), one, scan.payload


def _deviating(repository: Repository) -> Iterator[tuple[Declared, Step]]:
    return ((declared, step) for declared, step in repository.list_steps() if step.deviations or step.scans)
