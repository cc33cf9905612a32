"""A campaign diff for people, as text of at most 100 columns, and as JSON."""

from __future__ import annotations

import json
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

from ci.cli.console import WIDTH, count_things
from ci.cli.rows import align_rows
from reconciler.planning.campaign_diff.inputs import DECLARED, LOCK, Basis
from reconciler.planning.campaign_diff.values import (
    Difference,
    Field,
    OutputChange,
    PayloadChange,
    StepChange,
)
from schemas.manifest.runs import RUN_LIMIT, RunRange, split_key
from schemas.rules.support.intervals import Ranges, count

SHOWN_RANGES = 6
"""The largest number of run ranges in a line."""

OPEN = "open"
"""Replaces the number of runs of an open selection."""


def format_difference(difference: Difference, basis: Basis) -> str:
    """The difference as text: first what differs, by group, then what is the same, and last a sentence as summary."""
    groups = {
        "release": [_name_change(field.before, field.after) for field in difference.release],
        "global tags": list(_format_tags(difference)),
        "steering": [line for change in difference.steering for line in _format_step(change)],
        "runs": list(_format_runs(difference, basis)),
        "outputs": [_format_outputs(change) for change in difference.outputs],
        "site and layout (they change no data)": _align(difference.site),
        "limits, kind, state": _align(difference.limits),
        "names (they change nothing)": _align(difference.names),
    }
    lines = [f"{difference.before} → {difference.after}"]
    for title, listed in groups.items():
        if listed:
            lines += [title, *(part for line in listed for part in _fold(line, 2))]
    same = [title.partition(" (")[0] for title, listed in groups.items() if not listed]
    if same:
        lines += _fold(f"the same: {', '.join(same)}", 0)
    return "\n".join([*lines, "", *textwrap.wrap(summarise(difference, basis), WIDTH)]) + "\n"


def summarise(difference: Difference, basis: Basis) -> str:
    """One sentence: what differs, and how many units of both campaigns the later campaign need not make again."""
    units = _summarise_units(difference, basis)
    if difference.changes_data:
        return f"{units[0].upper()}{units[1:]}."
    others = ["the global tags, not their payloads"] if difference.tags else []
    others += ["the names of steps"] if difference.steering else []
    others += [_THE.get(field.name, f"`{field.name}`") for field in (*difference.site, *difference.limits)]
    listed = [name for name in dict.fromkeys(others) if name]
    if difference.names and not listed:
        listed = ["what it is called"]
    words = filter(None, [", ".join(listed[:-1]), *listed[-1:]])
    but = f" but {' and '.join(words)}" if listed else ""
    return f"Nothing differs{but}{':' if difference.shared else ';'} {units}."


_THE = {
    **dict.fromkeys(("site", "engine", "storage"), "the site"),
    **dict.fromkeys(("layout", "folders"), "the layout"),
    **dict.fromkeys(("max_units", "max_restate", "max_attempts"), "the limits"),
    **{name: f"the {name}" for name in ("kind", "state")},
    # relations to other campaigns are left out: the number of reused units tells them
    **dict.fromkeys(("supersedes", "reuse", "compare_with"), ""),
}
"""What a field of the later groups is called in the sentence. An empty text means that it is not named."""


def _summarise_units(difference: Difference, basis: Basis) -> str:
    shared = difference.shared
    if shared is None:
        declared = DECLARED in (basis.before, basis.after)
        why = "the runs are as declared" if declared else "payloads are not known"
        return f"how many units {difference.after} would take over cannot be told, because {why}"
    if not shared.units:
        return "no unit is in both"
    here = f"of {count_things(shared.units, 'unit')} in both, "
    rest = shared.units - shared.equal
    differ = "none differs" if not rest else "1 differs" if rest == 1 else f"{rest:,} differ"
    if shared.equal and shared.hindrance:
        alike = "1 is" if shared.equal == 1 else f"{shared.equal:,} are"
        return f"{here}{alike} equal and {differ}; none is taken over, because {shared.hindrance}"
    return f"{here}{f'{shared.equal:,}' if shared.equal else 'none'} would be taken over and {differ}"


def _format_tags(difference: Difference) -> Iterator[str]:
    for field in difference.tags:
        if field.name == "order":
            yield f"order: {_name_change(field.before, field.after)}"
        elif field.before is None or field.after is None:
            yield f"{'+' if field.before is None else '-'} {field.name}  {field.before or field.after}"
        else:
            yield f"~ {field.name}  {_name_change(field.before, field.after)}"
    if difference.payloads is None:
        yield "which payloads change cannot be told"
    elif difference.payloads or difference.tags:
        yield from align_rows([_list_payload(change, difference.both) for change in difference.payloads])
        payloads = len({change.payload for change in difference.payloads})
        what = "1 payload changes" if payloads == 1 else f"{payloads:,} payloads change"
        both, touched = _count(difference.both), _count(difference.touched())
        if not payloads:
            yield "no payload changes for the runs in both" if difference.both else "no run is in both"
        elif both == OPEN:
            yield f"{what}, for runs in both"
        else:
            yield f"{what}, for {touched.partition(' ')[0]} of the {both} in both"


def _list_payload(change: PayloadChange, both: Ranges) -> tuple[str, str, str, str]:
    sign = "+" if change.before is None else "-" if change.after is None else "~"
    runs = _name_runs(change.runs)
    if change.runs == both and count(both) > 1:
        runs = "all runs" if _count(both) == OPEN else f"all {_count(both)}"
    return f"  {sign}", change.payload, " → ".join(name_revisions(change)), runs


