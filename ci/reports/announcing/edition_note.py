"""The note of an edition as text and as Markdown. Both are made of its JSON data, so that a note that was kept reads as it did."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ci.cli.console import count_things
from ci.cli.markdown import escape, table
from ci.cli.quantities import format_rate
from ci.cli.rows import align_rows
from ci.reports.announcing.known_issues import format_issue
from ci.reports.luminosity import format_value
from reconciler.run_catalogue.luminosity import Measurement
from schemas.manifest.runs import format_runs, parse_runs

_RANGES = 20
"""The largest number of run ranges in a line; the JSON has all."""
_NAMES = 12
"""The largest number of payloads of a detector that are named."""
_REASONS = 20
"""The largest number of reasons that are listed."""
_UNIT = "pb"


@dataclass(frozen=True, slots=True)
class _Section:
    """A part of the note: sentences, then a table whose first row is its heading."""

    title: str
    lines: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    numbers: tuple[str, ...] = ()


def format_note(told: Mapping[str, Any], value: str) -> str:
    """The note with these JSON data and this digest as text."""
    lines = [f"{_name(told)}", "", *_tell_edition(told)]
    for one in _list_sections(told):
        lines += ["", f"{one.title}:", *(f"  {line}" for line in one.lines)]
        if one.rows:
            right = [place for place, name in enumerate(one.rows[0]) if name in one.numbers]
            lines += [f"  {line}" for line in align_rows(one.rows, right)]
    return "".join(f"{line}\n" for line in [*lines, "", f"note {value}"])


def format_note_markdown(told: Mapping[str, Any], value: str) -> str:
    """The note as Markdown, for a release on a forge, a mail or a chat."""
    lines = [f"## {escape(_name(told))}", "", *(f"- {escape(line)}" for line in _tell_edition(told))]
    for one in _list_sections(told):
        lines += ["", f"### {escape(one.title)}"]
        if one.lines:
            lines += ["", *(f"- {escape(line)}" for line in one.lines)]
        if one.rows:
            head, *body = ([escape(cell) for cell in row] for row in one.rows)
            lines += ["", *table(head, body, [escape(name) for name in one.numbers])]
    return "\n".join([*lines, "", f"<sub>note {value}</sub>"]) + "\n"


def _name(told: Mapping[str, Any]) -> str:
    against = f", against {told['against']['name']}" if "against" in told else ""
    return f"{told['edition']['name']}{against}"


def _tell_edition(told: Mapping[str, Any]) -> Iterator[str]:
    edition = told["edition"]
    yield f"frozen {edition['frozen']}, edition {edition['digest']}"
    if "reason" in edition:
        yield edition["reason"]
    yield f"{count_things(edition['runs'], 'run')}: {_shorten(told['runs'])}"
    yield from _tell_places(told)


def _tell_places(told: Mapping[str, Any]) -> Iterator[str]:
    for one in told["published"]:
        yield f"read it at {one['where']}, since {one['since']}"


def _list_sections(told: Mapping[str, Any]) -> Iterator[_Section]:
    if told["known_issues"]:
        yield _Section("Known issues", tuple(map(format_issue, told["known_issues"])))
    yield _Section("What is in it", tuple(_tell_changes(told)), *_tabulate_totals(told))
    yield _Section("Made with", tuple(_tell_made(told)))
    if "payloads" in told:
        yield _tell_payloads(told["payloads"])
    if told["edition"]["skims"] or told.get("against", {}).get("skims"):
        yield _Section("Skims, their cuts and what they keep", (), *_tabulate_skims(told))
    yield _tell_luminosity(told)
    yield _Section("Validation", tuple(_tell_verdicts(told)))
    yield _tell_missing(told["missing"])


def _tabulate_totals(told: Mapping[str, Any]) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    numbers = ("runs", "files", "events", "GB")
    sides = [told[side] for side in ("edition", "against") if side in told]
    rows = [
        (
            one["name"],
            f"{one['runs']:,}",
            f"{one['files']:,}",
            _count_events(one),
            f"{one['bytes'] / 1e9:,.1f}",
        )
        for one in sides
    ]
    return (("edition", *numbers), *rows), numbers


def _count_events(totals: Mapping[str, Any]) -> str:
    if totals["runs"] and totals["uncounted"] == totals["runs"]:
        return "not counted"
    return f"{'≥ ' if totals['uncounted'] else ''}{totals['events']:,}"


def _tell_changes(told: Mapping[str, Any]) -> Iterator[str]:
    if "against" not in told:
        yield "there is no edition before it"
        return
    before = told["against"]["name"]
    for key, words in (("gained", "gained"), ("lost", f"that only {before} has")):
        runs = parse_runs(told[key])
        yield f"{count_things(len(runs), 'run')} {words}{f': {_shorten(told[key])}' if runs else ''}"
    yield f"{count_things(told['same'], 'run')} as in {before}"
    for one in told["changed"][:_REASONS]:
        yield f"{count_things(one['count'], 'run')}: {one['reason']}: {_shorten(one['runs'])}"
    if left := told["changed"][_REASONS:]:
        yield f"{count_things(sum(one['count'] for one in left), 'run')} for other reasons"
    if told["recounted"]:
        yield f"made alike with other numbers of events: {_shorten(told['recounted'])}"


def _tell_made(told: Mapping[str, Any]) -> Iterator[str]:
    for side in ("edition", "against"):
        one = told.get(side)
        if one is None:
            continue
        tags = ", ".join(one["global_tags"]) or "not known"
        yield f"{one['name']}: global tags: {tags}"
        for made in one["made_with"]:
            facts = "; ".join(f"{key} {made[key]}" for key in _FACTS if key in made)
            yield f"{one['name']}: {count_things(made['runs'], 'run')}: {facts or 'not known'}"


_FACTS = ("release", "application", "level", "skim", "cut", "line", "decision", "variant", "overrides")
"""How an edition was made, in this order."""


def _tell_payloads(told: Mapping[str, Any]) -> _Section:
    title = "Payloads by detector"
    lines = [f"compared in {count_things(told['runs'], 'run')} of both editions"]
    if told["unknown"]:
        lines.append(f"the payloads of {count_things(told['unknown'], 'run')} of both are not known")
    if not told["detectors"]:
        return _Section(title, (*lines, "no payload is another one"))
    rows = [("detector", "payloads")]
    for detector, changes in told["detectors"].items():
        words = [f"{one['name']} {one['change']} ({one['runs']:,})" for one in changes]
        more = f" and {len(words) - _NAMES} more" if len(words) > _NAMES else ""
        rows.append((detector, f"{', '.join(words[:_NAMES])}{more}"))
    return _Section(title, (f"{lines[0]}; in brackets the runs of a change", *lines[1:]), tuple(rows))


def _tabulate_skims(told: Mapping[str, Any]) -> tuple[tuple[tuple[str, ...], ...], tuple[str, ...]]:
    numbers = ("runs", "kept", "read", "rate / %", "before / %")
    former: dict[str, Mapping[str, Any]] = {}
    for one in told.get("against", {}).get("skims", ()):
        former.setdefault(one["skim"], one)
    rows = [("dataset", "selects", *numbers)]
    for one in told["edition"]["skims"]:
        before = former.pop(one["skim"], None)
        selects = " or ".join(_tell_selection(how) for how in one["selects"])
        if before is not None and before["selects"] != one["selects"]:
            selects += f" (before: {' or '.join(_tell_selection(how) for how in before['selects'])})"
        counts = (f"{one['runs']:,}", f"{one['kept']:,}", f"{one['read']:,}")
        rows.append((one["dataset"], selects, *counts, _format_rate(one), _format_rate(before)))
    for one in former.values():
        selects = " or ".join(_tell_selection(how) for how in one["selects"])
        rows.append((f"{one['dataset']} only", selects, "", "", "", "–", _format_rate(one)))
    return tuple(rows), numbers


def _tell_selection(how: Mapping[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in how.items()) or "as in basf2"


def _format_rate(one: Mapping[str, Any] | None) -> str:
    return "–" if one is None else format_rate(one["rate"], one["low"], one["high"])


def _tell_luminosity(told: Mapping[str, Any]) -> _Section:
    title = "Luminosity of these runs"
    totals = [(one["name"], total) for one in _list_sides(told) for total in one["luminosity"]]
    if not totals:
        return _Section(title, ("none is recorded; `b2prod lumi import` records it",))
    numbers = (f"{_UNIT}⁻¹", "runs", "without")
    rows = [("edition", "method", "version", *numbers)]
    for name, total in totals:
        method = " ".join(filter(None, (total["method"], total["correction"])))
        without = len(parse_runs(total["without"]))
        cells = (
            name,
            method,
            total["version"],
            _format_luminosity(total),
            f"{total['runs']:,}",
            f"{without:,}",
        )
        rows.append(cells)
    lines = [
        f"over the runs of both, {_name_method(one)}: {one['ratio']:.4f} of what {told['against']['name']} has"
        for one in told.get("common_luminosity", ())
        if one["ratio"] is not None
    ]
    return _Section(title, tuple(lines), tuple(rows), numbers)


def _list_sides(told: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [told[side] for side in ("edition", "against") if side in told]


def _name_method(one: Mapping[str, Any]) -> str:
    return " ".join(filter(None, (one["method"], one["correction"])))


def _format_luminosity(one: Mapping[str, Any]) -> str:
    if one["value"] is None:
        return "–"
    return format_value(Measurement(0, one["value"], one["statistical"], one["systematic"]), _UNIT)


def _tell_verdicts(told: Mapping[str, Any]) -> Iterator[str]:
    if not told["validation"]:
        yield "it was not compared: `b2prod compare A B --keep` keeps a verdict"
    for one in told["validation"]:
        runs = parse_runs(one["runs"])
        old = "" if one["current"] else ", by criteria that are others now"
        yield (
            f"{one['verdict']}, by {one['validation']}{old}, against {one['against']}"
            f" in {count_things(len(runs), 'run')}: comparison {one['comparison'][:12]} of {one['made']}"
        )


def _tell_missing(told: Mapping[str, Any]) -> _Section:
    title = "Missing runs"
    if "unknown" in told:
        return _Section(title, (f"not known: {told['unknown']}",))
    missing = sum(one["count"] for one in told["missing"])
    lines = [f"{missing:,} of {count_things(told['selected'], 'selected run')}"]
    shown: Sequence[Mapping[str, Any]] = told["missing"][:_REASONS]
    lines += [
        f"{count_things(one['count'], 'run')}: {one['reason']}: {_shorten(one['runs'])}" for one in shown
    ]
    if left := told["missing"][_REASONS:]:
        lines.append(f"{count_things(sum(one['count'] for one in left), 'run')} for other reasons")
    return _Section(title, tuple(lines))


def _shorten(runs: str) -> str:
    return format_runs(parse_runs(runs), _RANGES)
