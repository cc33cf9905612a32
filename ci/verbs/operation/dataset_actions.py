"""Actions of a person on datasets: restore what is in the trash, and protect a dataset."""

from __future__ import annotations

import rich_click as click

from ci.changes.project import Project, pass_project
from ci.cli.console import count_things, progress, say
from ci.cli.exits import Exit, WrongUse
from ci.cli.options import reasoned
from reconciler.datasets.operations.protecting import ProtectionWriter
from reconciler.datasets.operations.stored import list_existing, list_operations
from reconciler.datasets.places import Places
from reconciler.execution.operating.restoring import list_restorable, restore
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.lease import holding
from reconciler.ledger.writing.transaction import Writer, name_user
from reconciler.model.operations import OperationKind
from reconciler.planning.operations.retired_outputs import SUBJECT
from schemas.files.times import is_day
from schemas.manifest.dataset import parse_dataset
from schemas.yaml.wording import suggest


@click.command("restore")
@click.argument("name")
@reasoned
@pass_project
def restore_verb(project: Project, name: str, reason: str) -> int:
    """Bring back what a retirement has put into the trash; after the quarantine it is deleted, and nothing comes back.

    NAME is the retirement. It does not go again until its manifest says something else.
    """
    subject = f"{SUBJECT}{name}"
    with reading(project.state) as connection:
        known = {
            one.subject.removeprefix(SUBJECT)
            for one in list_operations(connection, None, OperationKind.TRASH)
        }
        if name not in known:
            hint = suggest(name, known, "nothing was put into the trash" if not known else "")
            raise WrongUse(
                f"nothing was put into the trash for a retirement {name}" + (f"; {hint}" if hint else "")
            )
        waiting = list_restorable(connection, subject, reason)
    left: list[str] = []
    with holding(project.state) as lease, opened(project.state) as engine:
        writer = Writer(engine, lease)
        places = Places(project.state, writer)
        with progress("files", sum(one.files for one in waiting)) as advance:

            def count(files: int) -> None:
                for _ in range(files):
                    advance()

            for one in waiting:
                left += restore(writer, name_user(), places, one, count)
    outputs = sum(one.outputs for one in waiting)
    for why in left:
        say(f"left in the trash: {why}")
    say(
        f"{count_things(outputs, 'output')} of {name} were in the trash, {len(left)} could not be brought back"
    )
    return Exit.PARTLY if left else Exit.FINE


@click.command()
@click.argument("dataset")
@click.option("--until", metavar="DAY", help="The last day, as in 2019-12-31.")
@click.option("--end", is_flag=True, help="Take the protection back.")
@reasoned
@pass_project
def protect(project: Project, dataset: str, until: str | None, end: bool, reason: str) -> None:
    """Protect a dataset, or all that a step or a campaign made, from being deleted up to a day."""
    if end == (until is not None):
        raise WrongUse("say up to which day with --until, or take the protection back with --end")
    if until is not None and not is_day(until):
        raise WrongUse(f"{until} is not a day: write it as in 2019-12-31")
    _check_dataset(project, dataset)
    with opened(project.state) as engine:
        writer = ProtectionWriter(Writer(engine, None), name_user())
        if until is not None:
            writer.protect(dataset, until, reason)
            say(f"{dataset} is protected until {until}, that day included")
        elif writer.end(dataset):
            say(f"{dataset} is not protected any more")
        else:
            say(f"{dataset} was not protected; nothing was changed")


def _check_dataset(project: Project, dataset: str) -> None:
    with reading(project.state) as connection:
        known = list_existing(connection)
    parts = {name.rsplit("/", length)[0] for name in known for length in (1, 2)}
    if dataset in known | parts:
        return
    if "/" in dataset:
        try:
            parse_dataset(dataset)
        except ValueError as error:
            raise WrongUse(str(error)) from error
    hint = suggest(dataset, known | parts, "`b2prod dataset list` shows what there is")
    raise WrongUse(f"nothing was made of {dataset}; {hint}")
