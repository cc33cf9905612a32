"""Takes in what a calibration returns: payloads return."""

from __future__ import annotations

from pathlib import Path

import rich_click as click
from sqlalchemy import Connection

from ci.changes.project import Project, pass_project
from ci.cli.console import print_data, say
from ci.cli.exits import FoundProblems
from ci.cli.options import FOLDER
from ci.cli.work_tree import write_files
from ci.verbs.calibration.stages import choose_stage
from reconciler.calibration.delivery import Source, deliver, sum_bytes
from reconciler.calibration.records import CalibrationWriter
from reconciler.calibration.returned_payloads import DATABASE, ReturnedPayloads, read_returned
from reconciler.conditions.database_file import name_file
from reconciler.ledger.reading.calibration import (
    StoredHandOver,
    list_hand_overs,
    list_returns,
    read_hand_over_content,
    read_returned_snapshot,
)
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.transaction import Writer, name_user
from reconciler.outside.errors import GuardRefused
from schemas.conditions.iov import Interval
from schemas.conditions.snapshot import Snapshot, write_snapshot
from schemas.files.canonical import digest
from schemas.manifest.runs import parse_runs
from schemas.repository import GLOBAL_TAGS

SCHEMA = "payload_return/1"


@click.group()
def payloads() -> None:
    """Take in the payloads that a calibration returns."""


@payloads.command("return")
@click.argument("folder", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--scheme", required=True, help="The scheme.")
@click.option(
    "--stage", required=True, help="Its stage with `hand_over`, with the bucket if there are buckets."
)
@click.option("--iteration", type=click.IntRange(1), help="The iteration; else that of the last hand-over.")
@click.option(
    "-o",
    "--output",
    type=FOLDER,
    required=True,
    help="Where the site has testing payloads (`testing_payloads`): a folder with the files is made in it.",
)
@pass_project
def take_return(
    project: Project, folder: Path, scheme: str, stage: str, iteration: int | None, output: Path
) -> None:
    """Take in FOLDER with caf_outputdb_results: check it, copy it for trials, and record what came back.

    Names, IoVs, coverage of the runs that were handed over, files and md5 sums are checked; with findings nothing is written.
    Else the payloads become a snapshot in productions/global-tags, which a step may name under `testing_payloads` and `try`
    then uses. b2prod writes to no conditions database: to upload them is up to the calibration manager.
    """
    _, chosen = choose_stage(project, scheme, stage)
    with reading(project.state) as connection:
        given = _find_given(connection, scheme, chosen.gate, iteration)
        content = read_hand_over_content(connection, given.digest)
    runs = [*parse_runs(content["runs"])]
    found = read_returned(folder, chosen.stage.payloads, runs, content["release"])
    if found.findings:
        raise FoundProblems(found.findings)
    about = (scheme, chosen.gate, given.iteration)
    lines = found.freeze("returned").digest
    told = dict(zip(("scheme", "stage", "iteration"), about, strict=True))
    value = digest({"schema": SCHEMA, **told, "hand_over": given.digest, "payloads": lines})
    with reading(project.state) as connection:
        returns = [
            one for one in list_returns(connection, scheme, chosen.gate) if one.iteration == given.iteration
        ]
        known = next((one for one in returns if one.digest == value), None)
        name = known.snapshot if known is not None else _name_snapshot(about, len(returns))
        snapshot = found.freeze(name) if known is None else read_returned_snapshot(connection, known)
    target = output.absolute() / name
    with opened(project.state) as engine:
        writer = CalibrationWriter(Writer(engine, None), name_user())
        writer.intend_return(about, value, given.digest, snapshot, str(target))
        files, sums = _list_files(found)
        new = deliver(files, sums, target)
        _write_snapshot(project, snapshot)
        writer.record_return(value, str(target))
    for note in found.notes:
        say(note)
    if known is not None and known.written is not None:
        say(f"this came back on {known.created} already{'' if new else '; the folder has it'}")
    elif returns:
        last = returns[-1]
        say(f"other payloads than those of {last.created}, {last.snapshot}, which stay recorded")
    say(
        f"to try them: `testing_payloads: [{{name: {name}, reason: …, ticket: …}}]` in a step, then `b2prod try`"
    )
    say(f"once they are uploaded: `b2prod gt pull {chosen.stage.returns}`")
    print_data(f"{scheme}/{chosen.gate}, iteration {given.iteration}  {name}  {value}\n")


def _find_given(connection: Connection, scheme: str, gate: str, iteration: int | None) -> StoredHandOver:
    """The last hand-over of a stage that was written, or that of an iteration.

    Raises:
        GuardRefused: there is none.
    """
    given = [one for one in list_hand_overs(connection, scheme, gate) if one.written is not None]
    mine = [one for one in given if iteration in (None, one.iteration)]
    if not mine:
        which = "" if iteration is None else f" as iteration {iteration}"
        raise GuardRefused(
            f"nothing was handed over of {scheme}/{gate}{which}: `b2prod handover {scheme} {gate} -o DIR`"
        )
    return max(mine, key=lambda one: (one.iteration, one.id))


def _name_snapshot(about: tuple[str, str, int], before: int) -> str:
    """The name of what comes back; other payloads of the same iteration get a number of their own."""
    scheme, gate, iteration = about
    name = "-".join((scheme, gate, str(iteration))).replace(".", "-")
    return f"{name}-{before + 1}" if before else name


def _list_files(found: ReturnedPayloads) -> tuple[dict[str, Source], dict[str, str]]:
    """The files of the local database by name, and their md5 sums; its lines stand in the order in which they count."""
    lines = "".join(
        f"dbstore/{one.iov.payload} {one.iov.revision} {Interval(one.iov.first, one.iov.end)}\n"
        for one in found.payloads
    ).encode()
    files: dict[str, Source] = {DATABASE: lines}
    sums = {DATABASE: sum_bytes(lines)}
    for one in found.payloads:
        files[name_file(one.iov)] = one.file
        sums[name_file(one.iov)] = one.iov.checksum
    return files, sums


def _write_snapshot(project: Project, snapshot: Snapshot) -> None:
    """Writes the snapshot into the checkout, unless it is there.

    Raises:
        GuardRefused: another one has its name.
    """
    file = f"{GLOBAL_TAGS}/{snapshot.name}.iov"
    content, path = write_snapshot(snapshot), project.root / file
    if path.exists():
        if path.read_bytes() != content:
            raise GuardRefused(f"{file} is another snapshot; move it away")
        return
    write_files(project.root, {file: content})
    say(f"wrote {file}: {len(snapshot.iovs)} IoVs, {snapshot.state}")
