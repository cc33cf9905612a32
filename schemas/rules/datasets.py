"""Rules on the datasets that steps read: their names, and what the campaigns of this repository make."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from schemas.findings.finding import Finding
from schemas.manifest.dataset import DATASET_FORM, DatasetName, parse_dataset
from schemas.manifest.step import Step
from schemas.manifest.variant import find_declared, is_expandable
from schemas.repository import Declared, Repository
from schemas.rules.support.cycles import find_circles
from schemas.yaml.composer import Path
from schemas.yaml.document import Document
from schemas.yaml.scalars import show
from schemas.yaml.wording import list_words, suggest


def check_datasets(repository: Repository) -> Iterator[Finding]:
    """Ensure that the dataset of each input is one that another campaign makes, or that no campaign here makes."""
    for campaign, document, step in repository.list_steps():
        given, path = document.data["steps"][step.name]["input"], ("steps", step.name, "input")
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
            elif (declared := repository.campaigns.get(name.campaign)) is not None:
                yield from _check_made(document, path, name, step, declared)


def check_circles_of_campaigns(repository: Repository) -> Iterator[Finding]:
    """Ensure that no campaign reads a dataset that is made from one of its own, directly or through other campaigns."""
    graph = {
        name: sorted(declared.campaign.upstream & repository.campaigns.keys() - {name})
        for name, declared in repository.campaigns.items()
    }
    for circle in find_circles(graph):
        campaign, document = (
            repository.campaigns[circle[0]].campaign,
            repository.campaigns[circle[0]].document,
        )
        step = next(
            step
            for step in campaign.steps
            if step.input.dataset is not None
            and (read := parse_dataset(step.input.dataset)).campaign == circle[1]
            and read.edition is None
        )
        message = f"campaigns read each other in a circle: {' -> '.join(circle)}"
        hint = "let one of them read an edition, or another dataset"
        yield document.report(("steps", step.name, "input", "dataset"), "BP510", message, hint)


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
        variants = [one.name for one in campaign.expand() if find_declared(one.name) == upstream.name]
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
