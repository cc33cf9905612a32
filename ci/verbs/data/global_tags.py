"""Global tags: pull, show, iov, diff, check."""

from __future__ import annotations

import dataclasses
import os
from collections import Counter
from pathlib import Path

import rich_click as click

from ci.changes.project import Project, Settings, load, passes_project
from ci.cli.console import print_json, say
from ci.cli.exits import Exit, FoundProblems, WrongUse
from ci.cli.options import read_run, read_runs, writes_json
from ci.cli.rows import print_lines
from ci.cli.work_tree import write_files
from ci.reports.conditions import (
    describe_change,
    describe_flaw,
    describe_iov,
    describe_snapshot,
    name_change,
    name_flaw,
    name_iov,
)
from reconciler.conditions.comparison import compare, list_differences
from reconciler.conditions.coverage import find_flaws, is_usable
from reconciler.conditions.opening import open_source
from reconciler.conditions.rest import DEFAULT_ADDRESS
from reconciler.conditions.source import TagSource, UnknownTag
from reconciler.ledger.store.database import has_database, reading
from reconciler.outside.clock import CLOCK
from reconciler.outside.errors import GuardRefused
from reconciler.run_catalogue.catalogue import list_run_keys
from renderer.identity.payloads import find_payloads
from schemas.conditions.iov import Interval, touches_any
from schemas.conditions.local_database import settle_overlaps
from schemas.conditions.snapshot import (
    LOCAL,
    TAG_NAME,
    Iov,
    Snapshot,
    rank_revision,
    read_snapshot,
    write_snapshot,
)
from schemas.findings.finding import Finding, Place
from schemas.manifest.lock import Lock, PinnedTag
from schemas.manifest.runs import RunSet
from schemas.repository import GLOBAL_TAGS

TOKEN = "B2PROD_CONDITIONS_TOKEN"  # noqa: S105 -- the variable's name
"""The environment variable of the token for the conditions database, if it needs one; the token is never printed."""

from_option = click.option(
    "--from",
    "where",
    metavar="URL|FILE",
    default=DEFAULT_ADDRESS,
    envvar="B2PROD_CONDITIONS",
    help="A REST service, a file that `b2conditionsdb download` wrote, a database.txt, or a snapshot.",
)
_runs_option = click.option(
    "--runs",
    "listed",
    metavar="RUNS",
    default="",
    show_default=False,
    help="Only these runs, as in '3:1-600 5:1-8'.",
)


@click.group()
def gt() -> None:
    """Pull, show and compare snapshots of global tags, and show what a new snapshot would change."""


@gt.command()
@click.argument("name")
@from_option
@click.option("--replace", is_flag=True, help="Write it even if campaigns are locked to another snapshot.")
@writes_json
@passes_project(any_version=True)
def pull(project: Project, name: str, where: str, replace: bool, as_json: bool) -> None:
    """Write the snapshot productions/global-tags/NAME.iov.

    The environment variable B2PROD_CONDITIONS_TOKEN may hold a token for the REST service.
    """
    if not TAG_NAME.fullmatch(name):
        raise WrongUse(f"{name!r} is not a name of a global tag; use letters, digits, `+`, `_`, `:`, `-`")
    file = f"{GLOBAL_TAGS}/{name}.iov"
    tag = fetch_usable(open_source(where, os.environ.get(TOKEN) or None), name)
    snapshot = dataclasses.replace(tag, retrieved=CLOCK.show())
    path = project.root / file
    # a snapshot that cannot be read is replaced
    before = read_snapshot(file, name, path.read_bytes(), any_state=True)[0] if path.exists() else None
    pinned = _find_pinned(project, snapshot)
    if pinned and not replace:
        raise GuardRefused(
            f"{name} differs from the snapshot that {', '.join(pinned)} is locked to; with --replace it is written, and "
            f"then `b2prod resolve {' '.join(pinned)}`"
        )
    removed, added = ((), snapshot.iovs) if before is None else list_differences(before, snapshot)
    current = before is not None and _identify(before) == _identify(snapshot)
    if not current:
        write_files(project.root, {file: write_snapshot(snapshot)})
    if as_json:
        print_json(
            {
                "file": file,
                **describe_snapshot(snapshot),
                "written": not current,
                "added": len(added),
                "removed": len(removed),
                "resolve": pinned,
            }
        )
    elif current:
        say(f"{file} is current: {len(snapshot.iovs)} IoVs, {snapshot.state}")
    else:
        counts = f"{len(snapshot.iovs)} IoVs, {len(added)} new, {len(removed)} gone"
        say(f"wrote {file}: {counts}, {snapshot.state}")
    if pinned and not as_json:
        say(f"now run `b2prod resolve {' '.join(pinned)}`")


