"""Rules on schemes: what their stages name exists, and comes in an order in which it can be made."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.findings.finding import Finding
from schemas.manifest.campaign import Campaign
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.scheme import COMPARE, HAND_OVER, MAKE, RETIRE, Scheme, Stage
from schemas.manifest.step import Step
from schemas.manifest.variant import find_declared, is_expandable
from schemas.policy.policy import ROLES
from schemas.policy.validation import VALIDATIONS
from schemas.repository import GLOBAL_TAGS, Repository
from schemas.rules.support.cycles import find_circles
from schemas.yaml.composer import Path
from schemas.yaml.scalars import show
from schemas.yaml.wording import list_words, suggest


def check_names_in_schemes(repository: Repository) -> Iterator[Finding]:
    """Ensure that stages name steps, datasets, validations, roles, global tags and stages that exist."""
    for scheme, stage, path in _list_stages(repository):
        document = scheme.document
        others = [one.name for one in scheme.stages if one is not stage]
        for index, name in enumerate(stage.after):
            if name not in others:
                message = f"the scheme has no {'other ' if name == stage.name else ''}stage {show(name)}"
                hint = suggest(name, others, f"it has {list_words(others)}" if others else "remove `after`")
                yield document.report((*path, "after", index), "BP614", message, hint)
        roles = [] if repository.policy is None else [one.name for one in repository.policy.roles.roles]
        for index, name in enumerate(stage.sign if roles else ()):
            if name not in roles:
                hint = suggest(name, roles, f"{ROLES} has {list_words(roles)}")
                yield document.report((*path, "sign", index), "BP614", f"there is no role {show(name)}", hint)
        if stage.returns is not None and stage.returns not in repository.snapshots:
            file = f"{GLOBAL_TAGS}/{stage.returns}.iov"
            if file not in repository.broken:
                hint = suggest(stage.returns, repository.snapshots, f"add {file}")
                message = f"the global tag {show(stage.returns)} has no snapshot"
                yield document.report((*path, "returns"), "BP614", message, hint)
        if stage.by is not None and stage.by not in repository.validations:
            file = f"{VALIDATIONS}/{stage.by}.yaml"
            if file not in repository.broken:
                hint = suggest(stage.by, repository.validations, f"add {file}")
                message = f"there is no validation {show(stage.by)}"
                yield document.report((*path, "by"), "BP614", message, hint)
        for place, text in _list_data(stage, path):
            yield from _check_made(repository, scheme, place, parse_dataset(text), stage.does)
        yield from _check_inputs(repository, scheme, stage, path)


def check_order_of_stages(repository: Repository) -> Iterator[Finding]:
    """Ensure that stages do not wait for each other, and that what a stage needs is made by stages before it."""
    for scheme in repository.schemes.values():
        graph = {one.name: one.after for one in scheme.stages}
        for circle in find_circles(graph):
            stage = scheme.stage(circle[0])
            if stage is not None and len(circle) > 2:  # a stage after itself has a finding already
                message = f"stages wait for each other in a circle: {' -> '.join(circle)}"
                at: Path = ("stages", stage.name, "after", stage.after.index(circle[1]))
                hint = "take the stage out that need not wait"
                yield scheme.document.report(at, "BP615", message, hint)
    for scheme, stage, path in _list_stages(repository):
        before = scheme.list_before(stage)
        for place, campaign, step, what in _list_needed(repository, stage, path):
            maker = scheme.find_maker(campaign, step)
            if maker is not None and maker is not stage and maker.name not in before:
                message = (
                    f"{what} {campaign}/{step}, which the stage {maker.name} makes, and that is not before"
                )
                hint = f"add {show(maker.name)} to `after` of {stage.name}"
                yield scheme.document.report(place, "BP615", message, hint)
        followed = [one.name for one in scheme.stages if stage.name in one.after]
        if stage.does == RETIRE and not stage.sign and followed:  # an announcement is evidence, too
            message = f"nobody signs that {stage.name} is done, and {followed[0]} waits for it"
            yield scheme.document.report_key(path, "BP615", message, "add `sign`, with the role that does it")


def check_makers(repository: Repository) -> Iterator[Finding]:
    """Ensure that a step is made by one stage of all schemes."""
    seen: dict[str, str] = {}
    for scheme, stage, path in _list_stages(repository):
        for index, name in enumerate(stage.names if stage.does == MAKE else ()):
            there = seen.setdefault(name, f"{scheme.name}/{stage.name}")
            if there != f"{scheme.name}/{stage.name}":
                message = f"{show(name)} is made by the stage {there} already"
                hint = "take it out of one of them: one gate says when a step goes"
                yield scheme.document.report((*path, MAKE, index), "BP615", message, hint)


def check_buckets(repository: Repository) -> Iterator[Finding]:
    """Ensure that a scheme with buckets makes a campaign with an open selection."""
    for scheme in repository.schemes.values():
        known = [
            repository.campaigns[name].campaign for name in scheme.campaigns if name in repository.campaigns
        ]
        if (
            scheme.buckets
            and known
            and not any(one.is_open for campaign in known for one in campaign.selectors)
        ):
            message = "the scheme has `buckets`, and no campaign that it makes has an open selection"
            hint = "remove `buckets`: all runs of a closed selection pass together"
            yield scheme.document.report_key(("buckets",), "BP511", message, hint)


def _list_stages(repository: Repository) -> Iterator[tuple[Scheme, Stage, Path]]:
    for scheme in repository.schemes.values():
        for stage in scheme.stages:
            yield scheme, stage, ("stages", stage.name)


def _list_data(stage: Stage, path: Path) -> Iterator[tuple[Path, str]]:
    """The steps and datasets that a stage names, each with its place."""
    if stage.does == COMPARE:
        yield (*path, COMPARE), stage.names[0]
    else:
        for index, name in enumerate(stage.names):
            yield (*path, stage.does, index), name
    if stage.against is not None:
        yield (*path, "against"), stage.against


def _check_made(
    repository: Repository, scheme: Scheme, path: Path, name: DatasetName, does: str
) -> Iterator[Finding]:
    """Findings on a step or a dataset that no campaign here makes.

    What an ended campaign has no step for may be adopted under its name.
    """
    document = scheme.document
    if name.campaign not in repository.campaigns:
        if not any(f"/{name.campaign}/" in file for file in repository.broken):
            hint = suggest(name.campaign, repository.campaigns, "name a campaign of this repository")
            yield document.report(path, "BP614", f"there is no campaign {show(name.campaign)}", hint)
        return
    campaign = repository.campaigns[name.campaign].campaign
    step = campaign.step(find_declared(name.step))
    if step is None:
        if campaign.is_live or does == MAKE:
            known = [one.name for one in campaign.steps]
            hint = suggest(name.step, known, f"it has {list_words(known)}")
            yield document.report(path, "BP614", f"{name.campaign} has no step {show(name.step)}", hint)
        return
    variants = [one.name for one in _list_variants(campaign, step)]
    if "@" in name.step and name.step not in variants:
        hint = suggest(name.step, variants, f"its variants are {list_words(variants)}", link="")
        yield document.report(path, "BP614", f"{name.campaign} makes no {show(name.step)}", hint)
    elif name.output and name.output not in step.outputs:
        made = f"it makes {', '.join(step.outputs)}"
        message = f"{step.name} of {name.campaign} does not make {show(name.output)}"
        yield document.report(path, "BP614", message, suggest(name.output, step.outputs, made, link=""))
    elif does == COMPARE and not name.output:
        message = f"{name} is a step, and it is not said which of its outputs is compared"
        yield document.report(path, "BP614", message, f"write {show(f'{name}/{step.outputs[0]}')}")


def _list_variants(campaign: Campaign, step: Step) -> list[Step]:
    if not is_expandable(campaign.steps):  # another rule reports it
        return []
    return [one for one in campaign.expand() if find_declared(one.name) == step.name]


def _check_inputs(repository: Repository, scheme: Scheme, stage: Stage, path: Path) -> Iterator[Finding]:
    """Findings on inputs of calibrations that are nothing of what is handed over."""
    known: set[str] = set()
    for text in stage.names if stage.does == HAND_OVER else ():
        name = parse_dataset(text)
        declared = repository.campaigns.get(name.campaign)
        step = None if declared is None else declared.campaign.step(find_declared(name.step))
        if declared is None or step is None:
            return  # it is not known what there is
        known.update((name.output,) if name.output else step.outputs)
        known.update(one.stream for one in _list_variants(declared.campaign, step) if one.stream is not None)
    for index, calibration in enumerate(stage.caf):
        for key, value in calibration.inputs.items():
            if value not in known:
                place = (*path, "caf", index, "inputs", key)
                hint = suggest(value, sorted(known), f"there are {list_words(sorted(known))}")
                message = f"{show(value)} is nothing of what {stage.name} hands over"
                yield scheme.document.report(place, "BP614", message, hint)


def _list_needed(repository: Repository, stage: Stage, path: Path) -> Iterator[tuple[Path, str, str, str]]:
    """What a stage needs to be made before: its place, campaign and declared step, and how it is needed in words."""
    for place, text in _list_data(stage, path):
        name = parse_dataset(text)
        step = find_declared(name.step)
        if stage.does != MAKE:
            yield place, name.campaign, step, f"{stage.name} is about"
            continue
        declared = repository.campaigns.get(name.campaign)
        found = None if declared is None else declared.campaign.step(step)
        if found is None:
            continue
        if found.input.step is not None:
            yield place, name.campaign, found.input.step, f"{text} reads"
        elif found.input.dataset is not None and not (read := parse_dataset(found.input.dataset)).is_held:
            yield place, read.campaign, find_declared(read.step), f"{text} reads"
