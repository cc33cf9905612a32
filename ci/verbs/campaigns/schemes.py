"""Schemes: the stages in order and whose move it is, and the next iteration of a calibration: scheme list, show, next."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import rich_click as click

from ci.approvals.signatures import find_criteria, find_sign_offs
from ci.changes.draft import Undraftable, draft_iteration
from ci.changes.project import Project, load, load_any, pass_project, passes_project
from ci.cli.console import count_things, print_data, print_json, say
from ci.cli.exits import FoundProblems, WrongUse
from ci.cli.options import refuse_unknown_name, writes_json
from ci.cli.rows import print_rows
from ci.cli.work_tree import write_files
from reconciler.ledger.store.database import reading
from reconciler.monitoring.health import name_people
from reconciler.outside.errors import GuardRefused
from reconciler.planning.gates.judging import StageState, StageStatus
from reconciler.planning.views import judge_stages
from schemas.files.tree import SCHEMES
from schemas.manifest.dataset import parse_dataset
from schemas.manifest.scheme import HAND_OVER, Scheme, Stage, count_iteration
from schemas.policy.roles import Roles
from schemas.repository import CAMPAIGNS, NAME, NAME_HINT, Repository

_LETTERED = re.compile(r"(?P<stem>.*[0-9])(?P<letter>[a-y]?)", re.ASCII)

_COLUMNS = ("stage", "does", "state", "whose move", "due", "since", "what is lacking")


@click.group("scheme")
def scheme_group() -> None:
    """Show processing schemes: which stages have passed, what the others wait for, and whose move it is."""


@scheme_group.command("list")
@writes_json
@pass_project
def list_schemes(project: Project, as_json: bool) -> None:
    """List the schemes: how many stages have passed, and what the first of the others lacks."""
    repository, findings = load_any(project)
    today = datetime.now(UTC).date()
    wrong = {one.place.file for one in findings}
    rows = []
    for scheme in repository.schemes.values():
        if scheme.document.file in wrong:
            say(
                f"{scheme.document.file} has findings: `b2prod check` says which; its campaigns are held back"
            )
            continue
        judged = _judge(project, repository, scheme)
        left = [one for one in judged if one.state is not StageState.PASSED]
        first = next((one for one in left if not one.is_closed), None)
        late = sum(one.is_overdue(today) for one in left if not one.is_closed)
        told = first.tell() if first is not None else None
        rows.append((scheme.name, len(judged), len(judged) - len(left), late, told, scheme.title))
    columns = ("scheme", "stages", "passed", "overdue", "waits for", "title")
    if as_json:
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
    else:
        print_rows(columns, rows, numbers=columns[1:4])
    for file in sorted(repository.unread_schemes):
        say(f"{file} cannot be read: `b2prod check` says why; the campaigns that it names are held back")


@scheme_group.command("show")
@click.argument("name")
@writes_json
@pass_project
def show_scheme(project: Project, name: str, as_json: bool) -> None:
    """Show a scheme: each stage in its order with its state, what was seen, whose move it is, since when, and what comes next.

    States: passed; open, it may go; held, what was seen speaks against it; waiting, a stage before it has not passed;
    unknown, something cannot be read.
    """
    repository, scheme = _find_scheme(project, name)
    judged, today = _judge(project, repository, scheme), datetime.now(UTC).date()
    roles = None if repository.policy is None else repository.policy.roles
    if as_json:
        print_json([_describe_stage(one, roles, today) for one in judged])
        return
    print_rows(_COLUMNS, _tabulate_stages(judged, today), title=scheme.title)
    seen = [f"  {one.name_gate().partition('/')[2]}: {line}\n" for one in judged for line in one.evidence]
    print_data("".join(["\nEvidence\n", *seen]) if seen else "")
    steps = _list_next(judged, roles, today)
    print_data("".join(["\nNext\n", *(f"  {line}\n" for line in steps)]) if steps else "")


@scheme_group.command("next")
@click.argument("name")
@click.option("--tag", required=True, help="The global tag with which the next iteration runs.")
@click.option("--release", required=True, help="Its release.")
@click.option("--stage", "wanted", help="Which hand-over is repeated; needed if the scheme has several.")
@click.option("--as", "called", metavar="NAME", help="The name of the campaign; else the next letter.")
@passes_project(any_version=True)
def draft_next(
    project: Project, name: str, tag: str, release: str, wanted: str | None, called: str | None
) -> None:
    """Draft the next iteration of a calibration, for a pull request: a copy of its campaign, as preproc8c of preproc8b.

    An iteration is a campaign of its own, since its tag and its release are decisions of their own. The copy is held, and
    supersedes the campaign before. The scheme must name it then: what to change is said.
    """
    repository, scheme = _find_scheme(project, name)
    stage = _choose_stage(scheme, wanted)
    before = parse_dataset(stage.names[0]).campaign
    declared = repository.campaigns[before]
    kinds = {key: one.campaign.kind for key, one in repository.campaigns.items()}
    done = count_iteration(before, repository.follow_superseding(), kinds)
    if done >= stage.iterations:
        allowed = count_things(stage.iterations, "iteration")
        file = f"{SCHEMES}/{name}.yaml"
        raise GuardRefused(
            f"{stage.name} has {allowed}, and {before} is number {done}: agree on more, and change `iterations` in {file}"
        )
    new = called or _name_next(before)
    if not NAME.fullmatch(new):
        raise WrongUse(f"{new!r} is not a legal name; {NAME_HINT}")
    folder = project.root / CAMPAIGNS / new
    if new.lower() in {known.lower() for known in repository.campaigns} or folder.exists():
        raise WrongUse(f"there is a campaign {new} already; choose another name with --as")
    refuse_unknown_name("release", release, repository.releases)
    try:
        text = draft_iteration(
            declared, (project.root / declared.document.file).read_text("utf-8"), release, tag
        )
    except Undraftable as error:
        raise WrongUse(str(error)) from error
    drafted = f"{CAMPAIGNS}/{new}/campaign.yaml"
    write_files(project.root, {drafted: text.encode()})
    say(f"wrote {drafted}, iteration {done + 1} of {stage.iterations}")
    for line in _list_steps(project.root, repository, scheme, before, new, tag):
        say(line)


def _list_steps(
    root: Path, repository: Repository, scheme: Scheme, before: str, new: str, tag: str
) -> list[str]:
    """What is to be done after the draft was written, in order."""
    lines = []
    if tag not in repository.snapshots:
        lines.append(f"the tag has no snapshot here yet: `b2prod gt pull {tag}`")
    places = [
        (line, text.strip())
        for line, text in enumerate((root / scheme.document.file).read_text("utf-8").splitlines(), 1)
        if re.search(rf"(?<![A-Za-z0-9_.+-]){re.escape(before)}/", text) and not text.lstrip().startswith("#")
    ]
    lines += [f"write {new} for {before} in {scheme.document.file}:{line}: {text}" for line, text in places]
    lines.append(
        f"look at its title, header and ticket, then `b2prod check {new}` and `b2prod resolve {new}`"
    )
    lines.append(f"end {before}: `state: stopped`; then open a pull request with all of it")
    return lines


def _find_scheme(project: Project, name: str) -> tuple[Repository, Scheme]:
    """The repository and one of its schemes.

    Raises:
        WrongUse: there is none of that name.
        FoundProblems: there are findings on it.
    """
    repository, findings = load(project)
    file = f"{SCHEMES}/{name}.yaml"
    if wrong := [one for one in findings if one.place.file == file]:
        raise FoundProblems(wrong)
    refuse_unknown_name("scheme", name, repository.schemes)
    return repository, repository.schemes[name]


def _choose_stage(scheme: Scheme, wanted: str | None) -> Stage:
    stages = {one.name: one for one in scheme.stages if one.does == HAND_OVER}
    if not stages:
        raise WrongUse(f"{scheme.name} hands nothing over, so nothing is repeated")
    if wanted is None and len(stages) > 1:
        raise WrongUse(f"{scheme.name} has several hand-overs; choose one: --stage {' | '.join(stages)}")
    name = wanted or next(iter(stages))
    refuse_unknown_name("stage with a hand-over", name, stages)
    return stages[name]


def _name_next(name: str) -> str:
    """The name with the next letter: preproc8b after preproc8, preproc8c after preproc8b."""
    found = _LETTERED.fullmatch(name)
    if found is None:
        raise WrongUse(f"{name} does not end with a number and a letter; name the next one with --as")
    letter = found["letter"]
    return f"{found['stem']}{chr(ord(letter or 'a') + 1)}"


def _judge(project: Project, repository: Repository, scheme: Scheme) -> tuple[StageStatus, ...]:
    with reading(project.state) as connection:
        signs, criteria = find_sign_offs(project, repository), find_criteria(project, repository)
        return judge_stages(connection, repository, scheme, project.state, signs, criteria)


def _describe_stage(status: StageStatus, roles: Roles | None, today: date) -> dict[str, Any]:
    """A stage as JSON data; `people` are those of the roles whose move it is."""
    lack = status.lacks[0] if status.lacks else None
    return {
        "gate": status.name_gate(),
        "does": status.stage.does,
        "names": list(status.stage.names),
        "after": list(status.stage.after),
        "bucket": status.bucket,
        "state": status.state.value,
        "iteration": status.iteration or None,
        "evidence": list(status.evidence),
        "lacks": [one.text for one in status.lacks],
        "blocker": None if status.blocker is status.stage else status.blocker.name,
        "whose": list(status.whose),
        "people": name_people(roles, status.whose, today),
        "due": None if status.due is None else status.due.isoformat(),
        "overdue": status.is_overdue(today),
        "since": status.since,
        "next": lack.command if lack is not None and lack.command else None,
        "evidence_digest": None if status.matter is None else status.matter.digest,
    }


def _tabulate_stages(statuses: Iterable[StageStatus], today: date) -> list[tuple[str, ...]]:
    """A row for each stage, as `_COLUMNS`."""
    return [
        (
            status.name_gate().partition("/")[2],
            f"{status.stage.does.replace('_', ' ')} {', '.join(status.stage.names)}",
            status.state.value,
            " and ".join(status.whose) or ("" if status.state is StageState.PASSED else "b2prod"),
            _tell_due(status, today),
            status.since or "",
            _tell_lack(status),
        )
        for status in statuses
    ]


def _list_next(statuses: Sequence[StageStatus], roles: Roles | None, today: date) -> list[str]:
    """Lines about the stages whose gates are open and that have not passed: who does what."""
    lines = []
    for status in statuses:
        for lack in status.lacks if not status.is_closed else ():
            people = name_people(roles, lack.whose, today)
            who = " and ".join(lack.whose) or "b2prod"
            listed = f" ({', '.join(people)})" if people else ""
            command = f": {lack.command}" if lack.command else ""
            lines.append(f"{status.name_gate()}: {who}{listed}{command}")
    return lines


def _tell_due(status: StageStatus, today: date) -> str:
    if status.due is None or status.state is StageState.PASSED:
        return ""
    return f"{status.due.isoformat()}{', overdue' if status.is_overdue(today) else ''}"


def _tell_lack(status: StageStatus) -> str:
    if not status.lacks:
        return ""
    if status.blocker is not status.stage:
        return f"waits for {status.blocker.name}"
    more = len(status.lacks) - 1
    return status.lacks[0].text + (f" (and {more} more)" if more else "")
