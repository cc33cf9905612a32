"""Rules on known issues: what they name exists, so that it is shown to who looks at the data."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.findings.finding import Finding
from schemas.manifest.campaign import Campaign
from schemas.manifest.dataset import HOLDERS
from schemas.manifest.known_issue import KnownIssue, NamedData
from schemas.manifest.step import Step
from schemas.manifest.variant import find_declared, is_expandable
from schemas.repository import Repository
from schemas.yaml.composer import Path
from schemas.yaml.document import Document
from schemas.yaml.scalars import show
from schemas.yaml.wording import list_words, suggest


def check_known_issues(repository: Repository) -> Iterator[Finding]:
    """Ensure that known issues name data and runs that there can be, and are not fixed in data that have them."""
    for issue in repository.known_issues.values():
        document = issue.document
        for key, listed in (("datasets", issue.datasets), ("fixed_in", issue.fixed_in)):
            for index, named in enumerate(listed):
                if named in listed[:index]:
                    message = f"{named} stands here twice"
                    yield document.report((key, index), "BP616", message, "remove one of them")
                yield from _check_named(repository, document, (key, index), named)
        for index, fixed in enumerate(issue.fixed_in):
            if any(_covers(fixed, named) for named in issue.datasets):
                message = f"{fixed} is said to have the issue, and to be without it"
                hint = "take it out of one of them, or write from which edition on it is fixed"
                yield document.report(("fixed_in", index), "BP616", message, hint)
        yield from _check_experiments(repository, issue)


def _covers(fixed: NamedData, named: NamedData) -> bool:
    """Whether all named data are among those without the issue."""
    if fixed.edition is not None and (named.edition is None or named.edition < fixed.edition):
        return False
    if fixed.campaign != named.campaign or (fixed.output and fixed.output != named.output):
        return False
    step = named.step if "@" in fixed.step else find_declared(named.step)
    return not fixed.step or fixed.step == step


def _check_named(
    repository: Repository, document: Document, path: Path, named: NamedData
) -> Iterator[Finding]:
    """Findings on data that no campaign here makes. What an ended campaign has no step for may be adopted under its name."""
    if named.campaign in HOLDERS:
        if not named.output:
            message = f"{show(named.campaign)} is not a campaign"
            yield document.report(path, "BP616", message, f"name its dataset, as in {named.campaign}/raw")
        return
    if named.campaign not in repository.campaigns:
        if not any(f"/{named.campaign}/" in file for file in repository.broken):
            hint = suggest(named.campaign, repository.campaigns, "name a campaign of this repository")
            yield document.report(path, "BP616", f"there is no campaign {show(named.campaign)}", hint)
        return
    campaign = repository.campaigns[named.campaign].campaign
    step = campaign.step(find_declared(named.step)) if named.step else None
    if step is not None:
        yield from _check_output(document, path, named, campaign, step)
    elif named.step and campaign.is_live:
        known = [one.name for one in campaign.steps]
        hint = suggest(named.step, known, f"it has {list_words(known)}")
        yield document.report(path, "BP616", f"{named.campaign} has no step {show(named.step)}", hint)


def _check_output(
    document: Document, path: Path, named: NamedData, campaign: Campaign, step: Step
) -> Iterator[Finding]:
    expanded = campaign.expand() if is_expandable(campaign.steps) else campaign.steps
    variants = [one.name for one in expanded if find_declared(one.name) == step.name]
    if "@" in named.step and named.step not in variants:
        hint = suggest(named.step, variants, f"its variants are {list_words(variants)}", link="")
        yield document.report(path, "BP616", f"{named.campaign} makes no {show(named.step)}", hint)
    elif named.output and named.output not in step.outputs:
        message = f"{step.name} of {named.campaign} does not make {show(named.output)}"
        hint = suggest(named.output, step.outputs, f"it makes {', '.join(step.outputs)}", link="")
        yield document.report(path, "BP616", message, hint)


def _check_experiments(repository: Repository, issue: KnownIssue) -> Iterator[Finding]:
    """Findings on runs of experiments of which none of the named campaigns selects a run."""
    known = [
        repository.campaigns[one.campaign].campaign
        for one in issue.datasets
        if one.campaign in repository.campaigns
    ]
    if len(known) < len(issue.datasets):
        return  # the detector has all experiments, and of others it is not known what they have
    selected = sorted({one.experiment for campaign in known for one in campaign.selectors})
    for index, one in enumerate(issue.document.data.get("runs", ())):
        if one["experiment"] not in selected:
            message = f"no campaign that is named here selects runs of experiment {one['experiment']}"
            hint = f"they select those of {', '.join(map(str, selected))}"
            yield issue.document.report(("runs", index, "experiment"), "BP616", message, hint)
