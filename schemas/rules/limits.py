"""Rules on limits: of campaigns, of variants, of queues.

The true number of units needs the run catalogue; `b2prod resolve` checks it.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.findings.finding import Finding
from schemas.manifest.variant import MOST_VARIANTS, count_variants, is_expandable
from schemas.repository import Repository
from schemas.rules.support.intervals import count, take
from schemas.yaml.scalars import show

UNIT_LIMIT = 10**8
"""The largest number of units of a campaign, counted as declared runs × steps, whether the runs exist or not."""


def check_ceilings(repository: Repository) -> Iterator[Finding]:
    """Ensure that a campaign declares at most `UNIT_LIMIT` units, and that `max_units` allows one run of every step."""
    for campaign, document in repository.list_campaigns():
        # another rule reports too many variants
        counts = count_variants(campaign.steps) if is_expandable(campaign.steps) else {}
        steps = sum(counts.get(step.name, 1) for step in campaign.steps)
        each = "step" if steps == len(campaign.steps) else "step and variant"
        runs = sum(one.max_runs or 0 if one.is_open else count(take(one)) for one in campaign.selectors)
        if runs * steps > UNIT_LIMIT:
            message = f"{runs} declared runs × {steps} steps are {runs * steps} units; at most {UNIT_LIMIT} may be declared"
            yield document.report_key(("runs",), "BP701", message, "select the runs that are meant")
        if campaign.limits.max_units < steps:
            message = f"a run has {steps} units, one for each {each}; allowed are {campaign.limits.max_units}"
            yield document.report(("limits", "max_units"), "BP701", message, f"write {steps} or more")


def check_bundles(repository: Repository) -> Iterator[Finding]:
    """Ensure that the site of a step with a bundle can run several units in one job; `local` needs none."""
    for campaign, document, step in repository.list_steps():
        site = repository.sites.get(campaign.site)
        if step.bundle is None or site is None or site.traits.bundles or site.traits.attached:
            continue
        why = _SEPARATE.get(site.engine, "which gets each unit as a job of its own")
        message = f"`bundle` means nothing at {site.name}: its engine is {site.engine}, {why}"
        hint = "remove it, or choose a site whose engine is slurm or lsf"
        yield document.report_clash(("steps", step.name, "bundle"), ("site",), message, hint, "BP511")


_SEPARATE = {"gb2": "where the production system itself divides a production into jobs"}
"""Why an engine runs no bundles, where there is more to say."""


def check_restating(repository: Repository) -> Iterator[Finding]:
    """Ensure that restating has a layout with versions and stays within the limits."""
    for campaign, document in repository.list_campaigns():
        layout, restate, limits = repository.layouts.get(campaign.layout), campaign.restate, campaign.limits
        if layout is not None and limits.max_restate and not layout.versioned:
            message = f"nothing can be restated: the layout {layout.name} has no `{{version}}`"
            hint = "write `max_restate: 0`, or choose a layout with `{version}`"
            yield document.report_clash(("layout",), ("limits", "max_restate"), message, hint)
        if restate is not None and restate.limit > limits.max_restate:
            message = f"{restate.limit} units may be made again, and max_restate is {limits.max_restate}"
            hint = f"write `max_restate: {restate.limit}`, or a lower limit"
            yield document.report_clash(("restate", "limit"), ("limits",), message, hint)


def check_variants(repository: Repository) -> Iterator[Finding]:
    """Ensure that skims and scans do not make too many variants of a step; the finding is on the step that adds variants."""
    for campaign, document in repository.list_campaigns():
        counts = count_variants(campaign.steps)
        for step in campaign.steps:
            number = counts[step.name]
            if number <= MOST_VARIANTS or not (step.scans or step.input.skims):
                continue
            kinds = {"skims": step.input.skims, "scans": step.scans}
            what = " and ".join(kind for kind, found in kinds.items() if found)
            key = ("scan",) if step.scans else ("input", "skims")
            message = f"the {what} make {number:,} variants of {step.name}; the most are {MOST_VARIANTS}"
            hint = "take fewer, or divide them among several campaigns"
            yield document.report_key(("steps", step.name, *key), "BP701", message, hint)


def check_queues(repository: Repository) -> Iterator[Finding]:
    """Ensure that a site's queue is one of its `queues`, if it states any, and that its jobs fit into the limits."""
    for name, site in repository.sites.items():
        document = repository.site_documents[name]
        if not site.queues or site.queue is None:
            continue
        limits = site.queues.get(site.queue)
        if limits is None:
            message = f"there is no queue {show(site.queue)} among `queues`"
            hint = f"write one of {', '.join(sorted(site.queues))}, or add its limits"
            yield document.report(("queue",), "BP506", message, hint)
            continue
        asked = (
            (("batch", "minutes"), site.batch.minutes, limits.minutes, "minutes"),
            (("batch", "memory"), site.batch.memory, limits.memory, "MB"),
            (("slots",), site.slots, limits.slots, "jobs of one account"),
        )
        for path, wanted, most, unit in asked:
            if wanted is not None and most is not None and wanted > most:
                message = f"the queue {site.queue} gives {most} {unit}, not {wanted}"
                hint = f"write {most} or less, or choose another queue"
                yield document.report(path, "BP702", message, hint)