def name_revisions(change: PayloadChange) -> list[str]:
    """The revisions of a payload before and after, as in `r5`; `nothing` if there is none."""
    sides = (change.before, change.after)
    # two payloads from different databases may have the same revision number
    alike = change.before is not None and change.after is not None and change.before[0] == change.after[0]
    return [
        "nothing" if side is None else f"r{side[0]}{f' {side[1][:6]}…' if alike else ''}" for side in sides
    ]


def _format_step(change: StepChange) -> Iterator[str]:
    if change.before is None or change.after is None:
        yield f"{'+' if change.before is None else '-'} step {change.before or change.after}"
        return
    yield change.before if change.before == change.after else f"{change.before} → {change.after}"
    for line in (*_align(change.fields), *_align(change.parameters), *change.script):
        yield f"  {line}"


def _format_runs(difference: Difference, basis: Basis) -> Iterator[str]:
    yield from _align(difference.selection)
    if not (difference.only_before or difference.only_after):
        return
    yield _name_basis(difference, basis)
    yield from align_rows(
        [
            (f"only in {difference.before}", _name_runs(difference.only_before)),
            (f"only in {difference.after}", _name_runs(difference.only_after)),
            ("in both", _name_runs(difference.both)),
        ]
    )


def _name_basis(difference: Difference, basis: Basis) -> str:
    if DECLARED in (basis.before, basis.after):
        return "as declared; which of them exist is not known"
    if basis.before == basis.after:
        return "as in the locks" if basis.before == LOCK else "as the run catalogue has them"
    locked = difference.before if basis.before == LOCK else difference.after
    return f"of {locked} as in its lock, of the other as the run catalogue has them"


def _format_outputs(change: OutputChange) -> str:
    name = change.before or change.after or ""
    signs = [f"- {output}" for output in change.only_before]
    signs += [f"+ {output}" for output in change.only_after]
    return f"{name}: {', '.join(signs)}"


def _align(fields: Sequence[Field]) -> list[str]:
    return align_rows([(field.name, _name_change(field.before, field.after)) for field in fields])


def _name_change(before: Any, after: Any) -> str:
    return f"{spell(before)} → {spell(after)}"


def spell(value: Any) -> str:
    """A value as it is written in a manifest."""
    if value is None:
        return "nothing"
    if isinstance(value, dict) and "value" in value:
        return spell(value["value"]) + (" (default)" if value.get("default") else "")
    if isinstance(value, dict):
        return "{" + ", ".join(f"{key}: {spell(inner)}" for key, inner in value.items()) + "}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(spell, value))}]"
    return value if isinstance(value, str) else json.dumps(value)


def _fold(line: str, indent: int) -> list[str]:
    """The line in pieces that fit the width. A line of a script keeps its blanks."""
    text = line.lstrip()
    wrapper = textwrap.TextWrapper(WIDTH, break_on_hyphens=False, replace_whitespace=False)
    wrapper.initial_indent = " " * (indent + len(line) - len(text))
    wrapper.subsequent_indent = " " * (indent + 6)
    return wrapper.wrap(text) or [""]


def _count(runs: Ranges) -> str:
    if any(split_key(item.last)[1] >= RUN_LIMIT for item in runs):
        return OPEN
    return count_things(count(runs), "run")


def _name_runs(runs: Ranges) -> str:
    return f"{_count(runs)}: {_format_ranges(runs, SHOWN_RANGES)}" if runs else "no run"


def _format_ranges(runs: Iterable[RunRange], most: int | None = None) -> str:
    """Ranges of run keys as `3:529-613,620 5:1-8`; an open end as `5:1-`."""
    listed = list(runs)
    words: list[str] = []
    experiment = -1
    for item in listed[:most]:
        (here, first), (_, last) = split_key(item.first), split_key(item.last)
        text = f"{first}-" if last >= RUN_LIMIT else str(RunRange(first, last))
        words.append(f",{text}" if here == experiment else f" {here}:{text}")
        experiment = here
    left = count(listed[len(listed[:most]) :])
    return "".join(words).strip() + (f" and {left:,} more" if left else "")


def describe_difference(difference: Difference, basis: Basis) -> dict[str, Any]:
    """The difference as JSON."""
    payloads, shared = difference.payloads, difference.shared
    return {
        "before": difference.before,
        "after": difference.after,
        "release": _describe(difference.release),
        "global_tags": _describe(difference.tags),
        "payloads": None if payloads is None else [_describe_payload(change) for change in payloads],
        "steering": _describe(difference.steering),
        "runs": {
            "basis": {"before": basis.before, "after": basis.after},
            "notes": list(basis.notes),
            "selection": _describe(difference.selection),
            "only_before": _describe_runs(difference.only_before),
            "only_after": _describe_runs(difference.only_after),
            "both": _describe_runs(difference.both),
        },
        "outputs": _describe(difference.outputs),
        "site": _describe(difference.site),
        "limits": _describe(difference.limits),
        "names": _describe(difference.names),
        "changes_data": difference.changes_data,
        "units": shared and {"both": shared.units, "equal": shared.equal, "hindrance": shared.hindrance},
        "summary": summarise(difference, basis),
    }


def _describe(changes: Iterable[Field | StepChange | OutputChange]) -> list[dict[str, Any]]:
    return [asdict(change) for change in changes]


def _describe_payload(change: PayloadChange) -> dict[str, Any]:
    before, after = (
        side and dict(zip(("revision", "checksum"), side, strict=True))
        for side in (change.before, change.after)
    )
    return {"payload": change.payload, "before": before, "after": after, **_describe_runs(change.runs)}


def _describe_runs(runs: Ranges) -> dict[str, Any]:
    return {"count": count(runs), "runs": _format_ranges(runs)}
