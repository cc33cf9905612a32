"""Rules on global tags of skims: they must be declared, so that they are pinned and approved."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.findings.finding import Finding
from schemas.manifest.campaign import Campaign
from schemas.manifest.step import Step
from schemas.repository import Repository
from schemas.skims.global_tags import ANALYSIS, ROLES, find_needs, takes_role
from schemas.yaml.document import Document
from schemas.yaml.scalars import show


def check_skim_tags(repository: Repository) -> Iterator[Finding]:
    """Ensure that the tags that skims need are in the chain, at the place where basf2 puts them, and with the right role."""
    for campaign, document in repository.list_campaigns():
        yield from _check_roles(repository, campaign, document)
        for step in campaign.steps:
            if step.keys.software and step.skims:
                yield from _check_needs(repository, campaign, document, step)


def _check_needs(
    repository: Repository, campaign: Campaign, document: Document, step: Step
) -> Iterator[Finding]:
    release = campaign.release or ""
    given = {tag.role for tag in campaign.global_tags}
    for index, output in enumerate(step.outputs):
        skim = repository.skims.get(output)
        place = document.place(("steps", step.name, "skims", index))
        for need in find_needs(skim, release) if skim is not None else ():
            combined = f"{need.skim}, which {show(output)} is or combines,"
            which = show(output) if need.skim == output else combined
            if need.appended is not None and campaign.tag_names[-1:] != (need.appended,):
                message = f"{which} asks the global tag {need.appended} after all others"
                hint = f"add `- {{name: {need.appended}, mode: snapshot}}` as the last of `global_tags`"
            elif need.appended is None and need.role is None:
                message = f"{which} takes in {release} the analysis tag that is recommended when it runs"
                hint = "choose a release from 07 on, where the tag is declared"
            elif need.role is not None and need.role not in given:
                message = f"{which} needs a global tag of its own ({need.role})"
                hint = f"add `- {{name: TAG, mode: snapshot, role: {need.role}}}` to `global_tags`, before the others"
            else:
                continue
            yield Finding(place, "BP521", message, hint)


def _check_roles(repository: Repository, campaign: Campaign, document: Document) -> Iterator[Finding]:
    """Findings on roles: tags with a role come first, PID before analysis, and only for skims of basf2's registry."""
    roles = [tag.role for tag in campaign.global_tags]
    if not any(roles):
        return
    first = next(index for index, role in enumerate(roles) if role is not None)
    key = ("global_tags", first, "role")
    wanted = [role for role in ROLES if role in roles]
    if roles[: len(wanted)] != wanted or any(roles[len(wanted) :]):
        message = "basf2 asks tags with a role first, in an order of its own"
        hint = f"write these first, each once: {', '.join(wanted)}"
        yield document.report(key, "BP521", message, hint)
    for index, role in enumerate(roles):
        if role is not None and campaign.release is not None and not takes_role(campaign.release, role):
            message = f"skims of {campaign.release} cannot be handed a tag of the role {role}"
            hint = f"remove `role`, or choose a release from {'07' if role == ANALYSIS else '09'} on"
            yield document.report(("global_tags", index, "role"), "BP521", message, hint)
    for step in campaign.steps:
        template = repository.templates.get(step.template or "")
        if template is None:
            continue
        if not template.hands_tags:
            others = [
                one.name
                for one in repository.list_templates(campaign.release)
                if one.hands_tags and one.skims == template.skims
            ]
            message = f"{template.name} hands no skim the tags that have a role"
            hint = f"choose {', '.join(others)}" if others else "let a campaign of its own make this step"
            yield document.report(("steps", step.name, "template"), "BP521", message, hint)
