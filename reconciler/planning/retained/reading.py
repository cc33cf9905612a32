"""Reads what exists of the datasets that the retention speaks of, and where it lies. Only reads."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, func, select

from reconciler.ledger.reading.observation import read_identity
from reconciler.ledger.schema.decision_tables import comparisons, editions
from reconciler.ledger.schema.operation_tables import copies
from reconciler.ledger.schema.tables import outputs
from reconciler.model.operations import CopyKind
from reconciler.model.states import OutputState
from reconciler.planning.retained.chains import find_successors
from reconciler.planning.retained.decisions import RetainedDataset, RetainedOutput, Wanted, decide
from reconciler.validation.kept.validated_outputs import read_validated, read_verdicts
from schemas.files.times import format_time
from schemas.manifest.campaign import Campaign
from schemas.manifest.dataset import DatasetName
from schemas.manifest.runs import run_key
from schemas.policy.retention import RetentionPolicy, RetentionRule, find_retained_level
from schemas.repository import Repository

_KNOWN: dict[tuple[object, ...], tuple[RetainedPart, ...]] = {}
"""What was found where nothing has moved since: each turn asks again."""
_MOST = 4


@dataclass(frozen=True, slots=True)
class RetainedPart:
    """What the retention wants of a dataset at a site; `recalled` are outputs that came back from tape, with the time.

    `wanted` has only those outputs that are not as they are wanted.
    """

    name: DatasetName
    site: str
    storage: str
    rule: RetentionRule
    wanted: tuple[Wanted, ...]
    recalled: Mapping[int, str]


def read_retained(
    connection: Connection,
    repository: Repository,
    retention: RetentionPolicy,
    storages: Mapping[str, str],
    now: datetime,
    read_declared: Callable[[str], frozenset[bytes] | None],
) -> tuple[RetainedPart, ...]:
    """As `decide_retained`. Where nothing has moved in the ledger within the hour, what was found then is known."""
    counted = [
        connection.execute(select(func.count()).select_from(table)).scalar_one()
        for table in (comparisons, editions)
    ]
    campaigns = tuple(
        (name, one.campaign.kind, one.campaign.site, one.campaign.supersedes, one.campaign.is_live)
        for name, one in repository.campaigns.items()
    )
    identity = read_identity(connection)
    key = (
        *(identity.ledger, identity.serial, *counted, format_time(now)[:13]),
        *(retention.rules, campaigns, tuple(sorted(storages.items()))),
    )
    if key in _KNOWN:
        return _KNOWN[key]
    asked = False

    def ask(name: str) -> frozenset[bytes] | None:
        nonlocal asked
        asked = True
        return read_declared(name)

    found = tuple(decide_retained(connection, repository, retention, storages, now, ask))
    if not asked:  # what is declared moves without the ledger
        if len(_KNOWN) >= _MOST:
            _KNOWN.clear()
        _KNOWN[key] = found
    return found


def decide_retained(
    connection: Connection,
    repository: Repository,
    retention: RetentionPolicy,
    storages: Mapping[str, str],
    now: datetime,
    read_declared: Callable[[str], frozenset[bytes] | None],
) -> Iterator[RetainedPart]:
    """Yields what is wanted of each dataset that a rule fits, by campaign; `storages` has the storage of each site.

    `read_declared` gives the fingerprints that a live campaign declares, None if they cannot be told: then no version is old.

    Raises:
        SourceUnavailable: a comparison or an edition cannot be read.
    """
    ruled = {
        name: declared.campaign
        for name, declared in repository.campaigns.items()
        if _is_ruled(retention, declared.campaign)
    }
    found: dict[tuple[DatasetName, str], list[RetainedOutput]] = {}
    recalled: dict[int, str] = {}
    for campaign in ruled.values():
        storage = storages.get(campaign.site)
        if storage is not None:
            _read_campaign(connection, campaign.name, storage, found, recalled)
    if not found:
        return
    successors = find_successors(
        [name for name, _ in found],
        {name: one.campaign.supersedes for name, one in repository.campaigns.items()},
    )
    needed = {other for others in successors.values() for other in others}
    verdicts = read_verdicts(connection)
    datasets = []
    for (name, _), some in found.items():
        campaign = ruled[name.campaign]
        rule = retention.find_rule(campaign.site, campaign.kind, find_retained_level(name.output))
        several = rule is not None and rule.versions is not None and any(one.version > 1 for one in some)
        kept = verdicts.get(name.dataset, ()) if name in needed or several else ()
        declared = frozenset[bytes]()
        if several and campaign.is_live:
            known = read_declared(name.campaign)
            declared = frozenset(one.fingerprint for one in some) if known is None else known
        validated = read_validated(connection, name, kept)
        datasets.append(RetainedDataset(name, rule, some, validated, declared))
    for one, wanted in decide(datasets, successors, now):
        assert one.rule is not None
        site = ruled[one.name.campaign].site
        left = tuple(each for each in wanted if not each.is_met)
        yield RetainedPart(one.name, site, storages[site], one.rule, left, recalled)


def _is_ruled(retention: RetentionPolicy, campaign: Campaign) -> bool:
    return any(
        rule.site == campaign.site and (not rule.kinds or campaign.kind in rule.kinds)
        for rule in retention.rules
    )


def _read_campaign(
    connection: Connection,
    campaign: str,
    storage: str,
    found: dict[tuple[DatasetName, str], list[RetainedOutput]],
    recalled: dict[int, str],
) -> None:
    mine = (outputs.c.campaign == campaign, outputs.c.state == OutputState.PRODUCED)
    away: set[int] = set()
    taped: set[int] = set()
    columns = (copies.c.output, copies.c.kind, copies.c.there, copies.c.verified)
    query = select(*columns).join(outputs, and_(outputs.c.id == copies.c.output, *mine))
    for number, kind, there, verified in connection.execute(query):
        if kind == CopyKind.TAPE and there:
            taped.add(number)
        elif kind == CopyKind.DISK and there:
            recalled[number] = verified
        elif kind == CopyKind.DISK:
            away.add(number)
    names = ("id", "step", "output", "experiment", "run", "version", "fingerprint", "produced")
    rows = connection.execute(
        select(*(outputs.c[name] for name in names)).where(*mine, outputs.c.storage == storage)
    )
    datasets: defaultdict[tuple[str, str], list[RetainedOutput]] = defaultdict(list)
    for number, step, output, experiment, run, version, fingerprint, produced in rows:
        one = RetainedOutput(
            number,
            run_key(experiment, run),
            version,
            fingerprint,
            produced,
            on_disk=number not in away,
            on_tape=number in taped,
        )
        datasets[step, output].append(one)
    for (step, output), some in sorted(datasets.items()):
        found[DatasetName(campaign, step, output), storage] = some
