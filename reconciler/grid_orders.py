"""Production requests of single units: what the grid's engine makes a batch's production of."""

from __future__ import annotations

import json

from sqlalchemy import Connection

from reconciler.ledger.observation import expect_events
from reconciler.orders import Order
from renderer.requests import render_requests, write_sandbox
from renderer.units import NO_CHAIN, StepUnits
from schemas.repository import Repository


def write_unit_request(connection: Connection, order: Order, repository: Repository, script: str) -> bytes:
    """The bytes of `request.json`: the request for one unit alone, and the files that are uploaded with it."""
    recipes = tuple(output.recipe for output in order.outputs)
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
    expected = expect_events(connection, order.step, [recipe.digest for recipe in recipes])
    (request,) = render_requests(order.campaign, units, repository, inputs, expected)
    files = {name: content.decode() for name, content in write_sandbox(request, script).items()}
    return json.dumps({"request": request.content, "files": files}, indent=1, sort_keys=True).encode()
