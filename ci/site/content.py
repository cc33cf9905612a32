"""All that a site shows, read at one moment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, func, select

from ci.approvals.signatures import find_criteria, find_sign_offs
from ci.changes.campaign_faults import choose_launchable
from ci.changes.project import Project, load_any
from ci.reports.monitoring import read_pinned_roles
from ci.site.attention import AttentionItem, AttentionSources, list_attention
from ci.site.campaigns import CampaignContent, CampaignReader
from ci.site.comparisons import ShownComparison, read_comparisons
from ci.site.failures import FailureGroup, read_failures, read_lines
from ci.site.global_tags import TagRow, read_tags
from ci.site.run_table import RunTable, read_run_table
from reconciler.datasets.publishing.standing import read_standings
from reconciler.datasets.summaries import DatasetSummary, summarize_datasets
from reconciler.ledger.reading.editions import StoredEdition, list_editions
from reconciler.ledger.reading.observation import Identity, read_identity
from reconciler.ledger.schema.tables import events, sites
from reconciler.ledger.writing.pauses import read_pauses
from reconciler.ledger.writing.tallies import count_live
from reconciler.model.plan import Plan
from reconciler.outside.defects import note_defect
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.gates.judging import StageStatus
from reconciler.planning.views import StateView, judge_stages, read_state_view
from reconciler.sources.records import read_records
from schemas.files.times import format_time
from schemas.repository import Repository


@dataclass(frozen=True, slots=True)
class SiteRow:
    """A site where jobs go: jobs under way, its campaigns with work left, and how it answers."""

    name: str
    engine: str
    live: int
    campaigns: tuple[str, ...]
    seen: str | None
    failures: int
    reason: str | None


@dataclass(frozen=True, slots=True)
class SiteContent:
    """The content of a site. `moment` is the time of the state, `changed` that of the last entry of its journal.

    `editions` and the numbers of the `published` ones are by dataset.
    """

    identity: Identity
    moment: str
    changed: str | None
    origin: str | None
    attention: tuple[AttentionItem, ...]
    campaigns: tuple[CampaignContent, ...]
    failures: tuple[FailureGroup, ...]
    stages: tuple[StageStatus, ...]
    sites: tuple[SiteRow, ...]
    datasets: tuple[DatasetSummary, ...]
    editions: Mapping[str, Sequence[StoredEdition]]
    published: Mapping[str, Sequence[int]]
    runs: RunTable
    comparisons: tuple[ShownComparison, ...] = ()
    tags: tuple[TagRow, ...] = ()
    unread: tuple[str, ...] = ()
    """What could not be read, in words."""


def read_content(project: Project, connection: Connection, now: datetime) -> SiteContent:
    """Reads everything at the moment of the connection's transaction. What is wrong with a campaign is told, and stops no other."""
    repository, findings = load_any(project)
    choice = choose_launchable(repository, findings, ())
    signs, criteria = find_sign_offs(project, repository), find_criteria(project, repository)
    identity = read_identity(connection)
    state, moment = project.state, now if project.origin is None else project.origin.created
    nothing = Plan(identity.ledger, identity.serial, identity.catalogue_serial, ())
    planned = StateView((), nothing)
    if choice.chosen:
        try:
            planned = read_state_view(
                connection,
                repository,
                choice.chosen,
                state,
                spare=True,
                read_sign_offs=signs,
                find_validation=criteria,
            )
        except SourceUnavailable as error:  # none can be planned
            planned = StateView((), nothing, absent=dict.fromkeys(choice.chosen, str(error)))
    stages: list[StageStatus] = []
    unread: list[str] = []
    for scheme in repository.schemes.values():
        try:
            stages += judge_stages(connection, repository, scheme, state, signs, criteria)
        except SourceUnavailable as error:
            unread.append(f"scheme {scheme.name}: {error}")
        except Exception as error:  # noqa: BLE001 -- an unexpected error of one scheme does not stop the rest
            unread.append(f"scheme {scheme.name}: {note_defect(error)}")
    paused = read_pauses(connection)
    campaigns = CampaignReader(connection, repository, state, paused, now, moment).read(choice, planned)
    failures = read_failures(connection)
    if project.origin is None:  # logs are not in an export
        failures = read_lines(connection, state, failures)
    told = AttentionSources(
        campaigns=campaigns,
        failures=failures,
        pauses=paused,
        stages=stages,
        sources=tuple(read_records(connection).values()),
        roles=read_pinned_roles(connection),
        today=now.astimezone(UTC).date(),
    )
    editions: dict[str, list[StoredEdition]] = {}
    for edition in list_editions(connection):
        editions.setdefault(edition.dataset, []).append(edition)
    published: dict[str, list[int]] = {}
    for standing in read_standings(connection).values():
        if standing.is_published and standing.edition.edition is not None:
            published.setdefault(standing.edition.dataset, []).append(standing.edition.edition)
    comparisons, damaged = read_comparisons(connection)
    states = {one.name: one.run_states for one in campaigns if one.run_states is not None}
    return SiteContent(
        identity=identity,
        moment=format_time(moment),
        changed=connection.scalar(select(func.max(events.c.time))),
        origin=None if project.origin is None else project.origin.describe(),
        attention=list_attention(told),
        campaigns=campaigns,
        failures=failures,
        stages=tuple(stages),
        sites=tuple(_read_sites(connection, repository, campaigns)),
        datasets=tuple(summarize_datasets(connection, repository.list_produced())),
        editions=editions,
        published={name: sorted(numbers) for name, numbers in published.items()},
        runs=read_run_table(connection, states),
        comparisons=comparisons,
        tags=read_tags(connection, repository),
        unread=(*unread, *damaged),
    )


def _read_sites(
    connection: Connection, repository: Repository, campaigns: Sequence[CampaignContent]
) -> list[SiteRow]:
    live = count_live(connection)
    answers = {row.name: row for row in connection.execute(select(sites))}
    found = []
    for name in sorted({*repository.sites, *live, *answers}):
        declared, answer = repository.sites.get(name), answers.get(name)
        mine = tuple(
            one.name
            for one in campaigns
            if one.campaign is not None and one.campaign.site == name and one.view
        )
        engine = "not declared" if declared is None else declared.engine
        known = (None, 0, None) if answer is None else (answer.seen, answer.failures, answer.reason)
        found.append(SiteRow(name, engine, live.get(name, 0), mine, *known))
    return found
