"""The produced outputs that count: of each run's output, the newest version, or the one with a fingerprint. Only reads."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from itertools import groupby
from typing import Any, NamedTuple

from sqlalchemy import Connection, Select, and_, exists, not_, or_, select

from reconciler.ledger.schema.rows import divide
from reconciler.ledger.schema.tables import outputs
from reconciler.model.states import OutputState
from schemas.manifest.runs import run_key, split_key


class Head(NamedTuple):
    """An output of a run, in the version that counts. Equal numbers `recipe` mean equal recipes.

    `read` and `kept` are numbers of events, None if not counted. `number` is the output's in the ledger. `maker` are campaign and
    step of the unit that made it, as in `proc6/reco`, if the output was taken over from another unit.
    """

    step: str
    output: str
    run: int
    fingerprint: bytes
    recipe: int
    read: int | None
    kept: int | None
    number: int
    maker: str | None = None


def choose_heads(query: Select[Any]) -> Select[Any]:
    """A query of `outputs`, with only the newest produced version of each run's output."""
    later = outputs.alias()
    names = ("campaign", "step", "experiment", "run", "output")
    same = and_(*(later.c[name] == outputs.c[name] for name in names), later.c.state == OutputState.PRODUCED)
    newer = exists().where(same, later.c.version > outputs.c.version)
    return query.where(outputs.c.state == OutputState.PRODUCED, not_(newer))


def read_heads(
    connection: Connection, campaign: str, fingerprints: Collection[bytes] | None = None
) -> list[Head]:
    """The produced outputs with one of the `fingerprints`; if None is given, the newest version of each run's output."""
    query = choose_produced(campaign, "step", "output", "experiment", "run", *_HEAD).order_by(
        outputs.c.version
    )
    rows = (
        Head(step, output, run_key(experiment, run), *found)
        for step, output, experiment, run, *found in connection.execute(query)
    )
    if fingerprints is not None:
        return [head for head in rows if head.fingerprint in fingerprints]
    return list({head[:3]: head for head in rows}.values())


_HEAD = ("fingerprint", "recipe", "events_read", "events", "id")
"""The columns of an output from which its head is made, after its unit."""


def read_taken_over(
    connection: Connection,
    campaign: str,
    storage: str,
    missing: Mapping[bytes, Sequence[tuple[str, str, int]]],
    *,
    reuse: bool,
) -> list[Head]:
    """The outputs that a campaign lacks, as other units made them: of its other steps; with `reuse`, of any campaign at its storage.

    `missing` maps the fingerprints that it lacks to step, output and run key. Of several that made the same, the first one of
    the campaign counts, else the first one of all.
    """
    query = select(outputs.c.campaign, outputs.c.step, *(outputs.c[name] for name in _HEAD))
    mine = outputs.c.campaign == campaign
    query = query.where(outputs.c.state == OutputState.PRODUCED)
    query = query.where(or_(mine, outputs.c.storage == storage) if reuse else mine)
    found: dict[bytes, list[Head]] = {}
    for part in divide(sorted(missing)):
        here = query.where(outputs.c.fingerprint.in_(part))
        rows = connection.execute(here.order_by(outputs.c.campaign != campaign, outputs.c.id))
        for other, step, fingerprint, recipe, read, kept, number in rows:
            made = (fingerprint, recipe, read, kept, number)
            heads = [Head(*place, *made, maker=f"{other}/{step}") for place in missing[fingerprint]]
            found.setdefault(fingerprint, heads)
    return [head for heads in found.values() for head in heads]


def choose_produced(campaign: str, *columns: str) -> Select[*tuple[Any, ...]]:
    """A query for some columns of the produced outputs of a campaign."""
    mine = (outputs.c.campaign == campaign, outputs.c.state == OutputState.PRODUCED)
    return select(*(outputs.c[name] for name in columns)).where(*mine)


def narrow_runs(query: Select[Any], keys: Sequence[int]) -> Iterator[Select[Any]]:
    """Yields queries that together find the outputs of some sorted run keys."""
    for experiment, group in groupby(keys, key=lambda key: split_key(key)[0]):
        for part in divide(split_key(key)[1] for key in group):
            yield query.where(outputs.c.experiment == experiment, outputs.c.run.in_(part))
