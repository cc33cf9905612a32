"""Production requests of single units; the engine gb2 joins those of a batch to one production."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from sqlalchemy import Connection

from reconciler.conditions.metadata_file import cut_snapshots, write_metadata
from reconciler.engines.gb2.requests import REQUEST
from reconciler.ledger.reading.measurement import expect_events
from reconciler.model.work_items import WorkItem
from reconciler.outside.errors import SourceUnavailable
from reconciler.run_catalogue.catalogue import find_energies
from renderer.applications.port import STEERING
from renderer.identity.units import NO_CHAIN, StepUnits
from renderer.jobs.requests import render_requests, write_sandbox
from schemas.manifest.runs import split_key
from schemas.repository import Repository


def files_for(
    connection: Connection, item: WorkItem, repository: Repository, files: Mapping[str, bytes]
) -> dict[str, bytes]:
    """`request.json` beside a job's other `files`: the request for its unit alone, with the files to be uploaded.

    Empty if there is no steering script, since the grid runs basf2 only. The conditions metadata file is not in it: the
    file of a batch is joined from those in its attempts' folders.
    """
    if STEERING not in files:
        return {}
    recipes = tuple(output.recipe for output in item.outputs)
    hs06 = {name: site.hs06 for name, site in repository.sites.items()}
    units = StepUnits(
        step=item.step,
        recipes=recipes,
        runs=(item.run,),
        fingerprints={name: item.units.fingerprints[name].choose((item.index,)) for name in item.names},
        inputs=(),
        payload_sets=None,
        waiting={},
        chains=NO_CHAIN,
    )
    inputs = {item.run: [file for job in item.jobs for file in job.inputs]}
    digests = {recipe.output: recipe.digest for recipe in recipes}
    expected = expect_events(connection, item.step, digests, hs06)
    energies = find_energies(connection, [split_key(item.run)[0]])
    (request,) = render_requests(item.campaign, units, repository, inputs, expected, energies)
    script = files[STEERING].decode()
    uploaded = {name: content.decode() for name, content in write_sandbox(request, script).items()}
    written = json.dumps({"request": request.content, "files": uploaded}, indent=1, sort_keys=True)
    return {REQUEST: written.encode()}


def write_excerpt(units: StepUnits, runs: Sequence[int]) -> bytes:
    """The conditions metadata file of some runs of a step: what each of them uses of the campaign's tags.

    Raises:
        SourceUnavailable: the tags contradict one another.
    """
    testing = len(units.step.deviations.testing_payloads)
    used = ((chain[testing:], here) for chain, here in units.chains.divide(runs))
    try:
        return write_metadata(cut_snapshots(used))
    except ValueError as error:
        raise SourceUnavailable(f"the global tags of the step {units.step.name}: {error}") from error
