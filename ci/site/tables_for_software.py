"""The site's content as JSON for software, at addresses that stay: `api/v1/NAME.json`."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from ci.reports.datasets import describe_summary
from ci.site.campaigns import CampaignContent
from ci.site.content import SiteContent
from ci.site.run_table import SCHEMA as RUNS_SCHEMA
from schemas.manifest.runs import format_runs

VERSION = "1"
"""Of the addresses and schemas. Keys are only added while it stays."""


def describe_site(content: SiteContent) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields name and content of each file; `index` lists the others."""
    moment = content.moment
    campaigns = [_describe_campaign(one) for one in content.campaigns]
    yield "runs", content.runs.describe(moment)
    yield "campaigns", _wrap("campaigns", moment, campaigns)
    yield (
        "datasets",
        _wrap(
            "datasets",
            moment,
            [
                describe_summary(
                    one, None, content.editions.get(one.name, ()), content.published.get(one.name, ())
                )
                for one in content.datasets
            ],
        ),
    )
    failures = [
        {**asdict(one), "runs": format_runs(one.runs), "newest": one.unit} for one in content.failures
    ]
    yield "failures", _wrap("failures", moment, failures)
    yield "attention", _wrap("attention", moment, [asdict(one) for one in content.attention])
    yield "comparisons", _wrap("comparisons", moment, [one.describe() for one in content.comparisons])
    yield "global_tags", _wrap("global_tags", moment, [one.describe() for one in content.tags])
    files = {
        "runs.json": RUNS_SCHEMA,
        **{
            f"{name}.json": _name(name)
            for name in ("campaigns", "datasets", "failures", "attention", "comparisons", "global_tags")
        },
    }
    yield (
        "index",
        {
            "schema": _name("index"),
            "state_of": moment,
            "ledger": {"id": content.identity.ledger, "serial": content.identity.serial},
            "files": files,
        },
    )


def _name(what: str) -> str:
    return f"b2prod-{what}/{VERSION}"


def _wrap(what: str, moment: str, rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {"schema": _name(what), "state_of": moment, what: rows}


def _describe_campaign(one: CampaignContent) -> dict[str, Any]:
    campaign = one.campaign
    declared = (
        {}
        if campaign is None
        else {
            "title": campaign.title,
            "kind": campaign.kind,
            "site": campaign.site,
            "release": campaign.release,
            "global_tags": list(campaign.tag_names),
        }
    )
    return {
        "campaign": one.name,
        "state": one.state,
        **declared,
        "units": one.units,
        "done": one.done,
        "steps": [{"step": s.step, "units": s.units, "done": s.done, **s.others} for s in one.steps],
        "conditions": [status.data() for status in one.statuses],
        "unread": one.unread,
        "pace": None if one.pace is None else asdict(one.pace),
    }
