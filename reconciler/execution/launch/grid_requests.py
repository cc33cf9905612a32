"""Production requests of single units: what the grid's engine makes a batch's production of."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Connection

from reconciler.conditions.excerpt import cut_snapshots
from reconciler.conditions.metadata_file import write_metadata
from reconciler.ledger.reading.measurement import expect_events
from reconciler.model.work_items import WorkItem
from reconciler.outside.errors import SourceUnavailable
from reconciler.run_catalogue.catalogue import find_energies
from renderer.identity.units import NO_CHAIN, StepUnits
from renderer.jobs.requests import render_requests, write_sandbox
from schemas.manifest.runs import split_key
from schemas.repository import Repository


def write_unit_request(connection: Connection, order: WorkItem, repository: Repository, script: str) -> bytes:
    """The bytes of `request.json`: the request for one unit alone, and the files that are uploaded with it.

    The conditions metadata file is not among them: that of a batch is made of those in its attempts' folders.
    """
    recipes = tuple(output.recipe for output in order.outputs)
    hs06 = {name: site.hs06 for name, site in repository.sites.items()}
    units = StepUnits(
        step=order.step,
        recipes=recipes,
        runs=(order.run,),
        fingerprints={output: (fingerprint,) for output, fingerprint in order.fingerprints.items()},
        inputs=(),
        conditions=None,
        waiting={},
        chains=NO_CHAIN,
    )
    inputs = {order.run: [file for job in order.jobs for file in job.inputs]}
    digests = {recipe.output: recipe.digest for recipe in recipes}
    expected = expect_events(connection, order.step, digests, hs06)
    energies = find_energies(connection, [split_key(order.run)[0]])
    (request,) = render_requests(order.campaign, units, repository, inputs, expected, energies)
    files = {name: content.decode() for name, content in write_sandbox(request, script).items()}
    return json.dumps({"request": request.content, "files": files}, indent=1, sort_keys=True).encode()


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
