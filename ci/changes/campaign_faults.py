"""What hinders campaigns, each by itself: findings on it, and on what it uses; and what goes on without those."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from ci.changes.project import (
    Project,
    choose_campaigns,
    choose_locked,
    is_about,
    list_folders,
    load,
    load_any,
)
from ci.cli.console import count_things, say
from ci.cli.exits import FoundProblems
from ci.cli.options import refuse_unknown_name
from reconciler.outside.errors import SourceUnavailable
from schemas.files.tree import PRODUCTIONS, show_path
from schemas.findings.finding import Finding
from schemas.manifest.variant import is_expandable
from schemas.repository import CAMPAIGNS, GLOBAL_TAGS, NAME, SITES, SKIMS, Repository


@dataclass(frozen=True, slots=True)
class Choice:
    """Which campaigns a command goes by. `chosen` are in order; `wrong` are not, and here is why.

    `drafts` were never locked, and nobody asked for them; `stopped` were asked for beside others: they are left out, and
    nothing is wrong with that.
    """

    repository: Repository
    chosen: tuple[str, ...]
    wrong: Mapping[str, Sequence[Finding]]
    drafts: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()

    def require(self) -> Sequence[str]:
        """The campaigns in order; on each of the others it says a word.

        Raises:
            FoundProblems: there are others, and none is in order.
        """
        if self.wrong and not self.chosen:
            raise FoundProblems([finding for found in self.wrong.values() for finding in found])
        for text in self.describe():
            say(text)
        return self.chosen

    def describe(self) -> list[str]:
        """Lines on the campaigns that are left out: first on those with something wrong."""
        told = []
        for name, (first, *others) in self.wrong.items():
            # a folder may have any name; a command is pasted into a shell, so none is offered for a strange one
            check = f"b2prod check {name}" if NAME.fullmatch(name) else "b2prod check"
            more = f" (and {count_things(len(others), 'finding')} more: `{check}`)" if others else ""
            told.append(f"{show_path(name)} is left out: {first}{more}")
        told += [f"{name} is stopped, and stopped campaigns are not planned" for name in self.stopped]
        if self.drafts:
            listed = ", ".join(self.drafts)
            resolve = f"`b2prod resolve {' '.join(self.drafts)}`"
            told.append(f"left out, because never locked: {listed}; {resolve} takes them in")
        return told


def load_launchable(project: Project, names: Sequence[str] = ()) -> Choice:
    """The campaigns named, or all live ones, each by itself: those in order, and what is wrong with the others.

    Raises:
        WrongUse: there is no campaign of a name, or it is stopped.
        SourceUnavailable: the folder of the campaigns cannot be read, so that nobody can tell which there are.
    """
    return choose_launchable(*load(project), names)


def choose_launchable(repository: Repository, findings: Sequence[Finding], names: Sequence[str]) -> Choice:
    """The same of what was read already."""
    unread: defaultdict[str, list[Finding]] = defaultdict(list)
    for finding in findings:
        parts = PurePosixPath(finding.place.file).parts
        if finding.place.file in (PRODUCTIONS, CAMPAIGNS):
            raise SourceUnavailable(finding.message)
        if "/".join(parts[:2]) == CAMPAIGNS and parts[2] not in repository.campaigns:
            unread[parts[2]].append(finding)
    wrong: dict[str, Sequence[Finding]] = {
        name: found for name, found in unread.items() if not names or name in names
    }
    named = [name for name in names if name not in wrong]
    choose_campaigns(repository, named)  # refuses a name that nobody knows
    live = [name for name, declared in repository.campaigns.items() if declared.campaign.is_live]
    stopped = tuple(name for name in named if name not in live)
    if names and len(stopped) == len(names):
        choose_locked(repository, names)  # refuses them
    chosen, drafts = [], []
    for name in [one for one in named if one in live] if names else live:
        if about := [finding for finding in findings if _hinders(finding, repository, name)]:
            wrong[name] = about
        elif not names and repository.campaigns[name].lock is None:
            drafts.append(name)
        else:  # what it refers to is there, so that its lock can be made again
            try:
                choose_locked(repository, [name])
            except FoundProblems as problems:
                wrong[name] = problems.findings
            else:
                chosen.append(name)
    return Choice(repository, tuple(chosen), wrong, tuple(drafts), stopped)


def load_produced(project: Project, names: Sequence[str]) -> Repository:
    """Everything declared, where it is told what campaigns produced, in whatever state they are.

    Live campaigns that are not in order are taken out, and it is said: of these the ledger tells.
    """
    repository, findings = load_any(project)
    for name in names:
        declared = repository.campaigns.get(name)
        if declared is None or not declared.campaign.is_live:
            continue
        try:
            wrong = choose_launchable(repository, findings, [name]).describe()
        except SourceUnavailable as error:
            wrong = [f"{name}: {error}"]
        if wrong:
            say(f"{wrong[0]}; this is what the ledger has of it")
            others = {key: value for key, value in repository.campaigns.items() if key != name}
            repository = replace(repository, campaigns=others)
    return repository


def refuse_unknown(project: Project, name: str, begun: Sequence[str]) -> None:
    """Nothing, where a name is that of a folder of campaigns, or of one that the ledger knows.

    Raises:
        WrongUse: it is neither.
    """
    refuse_unknown_name("campaign", name, sorted({*list_folders(project), *begun}))


def _hinders(finding: Finding, repository: Repository, name: str) -> bool:
    """Whether a campaign waits for a finding: it is about the campaign, what that refers to, or what all share."""
    if not is_about(finding, [name]):
        return False
    if name not in repository.campaigns:
        return True
    campaign = repository.campaigns[name].campaign
    steps = campaign.expand() if is_expandable(campaign.steps) else campaign.steps
    payloads = {one.name for step in steps for one in step.deviations.testing_payloads}
    used = {SITES: {campaign.site}, GLOBAL_TAGS: payloads.union(campaign.tag_names)}
    file = PurePosixPath(finding.place.file)
    folder = str(file.parent)
    if folder == SKIMS:
        return any(step.skims for step in steps)
    return folder not in used or file.stem in used[folder]
