"""Rules on global tags that skims bring themselves: they are declared, so that they are resolved and approved."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.findings.finding import Finding
from schemas.manifest.step import Step
from schemas.repository import Declared, Repository
from schemas.skims.global_tags import ANALYSIS, ROLES, find_needs, takes_role
from schemas.yaml.scalars import show


def check_skim_tags(repository: Repository) -> Iterator[Finding]:
    """Ensure that tags which skims bring themselves stand in the chain where basf2 will put them, and are handed to them."""
    for declared in repository.campaigns.values():
        yield from _check_roles(repository, declared)
        for step in declared.campaign.steps:
            if step.keys.software and step.skims:
                yield from _check_needs(repository, declared, step)


def _check_needs(repository: Repository, declared: Declared, step: Step) -> Iterator[Finding]:
    campaign, document = declared.campaign, declared.document
    release = campaign.release or ""
    given = {tag.role for tag in campaign.global_tags}
    for index, output in enumerate(step.outputs):
        skim = repository.skims.get(output)
        place = document.place(("steps", step.name, "skims", index))
        for need in find_needs(skim, release) if skim is not None else ():
            which = (
                show(output) if need.skim == output else f"{need.skim}, which {show(output)} is or combines,"
            )
            if need.appended is not None:
                if campaign.tag_names[-1:] != (need.appended,):
                    message = f"{which} asks the global tag {need.appended} after all others"
                    hint = f"add `- {{name: {need.appended}, mode: snapshot}}` as the last of `global_tags`"
                    yield Finding(place, "BP521", message, hint)
            elif need.role is None:
                message = (
                    f"{which} takes in {release} the analysis tag that is recommended on the day when it runs"
                )
                hint = "choose a release from 07 on, where the tag is declared"
                yield Finding(place, "BP521", message, hint)
            elif need.role not in given:
                message = f"{which} needs a global tag of its own ({need.role})"
                hint = f"add `- {{name: TAG, mode: snapshot, role: {need.role}}}` to `global_tags`, before the others"
                yield Finding(place, "BP521", message, hint)


def _check_roles(repository: Repository, declared: Declared) -> Iterator[Finding]:
    """Tags with a role are asked first, PID before analysis, and are for skims of basf2's registry alone."""
    campaign, document = declared.campaign, declared.document
    roles = [tag.role for tag in campaign.global_tags]
    if not any(roles):
        return
    first = next(index for index, role in enumerate(roles) if role is not None)
    key = ("global_tags", first, "role")
    wanted = [role for role in ROLES if role in roles]
    if roles[: len(wanted)] != wanted or any(roles[len(wanted) :]):
        message = "basf2 asks tags with a role first, in an order of its own"
        hint = f"write these first, each once: {', '.join(wanted)}"
        yield Finding(document.place(key), "BP521", message, hint)
    for index, role in enumerate(roles):
        if role is not None and campaign.release is not None and not takes_role(campaign.release, role):
            place = document.place(("global_tags", index, "role"))
            message = f"skims of {campaign.release} cannot be handed a tag of the role {role}"
            hint = f"remove `role`, or choose a release from {'07' if role == ANALYSIS else '09'} on"
            yield Finding(place, "BP521", message, hint)
    for step in campaign.steps:
        template = repository.templates.get(step.template or "")
        if template is None:
            continue
        if not template.hands_tags:
            others = [
                one.name
                for one in repository.templates.values()
                if one.hands_tags
                and one.superseded is None
                and one.skims == template.skims
                and one.serves(campaign.release or "")
            ]
            place = document.place(("steps", step.name, "template"))
            message = f"{template.name} hands no skim the tags that have a role"
            hint = f"choose {', '.join(others)}" if others else "let a campaign of its own make this step"
            yield Finding(place, "BP521", message, hint)
