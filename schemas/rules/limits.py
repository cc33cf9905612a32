"""Rules on limits: of a campaign, of the variants of a step, of a queue.

The true number of units needs the run catalogue and is for `b2prod resolve` to check.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.findings.finding import Finding
from schemas.manifest.variant import MOST_VARIANTS, count_variants, is_expandable
from schemas.repository import Repository
from schemas.rules.support.documents import find_clash
from schemas.rules.support.intervals import count, take
from schemas.yaml.composer import Path
from schemas.yaml.scalars import show

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


def check_variants(repository: Repository) -> Iterator[Finding]:
    """Ensure that skims and scans do not make too many variants of a step; it is told of steps that make more of them."""
    for declared in repository.campaigns.values():
        counts = count_variants(declared.campaign.steps)
        for step in declared.campaign.steps:
            if counts[step.name] <= MOST_VARIANTS or not (step.scans or step.input.skims):
                continue
            what = " and ".join(
                word for word, there in (("skims", step.input.skims), ("scans", step.scans)) if there
            )
            path: Path = (
                ("steps", step.name, "scan") if step.scans else ("steps", step.name, "input", "skims")
            )
            message = (
                f"the {what} make {counts[step.name]:,} variants of {step.name}; the most are {MOST_VARIANTS}"
            )
            hint = "take fewer, or divide them among several campaigns"
            yield Finding(declared.document.key_place(path), "BP701", message, hint)


def check_queues(repository: Repository) -> Iterator[Finding]:
    """Ensure that a site's queue is among those whose limits it states, and that its jobs fit into it."""
    for name, site in repository.sites.items():
        document = repository.site_documents[name]
        if not site.queues or site.queue is None:
            continue
        limits = site.queues.get(site.queue)
        if limits is None:
            message = f"there is no queue {show(site.queue)} among `queues`"
            hint = f"write one of {', '.join(sorted(site.queues))}, or add its limits"
            yield Finding(document.place(("queue",)), "BP506", message, hint)
            continue
        asked = (
            (("batch", "minutes"), site.batch.minutes, limits.minutes, "minutes"),
            (("batch", "memory"), site.batch.memory, limits.memory, "MB"),
            (("slots",), site.slots, limits.slots, "jobs of one account"),
        )
        for path, wanted, most, unit in asked:
            if wanted is not None and most is not None and wanted > most:
                message = f"the queue {site.queue} gives {most} {unit}, not {wanted}"
                yield Finding(
                    document.place(path), "BP702", message, f"write {most} or less, or choose another queue"
                )
