"""Rules on what deviates from the standard: overrides, testing payloads, scans, additional branches."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.conditions.local_database import find_misreadings
from schemas.conditions.snapshot import LOCAL
from schemas.findings.finding import Finding, Place
from schemas.manifest.campaign import Campaign
from schemas.manifest.deviation import TestingPayloads
from schemas.manifest.step import Step
from schemas.manifest.template import DEVIATIONS
from schemas.policy.scopes import DEVIATING
from schemas.repository import GLOBAL_TAGS, SITES, Repository
from schemas.yaml.document import Document
from schemas.yaml.scalars import show
from schemas.yaml.wording import suggest

STRICT = "reprocessing"
"""The kind of campaign that may not deviate from the standard."""

DERIVED = {
    ("RootInput", "inputFileNames"): "the job's input files",
    ("RootInput", "inputFileName"): "the job's input files",
    ("RootOutput", "outputFileName"): "the names that the layout and the level give",
}
"""Parameters that the tool sets itself, and where their values come from."""


def check_deviations(repository: Repository) -> Iterator[Finding]:
    """Ensure that deviations occur only where they are allowed, and that the template of the step applies them."""
    for campaign, document, step in _deviating(repository):
        given = document.data["steps"][step.name]
        for key in DEVIATING:
            if key in given and campaign.kind == STRICT:
                message = f"`{key}` in a campaign of `kind: {STRICT}`, which is the standard and nothing else"
                hint = "ask for a patch release, or study it in a campaign of `kind: calibration`"
                yield document.report_clash(("kind",), ("steps", step.name, key), message, hint, "BP513")
        template = repository.templates.get(step.template or "")
        if template is None:
            continue
        for key, kinds in _find_kinds(step):
            if kinds <= template.deviates:
                continue
            family = template.name.split("/")[0]
            others = [
                one.name
                for one in repository.list_templates(campaign.release)
                if kinds <= one.deviates and one.name.split("/")[0] == family
            ]
            hint = f"choose {', '.join(others)}" if others else "choose a template that does"
            message = f"{template.name} does not set `{key}`"
            yield document.report_key(("steps", step.name, key), "BP512", message, hint)


def _find_kinds(step: Step) -> Iterator[tuple[str, frozenset[str]]]:
    """The keys of a step with deviations, and what its template must apply for each."""
    points = [deviations for scan in step.scans for _, deviations in scan.points]
    yield from ((kind, frozenset({kind})) for kind in DEVIATIONS if getattr(step.deviations, kind))
    if points:
        yield "scan", frozenset(kind for kind in DEVIATIONS if any(getattr(one, kind) for one in points))


def check_overrides(repository: Repository) -> Iterator[Finding]:
    """Ensure that no parameter is set twice, and that no override sets a parameter that the tool sets."""
    for _, document, step in _deviating(repository):
        first: dict[tuple[str, str], int] = {}
        for index, one in enumerate(step.deviations.overrides):
            path = ("steps", step.name, "overrides")
            key = (one.module, one.parameter)
            if key in DERIVED:
                message = f"{one.module}.{one.parameter} is derived: {show(one.parameter)} <- {DERIVED[key]}"
                yield document.report((*path, index, "parameter"), "BP512", message, "remove it")
            elif first.setdefault(key, index) != index:
                places = (*path, first[key]), (*path, index)
                message = f"{one.module}.{one.parameter} is overridden twice"
                yield document.report_clash(*places, message, "keep one of them", "BP512")


WHOLE = "dst"
"""The data level that always has all branches."""


def check_branches(repository: Repository) -> Iterator[Finding]:
    """Ensure that each additional branch is named once, and that an output does not have all branches already."""
    for _, document, step in _deviating(repository):
        first: dict[str, int] = {}
        path = ("steps", step.name, "additional_branches")
        for index, one in enumerate(step.deviations.additional_branches):
            if first.setdefault(one.name, index) != index:
                places = (*path, first[one.name], "name"), (*path, index, "name")
                message = f"the branch {one.name} is added twice"
                yield document.report_clash(*places, message, "keep one of them", "BP512")
        if first and not step.skims and set(step.outputs) == {WHOLE}:
            message = f"the step {step.name} writes {WHOLE} alone, which has all branches as it is"
            yield document.report_key(path, "BP512", message, "remove it, or write another data level")


def check_modules(repository: Repository) -> Iterator[Finding]:
    """Ensure that a module of an override or a scan is in the template's path."""
    for _, document, step in _deviating(repository):
        template = repository.templates.get(step.template or "")
        if template is None or template.modules is None:
            continue
        given = document.data["steps"][step.name]
        overrides = enumerate(given.get("overrides", ()))
        wanted = {("overrides", index): one for index, one in overrides}
        wanted |= {("scan", name): one for name, one in given.get("scan", {}).items() if "module" in one}
        for path, one in wanted.items():
            if not template.may_have(one["module"]):
                message = f"the path of {template.name} has no module {show(one['module'])}"
                hint = suggest(one["module"], template.modules, "take it out")
                yield document.report(("steps", step.name, *path, "module"), "BP512", message, hint)


