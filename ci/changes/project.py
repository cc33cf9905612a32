"""The repository that a command works on, and the folder of its state."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import update_wrapper
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, TypeVar

import rich_click as click

from ci.cli.console import say
from ci.cli.exits import FoundProblems, WrongUse
from ci.cli.options import FILE, refuse_unknown_name
from reconciler.ledger.store.state import State, check_address
from reconciler.outside.defects import note_defect
from renderer.steering import load_templates
from schemas.files.tree import PRODUCTIONS, SCHEMES, Tree, read_tree
from schemas.findings.finding import Finding, Place, limit_findings
from schemas.manifest.known_issue import KNOWN_ISSUES
from schemas.policy.retention import RETENTION
from schemas.policy.retirement import RETIREMENTS
from schemas.policy.validation import VALIDATIONS
from schemas.repository import FOLDERS, Declared, Repository, read_repository
from schemas.rules import check_repository

if TYPE_CHECKING:
    from ci.changes.change import Change
    from ci.changes.commits import Commit
    from ci.changes.export import Origin

# Modules that read commits and exports, and that compute locks, are imported only when needed: they load slower than a check.

_Command = TypeVar("_Command", bound=Callable[..., object])
_Verb = Callable[..., int | None]

NOTHING = Repository({}, {}, {}, {}, {}, {}, {}, {})
"""A repository that declares nothing, for the case that nothing can be read."""

UNREAD = "BP305"
"""The code of a file that is missing, or that this user must not read."""

STALE = "BP605"
"""The code of a lock that is missing, or does not agree with its manifest."""

HARMLESS = ("BP502", "BP519", "BP6", "BP7")
"""Codes of findings, or their beginnings, that do not make the meaning of a campaign unclear: a tag without a snapshot,
a line that the data lack, faults between campaigns or in a lock, limits and open decisions.
"""


@dataclass(frozen=True, slots=True)
class Project:
    """A checkout with a `productions` folder, and the place of its state.

    `commit` or `change`, if given, is read instead of the work tree. With `origin`, the state is an export.
    `trust` is the digest that the site's configuration names, unchecked.
    """

    root: Path
    state: State
    commit: Commit | None = None
    change: Change | None = None
    origin: Origin | None = None
    trust: str | None = None

    def read_files(self) -> tuple[Tree, tuple[Finding, ...]]:
        """Returns the files that are read, and findings on the files that were not read."""
        if self.change is not None:
            return self.change.after, self.change.unread
        if self.commit is not None:
            return self.commit.files, self.commit.findings()
        return read_tree(self.root)


@dataclass(frozen=True, slots=True)
class Settings:
    """The options before the verb."""

    root: str | None
    state: str | None
    database: str | None = None
    trust: str | None = None

    def project(
        self,
        base: str | None = None,
        head: str | None = None,
        export: Path | None = None,
        *,
        any_version: bool = False,
    ) -> Project:
        """The project of the verb. `head` is a commit to read; with `base`, the change from `base` to `head` after its merge.

        `export` replaces the state until the command ends. The policy names its key (for a change, the policy of the base).
        The state must have this tool's version, unless `any_version` is given.

        Raises:
            OtherVersion: the state has another version. This is checked before manifests are read.
        """
        project = self._find_project()
        if not any_version and export is None:
            _refuse_version(project.state)
        if base is not None:
            from ci.changes.change import read_change  # noqa: PLC0415 -- see above

            change = read_change(project.root, base, "HEAD" if head is None else head)
            project = replace(project, change=change)
        elif head is not None:
            from ci.changes.commits import read_commit  # noqa: PLC0415 -- see above

            project = replace(project, commit=read_commit(project.root, head))
        if export is not None:
            from ci.changes.export import reading_export  # noqa: PLC0415 -- see above

            policy = project.change.before if project.change is not None else project.read_files()[0]
            opened = reading_export(export, policy, datetime.now(UTC))
            context = click.get_current_context()
            assert context is not None
            state, origin = context.with_resource(opened)  # until the command ends
            project = replace(project, state=state, origin=origin)
            if not any_version:
                _refuse_version(project.state)
        return project

    def _find_project(self) -> Project:
        """The project in `root`, else the one that contains the working folder. The state is in `.b2prod` if not given.

        Raises:
            WrongUse: there is no `productions` folder here or above, or `database` is not an address.
        """
        if self.database:
            try:
                check_address(self.database)
            except ValueError as error:
                raise WrongUse(str(error)) from error
        here = Path(self.root or ".").absolute()
        candidates = [here] if self.root else [here, *here.parents]
        found = next((folder for folder in candidates if (folder / PRODUCTIONS).is_dir()), None)
        if found is None:
            where = f"{here}{'' if self.root else ' or above it'}"
            raise WrongUse(f"no folder `{PRODUCTIONS}` in {where}; go to a checkout, or give --root")
        folder = Path(os.path.abspath(self.state)) if self.state else found / ".b2prod"
        return Project(found, State(folder, self.database or None), trust=self.trust)


def _refuse_version(state: State) -> None:
    if state.server is None and not state.database.exists():
        return  # avoids loading what reads a ledger
    from reconciler.ledger.store.database import refuse_version  # noqa: PLC0415 -- see above

    refuse_version(state)


def reads_commits(command: _Command) -> _Command:
    """Options of a verb that can read commits: `base` and `head`."""
    base = click.option("--base", metavar="REV", help="Read this commit once --head (else HEAD) is merged.")
    head = click.option("--head", metavar="REV", help="Read productions/ of this commit, not the work tree.")
    return base(head(command))


def reads_exports(command: _Command) -> _Command:
    """The option of a verb that can read an export of the state: `export`."""
    return click.option(
        "--state-export",
        "export",
        type=FILE,
        envvar="B2PROD_STATE_EXPORT",
        help="Read this export of the state (`b2prod state export`), not the ledger itself.",
    )(command)


def passes_project(
    *, any_version: bool = False, commits: bool = False, exports: bool = False
) -> Callable[[_Verb], _Verb]:
    """Calls a verb with its project.

    With `exports`, an option says what is read instead of the state; with `commits`, others also instead of the work tree.
    """
    names = ("base", "head", "export") if commits else ("export",) if exports else ()

    def decorate(verb: _Verb) -> _Verb:
        @click.pass_obj
        def work(settings: Settings, /, **options: Any) -> int | None:
            where = {name: options.pop(name) for name in names}
            return verb(settings.project(**where, any_version=any_version), **options)

        update_wrapper(work, verb)
        return reads_commits(reads_exports(work)) if commits else reads_exports(work) if exports else work

    return decorate


pass_project = passes_project()
"""Calls a verb with its project, whose state must have this tool's version."""