def fetch_usable(source: TagSource, name: str) -> Snapshot:
    """The tag with that name, if jobs may use it.

    Raises:
        WrongUse: the source has no such tag.
        FoundProblems: the tag's state forbids its use, or the tag is empty.
    """
    try:
        tag = source.fetch(name)
    except UnknownTag as error:
        raise WrongUse(str(error)) from error
    if not is_usable(tag.state):
        what, hint = f"is in state {tag.state}, which no job may use", "freeze the tag, or choose another"
    elif not tag.iovs:
        what, hint = "holds no payload", "choose another tag"
    else:
        return tag
    place = Place(f"{GLOBAL_TAGS}/{name}.iov")
    raise FoundProblems([Finding(place, "BP502", f"{name} {what}; nothing is written", hint)])


def _find_pinned(project: Project, snapshot: Snapshot) -> list[str]:
    """The campaigns whose lock pins another snapshot, id or state of the tag."""
    repository, _ = load(project)
    return [
        campaign
        for campaign, declared in repository.campaigns.items()
        if declared.lock is not None and _pins_another(declared.lock, snapshot)
    ]


def _pins_another(lock: Lock, snapshot: Snapshot) -> bool:
    local = dict(lock.testing_payloads).get(snapshot.name, snapshot.digest) != snapshot.digest
    pinned = (tag for tag in lock.tags if tag.name == snapshot.name)
    return local or any(_identify(tag) != _identify(snapshot) for tag in pinned)


def _identify(one: Snapshot | PinnedTag) -> tuple[str, int | None, str]:
    return one.digest, one.id, one.state


@gt.command()
@click.argument("name")
@writes_json
@click.pass_obj
def show(settings: Settings, name: str, as_json: bool) -> None:
    """Show the tag of a snapshot, when and where it was read, and how much is in it."""
    snapshot = read_named(settings, name)
    described = describe_snapshot(snapshot)
    if as_json:
        print_json(described)
    else:
        print_lines([(key, str(value)) for key, value in described.items() if value is not None])


@gt.command()
@click.argument("name")
@click.option("--run", "run", metavar="EXP:RUN", help="Only the IoVs that hold for this run, as in 3:529.")
@_runs_option
@click.option("--release", metavar="RELEASE", help="For a local database: the IoVs that this release uses.")
@writes_json
@click.pass_obj
def iov(
    settings: Settings, name: str, run: str | None, listed: str, release: str | None, as_json: bool
) -> None:
    """Show the IoVs of a snapshot; for a single run, also which of them a job uses.

    If IoVs of a local database overlap, that depends on the release, as in --release release-03-00-01.
    """
    if run is not None and listed:
        raise WrongUse("give --run or --runs, not both")
    key = None if run is None else read_run(run)
    keys = read_runs(run or listed)
    snapshot = read_named(settings, name)
    if run is not None and release is None and any(one.line for one in snapshot.iovs):
        raise WrongUse(f"which line of {name} a job uses depends on its release; say --release RELEASE")
    within = _fold(keys)
    found = sorted(
        (one for one in snapshot.iovs if not keys or touches_any(one.first, one.end, within)),
        key=lambda one: (one.payload, one.first, one.end, rank_revision(one.revision)),
    )
    used: set[Iov] = set()
    if key is not None:
        best = find_payloads([settle_overlaps(snapshot, release or "")], key)
        winners = {(one.payload, one.revision) for one in best.values()}
        used = {one for one in found if (one.payload, one.revision) in winners}
    if as_json:
        print_json([{**describe_iov(one), **({"used": one in used} if run else {})} for one in found])
        return
    unused = "another line counts" if snapshot.state == LOCAL else "a higher revision holds"
    rows = [
        (
            one.payload,
            f"r{one.revision}",
            one.checksum,
            name_iov(one.first, one.end),
            *([f"not used: {unused}"] if run is not None and one not in used else []),
        )
        for one in found
    ]
    print_lines([("payload", "revision", "md5", "IoV"), *rows])


