"""First units: one unit of a step goes first where nobody can check whether its input has the names that the step reads.

So a branch that no file has costs one failed job, and not all the jobs that a batch system would start at once.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, exists, select

from reconciler.ledger.schema.tables import attempts, intents, jobs, outputs, recipes
from reconciler.model.states import LIVE, OutputState
from reconciler.model.work_items import Address, WorkItem
from reconciler.planning.input_check import list_ends, list_needs, look_into
from renderer.applications import APPLICATIONS
from schemas.manifest.runs import run_key
from schemas.repository import Repository

StepKey = tuple[str, str]
"""Campaign and step."""


@dataclass(frozen=True, slots=True)
class StepInputs:
    """What is known of the input of steps before their first jobs.

    `lacking` maps steps whose input lacks what they read to the text that says so. `unproven` maps steps whose input
    nobody could check to a unit of theirs that is under way, or to None.
    """

    lacking: Mapping[StepKey, str]
    unproven: Mapping[StepKey, Address | None]


def check_inputs(connection: Connection, repository: Repository, items: Sequence[WorkItem]) -> StepInputs:
    """Checks the input of the items' steps. A step by whose recipes an output was produced needs no check."""
    doubtful: dict[StepKey, list[WorkItem]] = {}
    for item in items:
        if APPLICATIONS[item.step.application].reads_by_name:
            doubtful.setdefault(item.address[:2], []).append(item)
    wanted = {}
    for key, some in list(doubtful.items()):
        step = some[0].step
        made = {output for item in some for output in item.names}
        digests = {one.digest for one in some[0].units.recipes if one.output in made}
        if digests <= _find_proven(connection, digests):
            del doubtful[key]
        elif step.input.step is None and (needs := list_needs(step, repository)) is not None:
            wanted[key] = needs, list_ends(connection, step.input.level, [item.run for item in some])
    looked = look_into(wanted) if wanted else {}
    lacking = {key: one.text for key, one in looked.items() if one.lacking}
    unproven = {key: _find_live(connection, key) for key in doubtful if key not in looked}
    return StepInputs(lacking, unproven)


def _find_proven(connection: Connection, digests: set[str]) -> set[str]:
    """The digests of those recipes by which an output was produced."""
    made = exists().where(outputs.c.recipe == recipes.c.id, outputs.c.state == OutputState.PRODUCED)
    return set(connection.scalars(select(recipes.c.digest).where(recipes.c.digest.in_(digests), made)))


def _find_live(connection: Connection, key: StepKey) -> Address | None:
    """A unit of a step that is under way, or None."""
    query = select(intents.c.experiment, intents.c.run).join(jobs, jobs.c.intent == intents.c.id)
    query = query.join(attempts, attempts.c.job == jobs.c.id).where(attempts.c.state.in_(LIVE))
    here = (intents.c.campaign == key[0], intents.c.step == key[1])
    row = connection.execute(query.where(*here).limit(1)).first()
    return None if row is None else (*key, run_key(row.experiment, row.run))


class FirstUnits:
    """Which unit of a step goes first, in one turn.

    `unproven` maps the steps of which one unit must go first to a unit that is under way already, or to None.
    """

    def __init__(self, unproven: Mapping[StepKey, Address | None]) -> None:
        self._ahead = dict(unproven)
        self._waiting: dict[StepKey, deque[WorkItem]] = {}

    def admit(self, item: WorkItem) -> bool:
        """Whether a unit may begin now; one that may not is kept until the first one has ended."""
        key = item.address[:2]
        if key not in self._ahead:
            return True
        if self._ahead[key] is None:
            self._ahead[key] = item.address
        if self._ahead[key] == item.address:
            return True
        self._waiting.setdefault(key, deque()).append(item)
        return False

    def end(self, address: Address, *, produced: bool) -> list[WorkItem]:
        """The units that may begin now that a unit has ended: all that waited where it was produced, else the next one."""
        key = address[:2]
        waiting = self._waiting.get(key, deque())
        if key in self._ahead and produced:
            del self._ahead[key]
            self._waiting.pop(key, None)
            return list(waiting)
        if self._ahead.get(key) != address:
            return []
        follower = waiting.popleft() if waiting else None
        self._ahead[key] = follower.address if follower else None
        return [follower] if follower else []

    def list_waiting(self) -> Iterator[WorkItem]:
        """The units that still wait."""
        for waiting in self._waiting.values():
            yield from waiting