def load(project: Project) -> tuple[Repository, tuple[Finding, ...]]:
    """Returns everything declared, and all findings; for a change, only those that it is responsible for."""
    repository, found = judge_files(*project.read_files())
    if project.change is None or not found:
        return repository, found
    from ci.changes.gates import select_new  # noqa: PLC0415 -- see above

    _, known = judge_files(project.change.before, ())
    return repository, select_new(project.change, found, known)


def judge_files(tree: Tree, unread: Sequence[Finding]) -> tuple[Repository, tuple[Finding, ...]]:
    """Returns the repository in `tree`, and the findings of readers, schemas and rules after those in `unread`."""
    repository, findings = read_repository(tree, load_templates())
    return repository, limit_findings((*unread, *findings, *check_repository(repository)))


def load_any(project: Project) -> tuple[Repository, tuple[Finding, ...]]:
    """Returns everything declared that can be read, and all findings. It prints a line about what cannot be read.

    For operator actions and verbs that only read: a broken checkout must not keep people from stopping jobs.
    """
    return _load_readable(lambda: load(project))


def load_campaigns(project: Project) -> Repository:
    """Returns what the manifests of campaigns declare, and nothing else of the repository, in half the time of all.

    It prints a line about what cannot be read.
    """

    def read() -> tuple[Repository, tuple[Finding, ...]]:
        tree, unread = project.read_files()
        manifests = {file: content for file, content in tree.items() if file.endswith("/campaign.yaml")}
        repository, findings = read_repository(manifests, load_templates())
        return repository, (*unread, *(one for one in findings if one.place.file in manifests))

    return _load_readable(read)[0]


def _load_readable(
    read: Callable[[], tuple[Repository, tuple[Finding, ...]]],
) -> tuple[Repository, tuple[Finding, ...]]:
    try:
        repository, findings = read()
    except Exception as error:  # noqa: BLE001 -- a defect of a reader must not disable the emergency stop
        say(f"what is declared cannot be read, and this goes by the ledger alone: {note_defect(error)}")
        return NOTHING, ()
    broken = [one for one in findings if one.place.file in repository.broken or one.code == UNREAD]
    if broken:
        more = f" (and {len(broken) - 1} more: `b2prod check`)" if len(broken) > 1 else ""
        say(f"not all that is declared can be read; of the rest the ledger tells: {broken[0]}{more}")
    return repository, findings


