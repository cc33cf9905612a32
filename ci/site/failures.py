"""Failures that still count, gathered by what they have in common, with the line of a log that matters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection, select

from reconciler.execution.tracking.workspace import Workspace
from reconciler.ledger.reading.unit_history import list_attempts
from reconciler.ledger.schema.tables import UNIT_ATTEMPTS, attempts, intents
from reconciler.ledger.store.database import State
from reconciler.model.states import AttemptState, IntentState
from renderer.jobs.logs import find_signature, normalise
from schemas.manifest.runs import format_run, format_runs, run_key

LATEST = 20_000
"""How many of the latest failed attempts are looked at."""
TOLD = 30
"""Of how many groups the logs are read."""
_RANGES = 12
_LONGEST = 60


@dataclass(frozen=True, slots=True)
class FailureGroup:
    """Units of one step that failed alike and are not made yet.

    `reason` is that of the newest one, `line` the line of its log that matters, empty if it is not known.
    `runs` are sorted run keys, `stopped` is how many of them are in quarantine. `first` and `last` are times, `newest` is a run key.
    """

    campaign: str
    step: str
    signature: str
    failure: str
    reason: str
    runs: tuple[int, ...]
    stopped: int
    sites: tuple[str, ...]
    first: str
    last: str
    newest: int
    line: str = ""

    @property
    def listed(self) -> str:
        """The runs as text, shortened."""
        return format_runs(self.runs, most=_RANGES)

    @property
    def stretch(self) -> str:
        """The units for a command: with runs if they are not too many for a line."""
        return choose_stretch(self.campaign, self.step, self.runs)

    @property
    def unit(self) -> str:
        """The unit that failed last."""
        return f"{self.campaign}/{self.step}/{format_run(self.newest)}"


def choose_stretch(campaign: str, step: str, keys: Sequence[int]) -> str:
    """Units for a command: runs of a step, or the whole step if the runs are too many for a line."""
    runs = format_runs(keys)
    place = f"{campaign}/{step}"
    return f"{place}/{runs}" if " " not in runs and len(runs) < _LONGEST else place


def read_failures(connection: Connection) -> tuple[FailureGroup, ...]:
    """The groups of units whose latest ended attempt failed and that are not made, those with most units first."""
    columns = (attempts.c[name] for name in ("signature", "failure", "reason", "ended", "site"))
    unit = (intents.c[name] for name in ("campaign", "step", "experiment", "run", "state"))
    query = (
        select(*unit, *columns)
        .select_from(UNIT_ATTEMPTS)
        .where(attempts.c.state.in_((AttemptState.FAILED, AttemptState.LOST)))
        .where(intents.c.state.in_((IntentState.OPEN, IntentState.QUARANTINED)))
        .order_by(attempts.c.id.desc())
        .limit(LATEST)
    )
    groups: dict[tuple[str, str, str], list[Sequence[object]]] = {}
    seen: set[tuple[str, str, int]] = set()
    for campaign, step, experiment, run, state, signature, failure, reason, ended, site in connection.execute(
        query
    ):
        key = run_key(experiment, run)
        if (campaign, step, key) in seen:  # an earlier failure of the same unit
            continue
        seen.add((campaign, step, key))
        alike = signature or normalise(reason or "")
        row = (key, state, failure or "unclassified", reason or "", ended or "", site)
        groups.setdefault((campaign, step, alike), []).append(row)
    found = [_gather(*place, rows) for place, rows in groups.items()]
    return tuple(sorted(found, key=lambda one: (-len(one.runs), one.campaign, one.step, one.signature)))


def read_lines(
    connection: Connection, state: State, groups: Sequence[FailureGroup]
) -> tuple[FailureGroup, ...]:
    """The groups; the first `TOLD` with the lines of the logs that are still there."""
    told = [replace(one, line=_find_line(connection, state, one)) for one in groups[:TOLD]]
    return (*told, *groups[TOLD:])


def _find_line(connection: Connection, state: State, group: FailureGroup) -> str:
    tried = list_attempts(connection, group.campaign, group.step, group.newest)
    failed = [one for one in tried if one.state == AttemptState.FAILED]
    if not failed:
        return ""
    try:
        text, first = Workspace(state.attempts, state.batches).read_log(failed[-1].name)
    except OSError:
        return ""
    culprit = find_signature(text, failed[-1].application, first=first)
    return "" if culprit is None else culprit.line


def _gather(campaign: str, step: str, signature: str, rows: Sequence[Sequence[object]]) -> FailureGroup:
    """A group; the first of the rows is the newest one."""
    keys, states, failures, reasons, times, sites = zip(*rows, strict=True)
    known = [str(time) for time in times if time]
    return FailureGroup(
        campaign=campaign,
        step=step,
        signature=signature,
        failure=str(failures[0]),
        reason=str(reasons[0]),
        runs=tuple(sorted(int(str(key)) for key in keys)),
        stopped=sum(state == IntentState.QUARANTINED for state in states),
        sites=tuple(sorted({str(site) for site in sites})),
        first=min(known, default=""),
        last=max(known, default=""),
        newest=int(str(keys[0])),
    )
