"""Rules on the datasets that steps read: their names, and what the campaigns of this repository make."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

from schemas.findings.finding import Finding
from schemas.manifest.campaign import Campaign
from schemas.manifest.dataset import DATASET_FORM, DatasetName, parse_dataset
from schemas.manifest.step import Step
from schemas.manifest.variant import find_declared, is_expandable
from schemas.repository import Declared, Repository
from schemas.rules.support.cycles import find_circles
from schemas.rules.support.intervals import find_common
from schemas.yaml.composer import Path
from schemas.yaml.document import Document
from schemas.yaml.scalars import show
from schemas.yaml.wording import list_words, suggest


def check_datasets(repository: Repository) -> Iterator[Finding]:
    """Ensure that the dataset of each input is one that another campaign makes, or that no campaign here makes."""
    for campaign, document, step in repository.list_steps():
        given, path = document.data["steps"][step.name]["input"], ("steps", step.name, "input")
        own = [one for one in campaign.steps if one.produces and one.produces == step.input.of_detector]
        if own:
            message = f"{show(step.input.of_detector)} is produced by this campaign itself"
            at = (*path, "dataset" if "dataset" in given else "level")
            yield document.report(at, "BP509", message, f"write `step: {own[0].name}` with `level`")
            continue
        if "dataset" not in given:
            continue
        if wrong := list(_check_form(document, path, given)):
            yield from wrong
            continue
        for read in step.input.divide():
            assert read.dataset is not None
            name = parse_dataset(read.dataset)
            if name.campaign == campaign.name:
                message = f"{show(read.dataset)} is made by this campaign itself"
                hint = f"write `step: {name.step}` with `level` or `skim`"
                yield document.report((*path, "dataset"), "BP509", message, hint)
            elif (declared := repository.campaigns.get(name.campaign)) is not None and (
                # What an ended campaign has no step for may be adopted under its name; `resolve` knows what there is.
                declared.campaign.is_live or declared.campaign.step(find_declared(name.step)) is not None
            ):
                yield from _check_made(document, path, name, step, declared)


def check_circles_of_campaigns(repository: Repository) -> Iterator[Finding]:
    """Ensure that no campaign reads a dataset that is made from one of its own, directly or through other campaigns."""
    graph = {
        name: sorted(repository.find_upstream(declared.campaign) & repository.campaigns.keys())
        for name, declared in repository.campaigns.items()
    }
    for circle in find_circles(graph):
        campaign, document = (
            repository.campaigns[circle[0]].campaign,
            repository.campaigns[circle[0]].document,
        )
        step = next(step for step in campaign.steps if circle[1] in _list_followed(repository, step))
        message = f"campaigns read each other in a circle: {' -> '.join(circle)}"
        hint = "let one of them read an edition, or another dataset"
        key = "dataset" if step.input.dataset is not None else "level"
        yield document.report(("steps", step.name, "input", key), "BP510", message, hint)


def check_produced_datasets(repository: Repository) -> Iterator[Finding]:
    """Ensure that a step makes, once for each run, the level of the dataset that it produces."""
    for campaign, document, step in repository.list_steps():
        if step.produces is None:
            continue
        path, level = ("steps", step.name, "produces"), parse_dataset(step.produces).output
        if step.skims or level not in step.outputs:
            message = f"{show(step.produces)} has files of level {level}, and {step.name} makes none"
            hint = f"it makes {', '.join(step.outputs)}; remove `produces`, or add {level} to `outputs`"
            yield document.report(path, "BP525", message, hint)
        elif is_expandable(campaign.steps) and (variants := _list_variants(campaign, step)) != [step.name]:
            message = (
                f"{show(step.produces)} has each run once, and {step.name} makes it {len(variants)} times"
            )
            hint = "let a step without variants produce it: one without `scan`, and without several `skims` in its input"
            yield document.report(path, "BP525", message, hint)


def check_several_producers(repository: Repository) -> Iterator[Finding]:
    """Ensure that no two live campaigns produce the same runs of a dataset of the detector.

    They may if one supersedes the other, also through others. Selectors without a common type do not overlap.
    """
    live = [
        (campaign, document, step)
        for campaign, document, step in repository.list_steps()
        if step.produces is not None and campaign.is_live
    ]
    replaced = repository.follow_superseding() if len(live) > 1 else {}
    for (one, there, before), (other, document, step) in combinations(live, 2):
        if before.produces != step.produces:
            continue
        if one.name in replaced[other.name] or other.name in replaced[one.name]:
            continue
        pairs = product(one.selectors, other.selectors)
        common = next((text for mine, theirs in pairs if (text := find_common(mine, theirs, "types"))), "")
        if common:
            maker = f"{one.name}/{before.name} ({there.place(('steps', before.name, 'produces'))})"
            message = f"{show(step.produces)} of run {common} is produced by {maker} too"
            hint = "let one of them produce it"
            if one is not other:
                hint = f"write `supersedes: [{one.name}]`, or select other runs"
            yield document.report(("steps", step.name, "produces"), "BP613", message, hint)


def check_sources_of_files(repository: Repository) -> Iterator[Finding]:
    """Ensure that no site registers files of others in a dataset that a live campaign makes."""
    for site in repository.sites.values():
        for index, source in enumerate(site.sources.files):
            if source.dataset is None:
                continue
            name = parse_dataset(source.dataset)
            declared = repository.campaigns.get(name.campaign)
            if declared is not None and declared.campaign.is_live and declared.campaign.makes(name):
                message = f"{show(source.dataset)} is made by the campaign {name.campaign} of this repository"
                hint = f"name the dataset of the {source.what} as another production's"
                path = ("sources", "files", index, "dataset")
                yield repository.site_documents[site.name].report(path, "BP613", message, hint)


def _list_followed(repository: Repository, step: Step) -> set[str]:
    """The names of the campaigns whose units those of a step may wait for."""
    if (detectors := step.input.of_detector) is not None:
        return {one.campaign for one in repository.find_producers(detectors)}
    name = None if step.input.dataset is None else parse_dataset(step.input.dataset)
    return set() if name is None or name.edition is not None else {name.campaign}


def _list_variants(campaign: Campaign, step: Step) -> list[str]:
    """The names of a step's variants; that of the step alone if it has none."""
    return [one.name for one in campaign.expand() if find_declared(one.name) == step.name]


