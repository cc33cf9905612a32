"""Of what datasets were made, and how two of them differ: dataset show, diff."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from typing import Any

import rich_click as click
from sqlalchemy import Connection

from ci.changes.project import Project, pass_project
from ci.cli.console import count_things, print_data, print_json
from ci.cli.exits import Exit, WrongUse
from ci.cli.options import read_runs, writes_json
from ci.cli.rows import print_lines
from ci.reports.announcing.known_issues import format_issue
from ci.reports.announcing.publications import (
    describe_publications,
    describe_withdrawals,
    format_publications,
    format_withdrawals,
)
from ci.reports.dataset_difference import describe_dataset_difference, format_dataset_difference
from ci.reports.datasets import (
    describe_edition,
    describe_statistics,
    format_edition,
    tell_campaign_state,
)
from ci.verbs.data.dataset_choice import find_dataset, load_heads, read_name
from reconciler.datasets.comparison import compare_datasets
from reconciler.datasets.contents import RunContent, is_registered
from reconciler.datasets.frozen_contents import stream_frozen
from reconciler.datasets.frozen_runs import count_runs, read_frozen
from reconciler.datasets.operations.tape_copies import count_copies
from reconciler.datasets.parts import stream_part_runs
from reconciler.datasets.provenance import (
    find_sources,
    list_approvals,
    read_frozen_value,
    read_recipes,
    read_value,
)
from reconciler.datasets.publishing.standing import read_standings
from reconciler.datasets.summaries import DatasetKind, tell_kind
from reconciler.datasets.totals import Totals
from reconciler.ledger.reading.editions import StoredEdition, list_editions
from reconciler.ledger.reading.statistics import measure_outputs
from reconciler.ledger.store.database import State, reading
from reconciler.planning.declared_heads import list_parts
from reconciler.run_catalogue.dataset_register import read_datasets
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.known_issue import find_known_issues
from schemas.manifest.runs import format_runs
from schemas.repository import Repository


@click.command()
@click.argument("name", metavar="DATASET")
@click.option("--statistics", is_flag=True, help="Show what good jobs used: time, memory, events per second.")
@writes_json
@pass_project
def show(project: Project, name: str, statistics: bool, as_json: bool) -> None:
    """Show what is in a dataset, how it was made and from what, and how much of it is still missing.

    Of a live campaign, an output counts if it is made as declared now, by this campaign or by another one from which it is
    taken over. Of any other campaign, the newest version of each run counts. Of an edition, DATASET:N, what was frozen is
    shown, and what of it is gone or has newer versions. Where editions are published, or why they were withdrawn, is shown too.
    """
    parsed = read_name(name)
    if statistics and parsed.edition is not None:
        raise WrongUse(
            f"the statistics are those of all jobs of {parsed.dataset}: show them without :{parsed.edition}"
        )
    repository = load_heads(project, [parsed])
    with reading(project.state) as connection:
        edition = find_dataset(connection, repository, parsed)
        if edition is not None:
            told = _tell_edition(connection, edition)
        else:
            told = _tell(connection, repository, parsed, project.state)
            told["copies"] = _tell_copies(connection, parsed)
            editions = {
                one: count_runs(connection, one.digest) for one in list_editions(connection, parsed.dataset)
            }
            show_one = describe_edition if as_json else format_edition
            told["editions"] = [show_one(one, runs) for one, runs in editions.items()]
        standings = [
            one
            for one in read_standings(connection, parsed.dataset).values()
            if parsed.edition in (None, one.edition.edition)
        ]
        told["published"] = (describe_publications if as_json else format_publications)(standings)
        told["withdrawn"] = (describe_withdrawals if as_json else format_withdrawals)(standings)
        issues = [one.describe() for one in find_known_issues(repository.known_issues.values(), parsed)]
        told["known_issues"] = [one if as_json else format_issue(one) for one in issues]
        if statistics:
            found = measure_outputs(connection, parsed.campaign, parsed.step, parsed.output)
            told["statistics"] = describe_statistics(found[0]) if found else None
    if as_json:
        print_json(told)
    else:
        print_lines([(key.replace("_", " "), text) for key, value in told.items() for text in _spell(value)])


@click.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@click.option("--run", "--runs", "which", metavar="RUNS", help="Only these runs, as in 3:529-613,620.")
@click.option("--exit-code", is_flag=True, help="End with 2 if they differ.")
@writes_json
@pass_project
def diff(project: Project, before: str, after: str, which: str | None, exit_code: bool, as_json: bool) -> int:
    """Show how the datasets A and B differ: in runs, in how each run was made, in events and bytes.

    Runs count as the same if their fingerprints are equal: the same was done to the same. Of the others, this shows what was
    different: the release, the cut, payloads by name, the input. A and B may be editions, as DATASET:1, also of one dataset.
    """
    names = [read_name(one) for one in (before, after)]
    runs = None if which is None else read_runs(which)
    repository = load_heads(project, names)
    with reading(project.state) as connection:
        values = []
        for name in names:
            edition = find_dataset(connection, repository, name)
            if edition is not None:
                frozen = read_frozen(connection, edition.digest)
                values.append(read_frozen_value(connection, name, frozen, runs))
            else:
                parts = list_parts(connection, repository, name, project.state)
                values.append(read_value(connection, name, stream_part_runs(connection, parts, runs)))
    difference = compare_datasets(*values)
    if as_json:
        print_json(describe_dataset_difference(difference, (before, after)))
    else:
        print_data(format_dataset_difference(difference, (before, after)))
    return Exit.CHANGES if exit_code and not difference.is_empty else Exit.FINE


def _tell(connection: Connection, repository: Repository, name: DatasetName, state: State) -> dict[str, Any]:
    """A dataset as JSON data."""
    registered = name.is_detectors or is_registered(connection, name)
    parts = list_parts(connection, repository, name, state)
    contents, declared = [*stream_part_runs(connection, parts)], parts[0].declared
    kind = tell_kind(name) if registered else DatasetKind.MADE
    told: dict[str, Any] = {"dataset": name.dataset, "kind": kind.value, **_tell_totals(contents)}
    if registered:
        if len(parts) > 1:
            makers = Counter(one.maker for one in contents)
            told["produced_by"] = {str(part.name): makers[part.name.dataset] for part in parts[1:]}
        known = read_datasets(connection).get(name.dataset)
        about = {"level": known.level if known is not None else name.output}
        return told | about | {one: getattr(known, one, None) for one in ("release", "global_tag", "since")}
    told["campaign"] = tell_campaign_state(repository, name)
    if declared is not None:
        told["selected"] = declared.selected
    else:
        from reconciler.planning.production import read_production  # noqa: PLC0415 -- a list of datasets plans nothing

        production = read_production(connection, repository, name.campaign, state)
        chosen = production.selected if production is not None else None
        told["selected"] = None if chosen is None else len(chosen)
    told |= _tell_origins(connection, name.dataset, contents)
    manifest = repository.campaigns.get(name.campaign)
    if manifest is not None:
        told["global_tags"] = list(manifest.campaign.tag_names)
        step = next((one for one in manifest.campaign.expand() if one.name == name.step), None)
        told["template"] = None if step is None else step.template
        lock = manifest.lock
        told["lock"] = None if lock is None else {"generation": lock.generation, "digest": lock.digest()}
    told["approvals"] = list_approvals(connection, name)
    return told


def _tell_copies(connection: Connection, name: DatasetName) -> dict[str, Any]:
    """Where the outputs of a dataset lie, if any was moved: how many are on disk and on tape, and since when this is known."""
    return {
        kind.value: f"{count_things(one.outputs, 'output')}{f', read back since {one.verified}' if one.verified else ''}"
        for kind, one in count_copies(connection, name).items()
    }


def _tell_edition(connection: Connection, edition: StoredEdition) -> dict[str, Any]:
    """An edition as JSON data: what was frozen, and what is not there any more or has newer versions."""
    frozen = read_frozen(connection, edition.digest)
    contents: list[RunContent] = []
    gone: dict[str, list[int]] = {}
    newer: dict[str, list[int]] = {}
    for one in stream_frozen(connection, frozen):
        contents.append(one.content)
        for file in one.files:
            if file.gone is not None:
                gone.setdefault(file.gone.reason, []).append(file.run)
        if one.newer is not None:
            newer.setdefault(f"v{one.newer}", []).append(one.content.run)
    kind = DatasetKind.MADE if frozen.made else tell_kind(parse_dataset(edition.dataset))
    told: dict[str, Any] = {"dataset": edition.name, "kind": kind.value, "digest": edition.digest}
    told |= {"frozen": edition.created, "by": edition.who, "reason": edition.reason, **_tell_totals(contents)}
    if frozen.made:
        told |= _tell_origins(connection, edition.dataset, contents)
        told["newer"] = {version: format_runs(runs) for version, runs in sorted(newer.items())}
    return told | {"gone": {reason: format_runs(sorted({*runs})) for reason, runs in gone.items()}}


def _tell_totals(contents: Sequence[RunContent]) -> dict[str, Any]:
    """Runs, files, bytes and events as JSON data."""
    totals = Totals.of(contents)
    told = {"runs": totals.runs, "listed": format_runs(one.run for one in contents), "files": totals.files}
    return told | {"bytes": totals.bytes, "events": totals.events, "runs_not_counted": totals.uncounted}


def _tell_origins(connection: Connection, dataset: str, contents: Sequence[RunContent]) -> dict[str, Any]:
    """By which versions, from whom, from what and how these runs of a dataset were made, as JSON data."""
    versions: dict[str, int] = {}
    makers: dict[str, int] = {}
    for one in contents:
        versions[f"v{one.version}"] = versions.get(f"v{one.version}", 0) + 1
        if one.maker != dataset:
            makers[one.maker] = makers.get(one.maker, 0) + 1
    return {
        "versions": versions,
        "taken_over": makers,
        "made_from": find_sources(connection, contents),
        "recipes": [*read_recipes(connection, contents).values()],
        "payload_sets": len({one.conditions for one in contents if one.conditions is not None}),
    }


def _spell(value: Any) -> list[str]:
    """The lines of a value; none if it is not known or empty."""
    if isinstance(value, dict):
        return [f"{key}: {text}" for key, one in value.items() for text in _spell(one)]
    if isinstance(value, list):
        return [text for one in value for text in _spell(one)]
    if value is None or value == "":
        return []
    return [f"{value:,}" if isinstance(value, int) else str(value)]
