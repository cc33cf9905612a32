"""Writes `docs/basf2.md`: the sources of basf2 that templates were checked with; `python -m ci.reports.templates_checked`."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from renderer.steering import load_eras, load_templates
from schemas.manifest.template import Era, Template

FILE = Path(__file__).parents[2] / "docs" / "basf2.md"

HEAD = """\
# What is known of basf2, and from where

Steering scripts are rendered for an era of releases. Each call in them, and each argument that they leave out, is held
against facts that were taken from the sources of basf2. Not all releases have public sources: where facts were
**inferred** from another state, that is said here, and by `b2prod explain` of a campaign. Whoever has the release can look.

A commit is one of the public history of basf2; a version is a stored copy of a file whose commit is not known.
"""


def write_evidence(eras: Iterable[Era], templates: Mapping[str, Template]) -> str:
    """The page: for each era its releases, the templates to use for them, and the sources."""
    return "\n".join([HEAD, *(line for era in eras for line in _describe_era(era, templates))])


def _describe_era(era: Era, templates: Mapping[str, Template]) -> Iterator[str]:
    current = [one.name for one in templates.values() if era in one.eras and one.superseded is None]
    yield f"## Era {era.name}: {era.title}"
    yield ""
    yield f"Releases {', '.join(f'`{one}…`' for one in (*era.releases, *era.light))}; detectors {', '.join(era.components)}."
    yield f"Templates: {', '.join(f'`{one}`' for one in current)}."
    yield ""
    yield "| source | of these releases |"
    yield "|---|---|"
    for source in era.evidence:
        yield f"| `{source}` | {source.tell()} |"
    yield ""
    if era.component_rules:
        yield "| function | with | needs | because | source |"
        yield "|---|---|---|---|---|"
        for rule in era.component_rules:
            with_them = ", ".join(sorted(rule.when)) or "any detectors"
            needs = ", ".join(sorted(rule.needs))
            yield f"| `{rule.function}` | {with_them} | {needs} | {rule.why} | `{rule.source}` |"
        yield ""


if __name__ == "__main__":
    FILE.write_text(write_evidence(load_eras().values(), load_templates()))
