"""Everything of single runs, in files of some hundred runs each, which the page of a run loads."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from sqlalchemy import Connection, select

from ci.site.payload_changes import PayloadChanges, Use
from ci.site.run_states import WORDS
from ci.site.run_table import RunTable, name_method
from reconciler.ledger.schema.tables import UNIT_ATTEMPTS, attempts, inputs, intents, outputs
from reconciler.model.states import COMING, AttemptState, OutputState
from schemas.manifest.runs import run_key, split_key

STRETCH = 256
"""How many run numbers share a file; a stretch begins at a multiple of it."""
SCHEMA = "b2prod-run-details/1"
_FACTS = ("type", "energy", "quality", "start", "stop", "seconds", "events", "removed")
_SHOWN = 12
"""How many digits of a digest are shown."""


def write_run_details(
    connection: Connection, table: RunTable, campaigns: Sequence[str]
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yields name and content of each file: `3/2` has the runs 512 to 767 of experiment 3.

    `campaigns` are those of which outputs and failures are told.
    """
    datasets = list(connection.scalars(select(inputs.c.dataset).distinct().order_by(inputs.c.dataset)))
    failures = _read_failures(connection)
    changes = PayloadChanges(connection)
    letters = {name: states.letters(table.keys) for name, states in table.states.items()}
    numbers = table.keys & 0xFFFFFFFF
    stretches = (table.keys >> 32) << 32 | numbers // STRETCH
    edges = [0, *(np.flatnonzero(np.diff(stretches)) + 1).tolist(), len(table)]
    for first, end in pairwise(edges):
        if first == end:
            continue
        keys = table.keys[first:end].tolist()
        experiment, run = split_key(keys[0])
        last = split_key(keys[-1])[1]
        found: dict[int, dict[str, Any]] = {}
        for place, key in enumerate(keys, first):
            facts = {name: table.columns[name][place] for name in _FACTS}
            values = {
                name_method(where): column[place]
                for where, column in table.luminosity.items()
                if column[place] is not None
            }
            found[split_key(key)[1]] = {
                **{name: value for name, value in facts.items() if value is not None},
                "luminosity": values,
                "states": {name: WORDS[text[place]] for name, text in letters.items() if text[place] != "."},
                "files": [],
                "outputs": [],
                "failures": failures.get(key, []),
            }
        _add_files(connection, datasets, found, experiment, run, last)
        uses: dict[int, list[Use]] = {}
        for name in campaigns:
            _add_outputs(connection, name, found, uses, experiment, run, last)
        for number, used in uses.items():
            found[number]["payloads"] = changes.tell(used)
        neighbours = {
            "before": None if first == 0 else _name(table, first - 1),
            "after": None if end == len(table) else _name(table, end),
        }
        content = {"schema": SCHEMA, "experiment": experiment, "runs": found, **neighbours}
        yield f"{experiment}/{run // STRETCH}", content


def _name(table: RunTable, place: int) -> list[int]:
    return [*split_key(int(table.keys[place]))]


def _add_files(
    connection: Connection,
    datasets: Sequence[str],
    found: dict[int, dict[str, Any]],
    experiment: int,
    first: int,
    last: int,
) -> None:
    columns = [inputs.c[name] for name in ("run", "files", "on_disk", "bytes", "events")]
    for dataset in datasets:  # the index has datasets first
        here = (inputs.c.dataset == dataset, inputs.c.experiment == experiment)
        query = select(*columns).where(*here, inputs.c.run.between(first, last))
        for run, *told in connection.execute(query):
            if run in found:
                found[run]["files"].append([dataset, *told])


def _add_outputs(
    connection: Connection,
    campaign: str,
    found: dict[int, dict[str, Any]],
    uses: dict[int, list[Use]],
    experiment: int,
    first: int,
    last: int,
) -> None:
    names = ("step", "output", "version", "state", "produced", "events_read", "events")
    columns = [outputs.c[name] for name in ("run", *names, "fingerprint", "conditions")]
    here = (outputs.c.campaign == campaign, outputs.c.experiment == experiment)
    query = select(*columns).where(*here, outputs.c.run.between(first, last))
    query = query.where(outputs.c.state.in_((OutputState.PRODUCED, OutputState.LOST, *COMING)))
    for run, *told, fingerprint, payloads in connection.execute(query.order_by(outputs.c.id)):
        if run in found:
            digests = (fingerprint.hex()[:_SHOWN], payloads and payloads[:_SHOWN])
            found[run]["outputs"].append([campaign, *told, *digests])
            if payloads is not None and told[3] == OutputState.PRODUCED:
                uses.setdefault(run, []).append((told[4] or "", f"{campaign}/{told[0]}", payloads))


def _read_failures(connection: Connection) -> dict[int, list[list[Any]]]:
    """Run key → its failed and lost attempts. All are read at once, since no index leads from runs to attempts."""
    names = ("site", "state", "failure", "begun", "ended", "reason")
    unit = (intents.c[name] for name in ("experiment", "run", "campaign", "step"))
    wrong = attempts.c.state.in_((AttemptState.FAILED, AttemptState.LOST))
    query = select(*unit, *(attempts.c[name] for name in names)).select_from(UNIT_ATTEMPTS).where(wrong)
    found: dict[int, list[list[Any]]] = {}
    for experiment, run, *told in connection.execute(query.order_by(attempts.c.id)):
        found.setdefault(run_key(experiment, run), []).append(told)
    return found
