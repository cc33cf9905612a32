"""Hands data over to the calibration team: handover."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import rich_click as click
from sqlalchemy import Connection

from ci.approvals.signatures import find_criteria, find_sign_offs
from ci.changes.project import Project, pass_project
from ci.cli.console import count_things, print_data, say
from ci.cli.exits import WrongUse
from ci.cli.options import FOLDER, read_runs
from ci.review.forges import Forge, ForgePlace, GitHub, GitLab
from ci.verbs.calibration.announcement import MARKER, describe_issue, list_told, name_issue
from ci.verbs.calibration.stages import ChosenStage, choose_stage
from reconciler.calibration.delivery import deliver, sum_bytes
from reconciler.calibration.hand_over import HandOver, HandOverFacts, NoInput, choose_inputs, write_hand_over
from reconciler.calibration.records import CalibrationWriter
from reconciler.datasets.editions import keep_editions
from reconciler.ledger.reading.calibration import find_hand_over, list_hand_overs
from reconciler.ledger.reading.editions import list_editions
from reconciler.ledger.reading.observation import read_identity
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.editions import EditionWriter
from reconciler.ledger.writing.transaction import Writer, name_user
from reconciler.outside.errors import GuardRefused
from reconciler.planning.calibration.hand_over_facts import (
    NothingToHandOver,
    StageDataset,
    gather_facts,
    read_stage,
)
from reconciler.planning.views import judge_stages
from schemas.manifest.runs import RunSet
from schemas.repository import Repository

_LISTED = 20
"""The largest number of problems that are listed."""


@click.command()
@click.argument("scheme")
@click.argument("stage")
@click.option("-o", "--output", type=FOLDER, required=True, help="The folder to make: new, or empty.")
@click.option("--run", "--runs", "which", metavar="RUNS", help="Only these runs, as in 3:529-613,620.")
@click.option("--announce", is_flag=True, help="Also open an issue that tells of it.")
@click.option("--gitlab", metavar="ADDRESS", help="The GitLab for --announce.")
@click.option("--github", metavar="ADDRESS", help="The API of the GitHub for --announce.")
@click.option("--project", "where", metavar="NAME", help="Its project: OWNER/NAME, or an id of GitLab.")
@pass_project
def handover(
    project: Project,
    scheme: str,
    stage: str,
    output: Path,
    which: str | None,
    announce: bool,
    gitlab: str | None,
    github: str | None,
    where: str | None,
) -> None:
    """Hand over the data of a scheme's stage to calibration: a folder with what the CAF reads, and what it is.

    STAGE is a stage with `hand_over`, with its bucket if the scheme has buckets: calibrate.bucket1. What is handed over is
    frozen as editions and recorded. It is refused while a stage of its `after` has not passed. The same facts give the same bytes and the record that there is. The token for --announce
    is in B2PROD_FORGE_TOKEN; it needs the right to open issues. docs/calibration.md says what the team does with the folder.
    """
    forge = _open_forge(gitlab, github, where) if announce else None
    repository, chosen = choose_stage(project, scheme, stage)
    if chosen.iteration > chosen.stage.iterations:
        most = count_things(chosen.stage.iterations, "iteration")
        raise GuardRefused(
            f"this is iteration {chosen.iteration}, and {scheme}/{chosen.stage.name} allows {most}"
        )
    _refuse_early(project, repository, chosen)
    facts, made = _prepare(project, repository, chosen, None if which is None else read_runs(which))
    target = output.absolute()
    with reading(project.state) as connection:
        known = find_hand_over(connection, made.digest)
        earlier = [
            one for one in list_hand_overs(connection, scheme, chosen.gate) if one.digest != made.digest
        ]
    editions = {one.edition: one.digest for one in facts.datasets}
    with opened(project.state) as engine:
        writer = CalibrationWriter(Writer(engine, None), name_user())
        writer.intend_hand_over(chosen.about, made.digest, made.content, editions, facts.base, str(target))
        new = deliver(made.files, {name: sum_bytes(content) for name, content in made.files.items()}, target)
        writer.record_hand_over(made.digest, str(target))
        if forge is not None:
            address = forge.open_issue(
                name_issue(facts), describe_issue(facts, made, target), MARKER.format(made.digest)
            )
            writer.record_announced(made.digest, address)
            say(f"announced: {address}")
    if known is not None and known.written is not None:
        say(
            f"this is the hand-over of {known.created}, unchanged{'' if new else '; the folder has it already'}"
        )
    elif earlier:
        last = earlier[-1]
        say(
            f"other facts than those of {last.created} ({last.digest[:12]}, iteration {last.iteration}), which stays recorded"
        )
    for line in list_told(facts):
        say(line)
    print_data(f"{scheme}/{chosen.gate}, iteration {chosen.iteration}  {target}  {made.digest}\n")


def _refuse_early(project: Project, repository: Repository, chosen: ChosenStage) -> None:
    """Raises `GuardRefused` if the gate of the stage is closed: calibration would work on what does not count yet."""
    signs, criteria = find_sign_offs(project, repository), find_criteria(project, repository)
    with reading(project.state) as connection:
        judged = judge_stages(connection, repository, chosen.scheme, project.state, signs, criteria)
    name = f"{chosen.scheme.name}/{chosen.gate}"
    status = next(one for one in judged if one.name_gate() == name)
    if status.is_closed:
        command = status.lacks[0].command
        hint = f": {command}" if command else ""
        raise GuardRefused(f"{name} is not handed over yet, it waits for {status.tell()}{hint}")


def _prepare(
    project: Project, repository: Repository, chosen: ChosenStage, asked: RunSet | None
) -> tuple[HandOverFacts, HandOver]:
    """What is handed over, with its editions frozen, and its files.

    Raises:
        WrongUse: the stage cannot be handed over as it is declared.
        GuardRefused: folders do not hold just what they should.
    """
    try:
        with reading(project.state) as connection:
            read_identity(connection)  # without a ledger there is nothing to hand over
            found = read_stage(connection, repository, project.state, chosen.stage, chosen.bucket, asked)
            names = _name_known(connection, found)
            first = [(one, names.get(one.name.dataset, "")) for one in found]
            facts, problems = gather_facts(
                connection, repository, chosen.about, chosen.stage, first, chosen.due
            )
        choose_inputs(facts.calibrations, facts.datasets)
        _refuse_problems(problems)
        with opened(project.state) as engine:
            writer = EditionWriter(Writer(engine, None), name_user())
            reason = f"handed over: {chosen.scheme.name}/{chosen.gate}, iteration {chosen.iteration}"
            for one in found:
                if one.name.dataset not in names:
                    frozen = writer.freeze(one.name.dataset, one.edition.content, reason)
                    names[one.name.dataset] = frozen.name
            with engine.begin() as connection:
                keep_editions(connection, project.state.editions)
        with reading(project.state) as connection:
            named = [(one, names[one.name.dataset]) for one in found]
            facts, problems = gather_facts(
                connection, repository, chosen.about, chosen.stage, named, chosen.due
            )
        _refuse_problems(problems)
        return facts, write_hand_over(facts)
    except (NothingToHandOver, NoInput) as error:
        raise WrongUse(str(error)) from error


def _name_known(connection: Connection, found: Sequence[StageDataset]) -> dict[str, str]:
    """Dataset → the edition that has just what is handed over of it, if there is one."""
    names = {}
    for one in found:
        if one.frozen is not None:
            names[one.name.dataset] = one.frozen
            continue
        for edition in list_editions(connection, one.name.dataset):
            if edition.digest == one.edition.digest:
                names[one.name.dataset] = edition.name
    return names


def _refuse_problems(problems: Sequence[str]) -> None:
    if problems:
        more = f"\n  and {len(problems) - _LISTED:,} more" if len(problems) > _LISTED else ""
        listed = "\n  ".join(problems[:_LISTED])
        raise GuardRefused(f"the CAF would not read just what was published:\n  {listed}{more}")


def _open_forge(gitlab: str | None, github: str | None, where: str | None) -> Forge:
    address = gitlab or github
    if address is None or (gitlab and github) or where is None:
        raise WrongUse("say where to announce it: --gitlab ADDRESS or --github ADDRESS, and --project NAME")
    token = os.environ.get("B2PROD_FORGE_TOKEN")
    if not token:
        raise WrongUse("there is no token in B2PROD_FORGE_TOKEN")
    return (GitLab if gitlab else GitHub)(ForgePlace(address, where), token)
