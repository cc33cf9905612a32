"""Rules on the detectors of a step: which sets of them stand in basf2."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.findings.finding import Finding
from schemas.repository import Repository
from schemas.yaml.scalars import show
from schemas.yaml.wording import list_words

COMPONENTS = "components"
"""The parameter of templates that chooses detectors; all of them where the list is empty."""


def check_detectors(repository: Repository) -> Iterator[Finding]:
    """Ensure that the detectors that a step chooses are a set with which basf2 starts."""
    for declared in repository.campaigns.values():
        for step in declared.campaign.steps:
            template = repository.templates.get(step.template or "")
            chosen = dict(step.parameters).get(COMPONENTS)
            if template is None or not isinstance(chosen, tuple) or not chosen:
                continue
            place = declared.document.place(("steps", step.name, "parameters", COMPONENTS))
            for rule in template.find_component_rules():
                missing = sorted(rule.needs - set(chosen))
                if rule.when <= set(chosen) and missing:
                    with_them = f" with {list_words(sorted(rule.when))}" if rule.when else ""
                    message = (
                        f"{template.name}{with_them} needs {list_words(missing)}: {rule.why} ({rule.source})"
                    )
                    hint = f"add {list_words(missing)} to {show(COMPONENTS)}, or leave the list out"
                    yield Finding(place, "BP522", message, hint)