def _check_form(document: Document, path: Path, given: dict[str, Any]) -> Iterator[Finding]:
    """Findings on keys that exclude each other, and on the name of a step instead of a dataset."""
    for key in ("step", "skim"):
        if key in given:
            message = f"a dataset is named completely, so it has no `{key}` beside it"
            hint = f"keep one of them; a dataset is {DATASET_FORM}"
            yield document.report_clash((*path, "dataset"), (*path, key), message, hint)
    name = parse_dataset(given["dataset"])
    if "skims" in given and (name.output or name.is_held or name.edition is not None):
        message = f"{show(given['dataset'])} is one dataset, and `skims` names several of a step"
        hint = "write `dataset: CAMPAIGN/STEP` with `skims`, or the dataset alone"
        yield document.report_clash((*path, "dataset"), (*path, "skims"), message, hint)
    elif "skims" not in given and not (name.output or name.is_held):
        message = f"{show(given['dataset'])} is a step, and it is not said which of its outputs is read"
        hint = f"write {show(given['dataset'] + '/OUTPUT')}, or `skims: [NAME, …]` for a variant for each"
        yield document.report((*path, "dataset"), "BP509", message, hint)


def _check_made(
    document: Document, path: Path, name: DatasetName, step: Step, declared: Declared
) -> Iterator[Finding]:
    """Findings on a dataset of a campaign of this repository."""
    campaign, at = declared.campaign, (*path, "dataset")
    upstream = campaign.step(find_declared(name.step))
    if upstream is None:
        known = [one.name for one in campaign.steps]
        message = f"{name.campaign} has no step {show(name.step)}"
        yield document.report(at, "BP508", message, suggest(name.step, known, f"it has {list_words(known)}"))
        return
    if is_expandable(campaign.steps):
        variants = _list_variants(campaign, upstream)
        if name.step not in variants:
            message = f"{name.campaign} makes no {show(name.step)}"
            hint = suggest(name.step, variants, f"its variants are {list_words(variants)}", link="")
            yield document.report(at, "BP508", message, hint)
            return
    if name.output not in upstream.outputs:
        message = f"{upstream.name} of {name.campaign} does not make {show(name.output)}"
        made = f"it makes {', '.join(upstream.outputs)}"
        yield document.report(at, "BP509", message, suggest(name.output, upstream.outputs, made, link=""))
    elif (level := upstream.level_of(name.output)) != step.input.level:
        message = f"{name.dataset} has files of level {level}, and {step.input.level} is read"
        yield document.report(at, "BP509", message, f"write `level: {level}` beside it")
