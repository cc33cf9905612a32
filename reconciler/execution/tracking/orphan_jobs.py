"""Orphan jobs: jobs of attempts that a ledger began before it was restored or rebuilt, and does not know any more.

Nobody uses what they make. So their jobs are ended, and their folders are removed when no job is left. Their names begin
with an earlier id of the ledger. Names with its present id, or with another ledger's id, are not touched.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from reconciler.execution.sites.site_engines import SiteEngines
from reconciler.execution.tracking.workspace import Workspace
from reconciler.ledger.upkeep.succession import NAMED, list_formers
from reconciler.ledger.writing.leftovers import Leftovers
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.engine import Engine, EngineUnavailable, JobHandle, Sighting
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.plain_files import NotPlain, read_plain

LONG_AGO = "1970-01-02T00:00:00Z"
MEMBERS = 1 << 24
"""Largest size in bytes of a batch's list of members."""


def end_orphan_jobs(
    writer: Writer, site_engines: SiteEngines, workspace: Workspace, ledger: Leftovers
) -> int:
    """Asks the engines to end all orphan jobs. Returns how many still run.

    A site that cannot be asked is asked again in the next turn; until then all folders of orphan jobs are kept.
    """
    with writer.reading() as connection:
        formers = {f"b2p-{one[:NAMED]}-" for one in list_formers(connection)}
    if not formers:
        return 0
    ours = tuple(formers)
    attempts = [name for name in workspace.names() if name.startswith(ours)]
    batches = [name for name in workspace.batch_names() if name.startswith(ours)]
    attempts = sorted({*attempts} - ledger.list_known(attempts))
    batches = sorted({*batches} - ledger.list_known(batches, of_batches=True))
    if not attempts and not batches:
        return 0
    running, complete = 0, True
    for site in site_engines.list_sites():
        try:
            engine = site_engines.engine(site)
            if engine.attached:
                here = [JobHandle(name, "", workspace.path(name), name, 0, LONG_AGO) for name in attempts]
            else:
                here = [handle for name in batches for handle in _read_members(workspace.batches / name)]
            running += _end(engine, here) if here else 0
        except (EngineUnavailable, SourceUnavailable):
            complete = False  # a job may still run there
    if complete and not running:
        workspace.sweep(attempts, batches)
    return running


def _read_members(home: Path) -> list[JobHandle]:
    """The members of a batch, read from its folder; empty if the folder does not list them."""
    try:
        members = json.loads(read_plain(home / "members.json", MEMBERS))
        return [
            JobHandle(str(name), "", Path(str(folder)), home.name, int(place[0]), LONG_AGO, home=home)
            for index, (folder, name, _, *shared) in enumerate(members)
            for place in [shared or [index]]
        ]
    except (OSError, NotPlain, ValueError, TypeError):
        return []


def _end(engine: Engine, handles: Sequence[JobHandle]) -> int:
    """Asks for the end of the handles' jobs. Returns how many still run."""
    found = engine.find(handles)
    known = [replace(one, reference=told) for one in handles for told in found.get(one.name, ())]
    seen = engine.query(known) if known else {}
    over = (Sighting.ENDED, Sighting.ABSENT)
    alive = [one for one in known if one.name in seen and seen[one.name].sighting not in over]
    if alive:
        engine.cancel(alive)
    return len(alive)
