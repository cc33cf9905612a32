"""Final places that are taken: finds outputs in a storage where a unit's outputs must go, and which the ledger does not know.

A ledger that was lost, or restored from an older copy, does not know what was published later. This is checked before
jobs are submitted, because they would make the same outputs again and could not publish them. Also found are runs whose final
places nobody can name yet.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence

from sqlalchemy import Connection, select

from reconciler.ledger.reading.heads import narrow_runs
from reconciler.ledger.schema.tables import outputs
from reconciler.model.names import RECORD_PREFIX, fill_folder, name_record
from reconciler.model.states import OutputState
from reconciler.run_catalogue.catalogue import find_energies
from renderer.identity.units import StepUnits
from schemas.conditions.snapshot import name_number
from schemas.manifest.campaign import Campaign
from schemas.manifest.layout import FIELDS, Layout
from schemas.manifest.runs import list_experiments, run_key, split_key
from schemas.repository import Repository

FEW = 1000
"""Up to this many units, each place is looked at; for more, the storage is listed first to find the runs with any output."""

TAKEN = "its final place in {} is taken, by what the ledger does not know: `b2prod state rebuild` takes over what is published"
"""The reason why such a unit is blocked. It is the same for all units of a campaign, so that they are reported together."""

Wanted = Mapping[str, Sequence[int]]
"""Step → sorted run keys of the units to be made."""


def find_taken(
    connection: Connection,
    repository: Repository,
    campaign: Campaign,
    units: Sequence[StepUnits],
    wanted: Wanted,
    storage: str,
) -> dict[str, dict[int, str]]:
    """Step → run key → why the unit is not made: an output is already at the place of its next version.

    A folder that cannot be listed counts as empty.
    """
    layout = repository.layouts[campaign.layout]
    tag = name_number(campaign.tag_names, repository.snapshots) if layout.needs("tag_id") else None
    layout_folder = layout.folder.replace("{tag_id}", tag or "none")
    taken: dict[str, dict[int, str]] = {}
    for item in units:
        name = item.step.name
        for output in item.step.outputs:
            runs: Sequence[int] = wanted.get(name, ())
            if len(runs) > FEW:
                fields = campaign.describe_output(item.step, output)
                runs = sorted(_list_present(storage, layout_folder, fields).intersection(runs))
            if not runs:
                continue
            versions = _read_versions(connection, campaign.name, name, output, runs)
            experiments = sorted({split_key(run)[0] for run in runs})
            energies = find_energies(connection, experiments) if layout.needs("energy") else {}
            for run in runs:
                version = versions.get(run, 1)
                place = {"tag_id": tag or "none", "energy": energies.get(run, "")}
                folder = fill_folder(layout, campaign, item.step, run, output, version, place)
                if _is_taken(os.path.join(storage, folder), layout, output, version):
                    taken.setdefault(name, {})[run] = TAKEN.format(storage)
    return taken


def _read_versions(
    connection: Connection, campaign: str, step: str, output: str, runs: Sequence[int]
) -> dict[int, int]:
    """Run key → the next version to be published; only runs that have a version already."""
    columns = (outputs.c.experiment, outputs.c.run, outputs.c.version, outputs.c.state)
    here = (outputs.c.campaign == campaign, outputs.c.step == step, outputs.c.output == output)
    query = select(*columns).where(*here).order_by(outputs.c.version)
    return {  # the highest version comes last
        run_key(experiment, run): version + (state != OutputState.INTENDED)
        for part in narrow_runs(query, runs)
        for experiment, run, version, state in connection.execute(part)
    }


def _is_taken(folder: str, layout: Layout, output: str, version: int) -> bool:
    """Whether an output is at a place. Hidden files and manifests do not count, but records do."""
    try:
        names = os.listdir(folder)
    except OSError:
        return False
    data = any(not name.startswith((".", "b2prod.")) for name in names)
    former = any(name.startswith(RECORD_PREFIX) for name in names)
    # a versioned folder has this one version of this one output
    free = not data or (not layout.versioned and (version > 1 or former))
    return name_record(output, version) in names or not free


def _list_present(storage: str, text: str, fields: Mapping[str, str]) -> set[int]:
    """The keys of the runs for which an output has a folder of any version; `text` is the layout's folder."""
    for field, value in fields.items():
        text = text.replace(f"{{{field}}}", value)
    parts = text.split("/")
    last = max(place for place, part in enumerate(parts) if "{experiment}" in part or "{run}" in part)
    return {
        run_key(int(found["experiment"][1:]), int(found["run"][1:]))
        for found in _walk(storage, parts[: last + 1], {})
    }


def _walk(folder: str, parts: Sequence[str], found: Mapping[str, str]) -> Iterator[Mapping[str, str]]:
    if not parts:
        yield found
        return
    part, rest = parts[0], parts[1:]
    if "{" not in part:
        yield from _walk(os.path.join(folder, part), rest, found)
        return
    pattern = re.escape(part)
    for field, form in FIELDS.items():
        pattern = pattern.replace(re.escape(f"{{{field}}}"), f"(?P<{field}>{form})", 1)
    try:
        names = os.listdir(folder)
    except OSError:
        return
    for name in names:
        if match := re.fullmatch(pattern, name, re.ASCII):
            yield from _walk(os.path.join(folder, name), rest, {**found, **match.groupdict()})


def find_pathless(
    connection: Connection, repository: Repository, campaign: Campaign, runs: Sequence[int]
) -> dict[int, str]:
    """Run → why its outputs have no path yet."""
    layout = repository.layouts[campaign.layout]
    if layout.needs("tag_id") and name_number(campaign.tag_names, repository.snapshots) is None:
        tag = campaign.tag_names[0]
        return dict.fromkeys(runs, f"the number of {tag} is not known: `b2prod gt pull {tag}` tells it")
    if not layout.needs("energy"):
        return {}
    known = find_energies(connection, list_experiments(runs))
    reason = "its beam energy is not known: import it with `b2prod runs import`"
    return {key: reason for key in runs if key not in known}
