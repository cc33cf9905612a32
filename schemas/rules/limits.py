"""Rules on limits. The true number of units needs the run catalogue and is for `b2prod resolve` to check."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.findings.finding import Finding
from schemas.manifest.variant import count_variants, is_expandable
from schemas.repository import Repository
from schemas.rules.support.clashes import find_clash
from schemas.rules.support.intervals import count, take

UNIT_LIMIT = 10**8
"""Units that a campaign may declare at most, counted as declared runs × steps, whether the runs exist or not."""


def check_ceilings(repository: Repository) -> Iterator[Finding]:
    """Ensure that what is declared can be meant: not beyond all measure, and no ceiling below one run of each step."""
    for declared in repository.campaigns.values():
        campaign, document = declared.campaign, declared.document
        # too many variants are another rule's to tell
        counts = count_variants(campaign.steps) if is_expandable(campaign.steps) else {}
        steps = sum(counts.get(step.name, 1) for step in campaign.steps)
        each = "step" if steps == len(campaign.steps) else "step and variant"
        runs = sum(one.max_runs or 0 if one.is_open else count(take(one)) for one in campaign.selectors)
        if runs * steps > UNIT_LIMIT:
            message = f"{runs} declared runs × {steps} steps are {runs * steps} units; at most {UNIT_LIMIT} may be declared"
            yield Finding(document.key_place(("runs",)), "BP701", message, "select the runs that are meant")
        if campaign.limits.max_units < steps:
            message = (
                f"one run has {steps} units, one for each {each}; allowed are {campaign.limits.max_units}"
            )
            yield Finding(document.place(("limits", "max_units")), "BP701", message, f"write {steps} or more")


def check_restating(repository: Repository) -> Iterator[Finding]:
    """Ensure that outputs may be restated only where a second version has a place of its own."""
    for declared in repository.campaigns.values():
        campaign = declared.campaign
        layout = repository.layouts.get(campaign.layout)
        if layout is not None and campaign.limits.max_restate and not layout.versioned:
            message = f"nothing can be restated: the layout {layout.name} has no `{{version}}`"
            hint = "write `max_restate: 0`, or choose a layout with `{version}`"
            yield find_clash(declared.document, ("layout",), ("limits", "max_restate"), message, hint)


def check_restate_limits(repository: Repository) -> Iterator[Finding]:
    """Ensure that a change of the data allows no more units to be made again than the campaign's limits do."""
    for declared in repository.campaigns.values():
        restate, limits = declared.campaign.restate, declared.campaign.limits
        if restate is not None and restate.limit > limits.max_restate:
            message = f"{restate.limit} units may be made again, and max_restate is {limits.max_restate}"
            hint = f"write `max_restate: {restate.limit}`, or a lower limit"
            paths = ("restate", "limit"), ("limits",)
            yield find_clash(declared.document, *paths, message, hint)
