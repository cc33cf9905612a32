"""The pages of the site and their data: HTML from templates, and JSON in scripts, which a browser reads from the file system too."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from importlib import resources
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from sqlalchemy import Connection

from ci.site.campaigns import CampaignContent, StepRow
from ci.site.content import SiteContent
from ci.site.failures import TOLD
from ci.site.figures import draw_luminosity, draw_retention
from ci.site.global_tags import LATEST
from ci.site.run_details import write_run_details
from ci.site.site_folder import SiteFolder
from ci.site.tables_for_software import describe_site
from schemas.repository import NAME

ASSETS = (
    "site.css",
    "site.js",
    "runs.js",
    "run.js",
    "plots.js",
    "vendor/uPlot.js",
    "vendor/uPlot.css",
    "vendor/LICENSE.txt",
)
SEGMENTS = (
    "done",
    "in flight",
    "submit",
    "restate",
    "waiting",
    "unknown",
    "blocked",
    "quarantined",
)
"""The parts of a bar of progress, in their order; `submit` and others are words of a plan's actions."""

_WORDS = {"submit": "to be made", "restate": "to be restated", "quarantined": "in quarantine"}


def write_site(folder: SiteFolder, connection: Connection, content: SiteContent) -> None:
    """Writes all files of the site; the first page last, since it leads to the others.

    Raises:
        WrongUse: a file cannot be written.
    """
    for name in ASSETS:
        data = resources.files("ci.site").joinpath("assets", name).read_bytes()
        folder.write(f"assets/{name}", data)
    table = content.runs
    names = [one.name for one in content.campaigns]
    for path, details in write_run_details(connection, table, names):
        folder.write(f"data/runs/{path}.js", _hand_over(f"runs/{path}", details))
    folder.write("data/runs.js", _hand_over("runs", table.pack()))
    environment = _make_environment(content)
    plotted: dict[str, Any] = {"schema": "b2prod-figures/1", "campaigns": {}}
    for one in content.campaigns:
        if NAME.fullmatch(one.name) is None:  # what is not a name of ours is not made a file's
            continue
        figures = _draw(one, content)
        plotted["campaigns"][one.name] = {"luminosity": figures["luminosity"]}
        folder.write(f"data/campaigns/{one.name}.js", _hand_over("figures", figures))
        own = {dataset.name for dataset in content.datasets if dataset.name.startswith(f"{one.name}/")}
        page = environment.get_template("campaign.html.j2").render(
            root="../", campaign=one, figures=figures, own=own
        )
        folder.write(f"campaigns/{one.name}.html", page)
    folder.write("data/luminosity.js", _hand_over("figures", plotted))
    for name, value in describe_site(content):
        folder.write(
            f"api/v1/{name}.json", json.dumps(value, ensure_ascii=False, separators=(",", ":")) + "\n"
        )
    totals = [
        (name, {**figure, "place": place})
        for name, figures in plotted["campaigns"].items()
        for place, figure in enumerate(figures["luminosity"])
    ]
    told = {"moment": content.moment, "changed": content.changed, "serial": content.identity.serial}
    folder.write("data/site.js", _hand_over("site", told))
    for page, root in (
        ("runs/index", "../"),
        ("runs/run", "../"),
        ("campaigns/index", "../"),
        ("datasets/index", "../"),
        ("comparisons/index", "../"),
        ("tags/index", "../"),
        ("luminosity/index", "../"),
        ("software/index", "../"),
        ("index", ""),
    ):
        template = f"{page.replace('/', '_')}.html.j2"
        folder.write(f"{page}.html", environment.get_template(template).render(root=root, totals=totals))
    folder.end()


def _hand_over(name: str, value: Any) -> str:
    """A script that hands JSON over to the page."""
    return (
        f"b2prod.take({json.dumps(name)},{json.dumps(value, ensure_ascii=False, separators=(',', ':'))});\n"
    )


def _draw(one: CampaignContent, content: SiteContent) -> dict[str, Any]:
    luminosity: list[dict[str, Any]] = []
    retention: list[dict[str, Any]] = []
    if one.run_states is not None:
        luminosity = draw_luminosity(content.runs, one.run_states.list_done())
    if one.production is not None:
        retention = list(draw_retention(one.production))
    return {"schema": "b2prod-figures/1", "luminosity": luminosity, "retention": retention}


def _make_environment(content: SiteContent) -> Environment:
    environment = Environment(
        loader=PackageLoader("ci.site", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals.update(
        content=content,
        live=sorted(
            (one for one in content.campaigns if one.view is not None or one.unread is not None),
            key=lambda one: (one.state != "active", one.name),
        ),
        named=lambda name: NAME.fullmatch(name) is not None,
        segment_steps=segment_steps,
        told=TOLD,
        latest=LATEST,
    )
    environment.filters.update(number=_format_number, bytes=_format_bytes, luminosity=_format_luminosity)
    return environment


def segment_steps(steps: tuple[StepRow, ...]) -> list[tuple[str, str, int, float, float]]:
    """The parts of a bar of progress: class, words, units, and where it begins and how wide it is, in per cent."""
    counts: dict[str, int] = dict.fromkeys(SEGMENTS, 0)
    for step in steps:
        counts["done"] += step.done
        for word, count in step.others.items():
            if word in counts:
                counts[word] += count
    total = sum(counts.values())
    return list(_place(counts, total)) if total else []


def _place(counts: Mapping[str, int], total: int) -> Iterator[tuple[str, str, int, float, float]]:
    begin = 0.0
    for word, count in counts.items():
        if count:
            width = 100 * count / total
            yield word.replace(" ", "-"), _WORDS.get(word, word), count, round(begin, 3), round(width, 3)
            begin += width


def _format_number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.3g}" if value < 100 else f"{value:,.0f}"


def _format_bytes(value: float) -> str:
    for unit, size in (("PB", 1e15), ("TB", 1e12), ("GB", 1e9), ("MB", 1e6)):
        if value >= size:
            return f"{value / size:,.1f} {unit}"
    return f"{value / 1e3:,.1f} kB"


def _format_luminosity(value: float | None) -> str:
    """A luminosity in inverse nanobarn, in a unit that suits it."""
    if value is None:
        return "–"
    unit, size = next((one for one in (("fb⁻¹", 1e6), ("pb⁻¹", 1e3)) if abs(value) >= one[1]), ("nb⁻¹", 1.0))
    return f"{value / size:,.4g} {unit}"