@gt.command()
@click.argument("before", metavar="A")
@click.argument("after", metavar="B")
@_runs_option
@click.option("--iovs", "by_iov", is_flag=True, help="Every IoV that came or went, even if another hides it.")
@click.option("--exit-code", is_flag=True, help="End with 2 if there are changes.")
@writes_json
@click.pass_obj
def diff(
    settings: Settings, before: str, after: str, listed: str, by_iov: bool, exit_code: bool, as_json: bool
) -> int:
    """Show which payloads a job gets from B and not from A, and the runs whose payloads differ.

    A and B are names of snapshots or files NAME.iov. The runs are those of the run catalogue, if there is one; with --runs,
    only those of them that are listed.
    """
    old, new = read_named(settings, before), read_named(settings, after)
    wanted = read_runs(listed)
    within = _fold(wanted) if wanted else None
    catalogue = _read_catalogue(settings)
    keys = [*wanted] if catalogue is None else [key for key in catalogue if not wanted or key in wanted]
    compared = compare((old,), (new,), keys)
    changes = [c for c in compared.changes if within is None or touches_any(c.first, c.end, within)]
    removed, added = list_differences(old, new, within)
    touched = sum(1 for _ in compared.touched())
    if as_json:
        print_json(
            {
                "before": describe_snapshot(old),
                "after": describe_snapshot(new),
                "changes": [describe_change(change, keys) for change in changes],
                "removed": [describe_iov(one) for one in removed],
                "added": [describe_iov(one) for one in added],
                "runs": {"touched": touched, "of": len(keys)},
            }
        )
    elif by_iov:
        rows = [
            (sign, one.payload, f"r{one.revision}", one.checksum, name_iov(one.first, one.end))
            for sign, found in (("-", removed), ("+", added))
            for one in found
        ]
        print_lines(rows)
    else:
        print_lines([name_change(change, keys) for change in changes])
    if not as_json:
        what = "the run catalogue" if catalogue is not None else "those listed"
        say(
            f"{old.name} → {new.name}: {len({c.payload for c in changes})} payloads change, "
            f"{len(removed)} IoVs gone, {len(added)} new"
            + (f"; {touched} of {len(keys)} runs of {what} are touched" if keys else "")
        )
    return Exit.CHANGES if changes and exit_code else Exit.FINE


@gt.command("check")
@click.argument("name")
@click.option("--runs", "listed", metavar="RUNS", required=True, help="The runs, as in '3:1-600 5:1-8'.")
@click.option("--against", metavar="OTHER", help="A snapshot; NAME must have its payloads too.")
@writes_json
@click.pass_obj
def check_tag(settings: Settings, name: str, listed: str, against: str | None, as_json: bool) -> int:
    """Check whether jobs can use a tag for runs: its state, gaps and overlaps, and payloads that only OTHER has."""
    keys = [*read_runs(listed)]
    if not keys:
        raise WrongUse("--runs lists no run; write it as in '3:1-600 5:1-8'")
    snapshot = read_named(settings, name)
    other = None if against is None else read_named(settings, against)
    flaws = find_flaws(snapshot, keys, other)
    usable = is_usable(snapshot.state)
    if as_json:
        print_json({**describe_snapshot(snapshot), "flaws": [describe_flaw(flaw, keys) for flaw in flaws]})
    else:
        print_lines([name_flaw(flaw, keys) for flaw in flaws])
        if not usable:
            say(f"{name} is in state {snapshot.state!r}, which no job may use; freeze it, or choose another")
        counts = Counter(flaw.kind for flaw in flaws)
        told = ", ".join(f"{counts[kind]} {kind}" for kind in ("gap", "missing", "overlap"))
        say(f"{name}, {len(keys)} runs: {told if flaws else 'complete'}")
    return Exit.FINE if usable and not flaws else Exit.FINDINGS


def read_named(settings: Settings, name: str, called: str | None = None) -> Snapshot:
    """The snapshot with that name in the repository, or in the file NAME.iov; `called` is the tag's name, if it differs.

    Raises:
        WrongUse: there is no such snapshot.
        FoundProblems: its file is broken.
    """
    is_file = name.endswith(".iov")
    path = Path(name) if is_file else settings.project(any_version=True).root / GLOBAL_TAGS / f"{name}.iov"
    if not is_file and not TAG_NAME.fullmatch(name):
        raise WrongUse(f"{name!r} is neither a global tag nor a file NAME.iov")
    try:
        content = path.read_bytes()
    except OSError as error:
        hint = "" if is_file else f"; `b2prod gt pull {name}` writes it"
        raise WrongUse(f"there is no snapshot {name}: {error.strerror}{hint}") from error
    file = name if is_file else f"{GLOBAL_TAGS}/{name}.iov"
    snapshot, findings = read_snapshot(
        file, called if is_file and called else path.stem, content, any_state=True
    )
    if snapshot is None:
        raise FoundProblems(findings)
    return snapshot


def _read_catalogue(settings: Settings) -> list[int] | None:
    """All runs of the run catalogue, sorted; None if there is no state here."""
    try:
        state = settings.project().state
    except WrongUse:
        return None
    if not has_database(state):
        return None
    with reading(state) as connection:
        return list_run_keys(connection)


def _fold(keys: RunSet) -> list[Interval]:
    return [Interval(first, last + 1) for first, last in keys.intervals]