def list_folders(project: Project, *tops: str) -> set[str]:
    """The names in the folders of campaigns, or in the folders `tops`, even if their files cannot be read."""
    tree, unread = project.read_files()
    files = [PurePosixPath(file) for file in (*tree, *(finding.place.file for finding in unread))]
    below = [file.relative_to(top) for top in tops or FOLDERS for file in files if file.is_relative_to(top)]
    return {part.parts[0].removesuffix(".yaml") for part in below if part.parts}


def load_sound(project: Project, names: Sequence[str] = (), *, judge_locks: bool = True) -> Repository:
    """Everything declared. Without `judge_locks`, stale locks are accepted: for verbs that write locks or do not need them.

    Raises:
        FoundProblems: there are findings; with `names`, those of other campaigns do not count.
    """
    repository, findings = load(project)
    if not judge_locks:
        findings = tuple(finding for finding in findings if finding.code != STALE)
    if blocking := [finding for finding in findings if not names or is_about(finding, names)]:
        raise FoundProblems(blocking)
    return repository


def load_rendered(project: Project, name: str) -> Repository:
    """Everything declared, if a campaign can be rendered: a live one must be ready for a launch, with a current lock.

    Raises:
        WrongUse: there is no campaign of that name.
        FoundProblems: there are findings on it; of a campaign that is not live, `HARMLESS` ones do not count.
    """
    repository, findings = load(project)
    declared = repository.campaigns.get(name)
    live = declared is None or declared.campaign.is_live
    about = [one for one in findings if is_about(one, [name])]
    if blocking := [one for one in about if live or not one.code.startswith(HARMLESS)]:
        raise FoundProblems(blocking)
    if live:
        choose_locked(repository, [name])
    return repository


def choose_campaigns(repository: Repository, names: Sequence[str]) -> list[Declared]:
    """The named campaigns, or all live ones.

    Raises:
        WrongUse: there is no campaign of that name.
    """
    for name in names:
        refuse_unknown_name("campaign", name, repository.campaigns)
    chosen = [repository.campaigns[name] for name in names or repository.campaigns]
    return [declared for declared in chosen if names or declared.campaign.is_live]


def choose_locked(repository: Repository, names: Sequence[str]) -> list[Declared]:
    """The named campaigns, or all live ones. Each has a lock that agrees with its manifest.

    Only `resolve --check` checks that the runs of a lock are those of today.

    Raises:
        WrongUse: there is no campaign of that name, or it is stopped.
        FoundProblems: a lock is stale or missing.
    """
    from reconciler.planning.pinning import compare_locks, pin_campaign  # noqa: PLC0415 -- see above

    chosen = choose_campaigns(repository, names)
    findings: list[Finding] = []
    for declared in chosen:
        name, lock = declared.campaign.name, declared.lock
        if not declared.campaign.is_live:
            raise WrongUse(f"{name} is stopped, and stopped campaigns are not planned")
        if lock is None:
            place, message = Place(declared.document.file), f"{name} has no lock"
        elif stale := compare_locks(lock, pin_campaign(declared, repository, lock.runs, lock.generation)):
            place, message = Place(declared.lock_file), f"the lock of {name} is stale in: {', '.join(stale)}"
        else:
            continue
        findings.append(Finding(place, STALE, message, f"run `b2prod resolve {name}`"))
    if findings:
        raise FoundProblems(findings)
    return chosen


def load_readable(project: Project, names: Sequence[str]) -> Repository:
    """Everything declared, if the meaning of the named campaigns is clear. They may still not be ready for a launch.

    Raises:
        FoundProblems: there are findings on these campaigns, other than `HARMLESS` ones.
    """
    repository, findings = load(project)
    refuse_broken(repository, findings, names)
    harmful = [one for one in findings if is_about(one, names) and not one.code.startswith(HARMLESS)]
    if harmful:
        raise FoundProblems(harmful)
    return repository


def refuse_broken(repository: Repository, findings: Sequence[Finding], names: Sequence[str]) -> None:
    """Accepts campaigns that could be read, or that do not exist.

    Raises:
        FoundProblems: a campaign could not be read.
    """
    broken = tuple(f"{top}/{name}/" for top in FOLDERS for name in names if name not in repository.campaigns)
    if blocking := [finding for finding in findings if finding.place.file.startswith(broken)]:
        raise FoundProblems(blocking)


def is_about(finding: Finding, names: Sequence[str]) -> bool:
    """Whether a finding is about one of these campaigns, or about what all share. Findings on these never are: retirements, validations, schemes, known issues, the retention."""
    file = finding.place.file
    if file.startswith((f"{RETIREMENTS}/", f"{VALIDATIONS}/", f"{SCHEMES}/", f"{KNOWN_ISSUES}/", RETENTION)):
        return False
    return not file.startswith(tuple(f"{top}/" for top in FOLDERS)) or file.split("/")[2] in names