def check_scans(repository: Repository) -> Iterator[Finding]:
    """Ensure that a scan has one subject and different values."""
    for _, document, step in _deviating(repository):
        for name, scan in document.data["steps"][step.name].get("scan", {}).items():
            path = ("steps", step.name, "scan", name)
            if ("payload" in scan) == ("module" in scan) or ("module" in scan) != ("parameter" in scan):
                hint = "write `payload`, or `module` with `parameter`"
                message = f"the scan {name} is over one payload, or over one parameter of one module"
                yield document.report_key(path, "BP207", message, hint)
                continue
            seen: dict[str, str] = {}
            for point, value in scan["values"].items():
                known = seen.setdefault(show(value), point)
                place = document.place((*path, "values", point))
                if known != point:
                    there = document.place((*path, "values", known)).spell()
                    message = f"{point} has the value of {known} (see also {there})"
                    yield Finding(place, "BP512", message, "give every point another value")
                elif "payload" in scan and not isinstance(value, str):
                    message = f"the value of {point} must be the name of a snapshot, not {show(value)}"
                    yield Finding(place, "BP204", message, f"write the name of a file of {GLOBAL_TAGS}")


def check_testing_payloads(repository: Repository) -> Iterator[Finding]:
    """Ensure that testing payloads are readable local databases outside the chain of tags, and that the site has their folder."""
    for campaign, document in repository.list_campaigns():
        for index, tag in enumerate(campaign.global_tags):
            found = repository.snapshots.get(tag.name)
            if found is not None and found.state == LOCAL:
                message = f"{show(tag.name)} is a local database, no global tag"
                hint = "name it under `testing_payloads` of a step"
                yield document.report(("global_tags", index, "name"), "BP502", message, hint)
    for campaign, document, step in _deviating(repository):
        for path, one, payload in _list_testing(step):
            place = document.place(("steps", step.name, *path))
            yield from _check_local(repository, campaign.release or "", place, one.name, payload)
        site = repository.sites.get(campaign.site)
        if site is not None and site.testing_payloads is None and any(True for _ in _list_testing(step)):
            message = f"the site {site.name} has no folder of testing payloads"
            hint = f"add `testing_payloads` to {SITES}/{site.name}.yaml, or choose another site"
            yield document.report(("site",), "BP506", message, hint)


def _check_local(
    repository: Repository, release: str, place: Place, name: str, payload: str | None
) -> Iterator[Finding]:
    file = f"{GLOBAL_TAGS}/{name}.iov"
    found = repository.snapshots.get(name)
    if found is None:
        if file not in repository.broken:
            message = f"the testing payloads {show(name)} have no snapshot, so nothing says what they are"
            pull = f"`b2prod gt pull {name} --from database.txt`"
            yield Finding(place, "BP514", message, suggest(name, repository.snapshots, pull))
    elif found.state != LOCAL:
        message = f"{show(name)} is a global tag, no local database"
        yield Finding(place, "BP502", message, "name it in `global_tags`, before the others")
    elif payload is not None and payload not in {iov.payload for iov in found.iovs}:
        message = f"{show(name)} has no payload {payload}, which the scan is over"
        yield Finding(place, "BP512", message, "correct `payload`, or the value")
    else:
        for wrong in find_misreadings(found, release):
            line = found.above + 1 + found.iovs.index(wrong.iov)
            message = f"{wrong.reason} ({file}:{line})"
            yield Finding(place, "BP518", message, wrong.hint)


def _list_testing(step: Step) -> Iterator[tuple[tuple[str | int, ...], TestingPayloads, str | None]]:
    """The testing payloads of a step, each with its place and, for a scan, the payload that is scanned."""
    for index, one in enumerate(step.deviations.testing_payloads):
        yield ("testing_payloads", index, "name"), one, None
    for scan in step.scans:
        for point, deviations in scan.points:
            for one in deviations.testing_payloads:
                yield ("scan", scan.name, "values", point), one, scan.payload


def _deviating(repository: Repository) -> Iterator[tuple[Campaign, Document, Step]]:
    return (found for found in repository.list_steps() if found[2].deviations or found[2].scans)
