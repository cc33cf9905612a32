"""Separates campaigns with findings, on them or on what they use, from the campaigns that can go on."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import PurePosixPath

from ci.changes.project import (
    HARMLESS,
    Project,
    choose_campaigns,
    choose_locked,
    is_about,
    list_folders,
    load,
    load_any,
    refuse_broken,
)
from ci.cli.console import count_things, say
from ci.cli.exits import FoundProblems
from ci.cli.options import refuse_unknown_name
from reconciler.outside.errors import SourceUnavailable
from schemas.files.tree import PRODUCTIONS, SCHEMES, show_path
from schemas.findings.finding import Finding
from schemas.manifest.variant import is_expandable
from schemas.policy.validation import VALIDATIONS
from schemas.repository import CAMPAIGNS, GLOBAL_TAGS, NAME, SITES, SKIMS, Repository


@dataclass(frozen=True, slots=True)
class Choice:
    """The campaigns of a command. `chosen` are in order; `wrong` maps the others to their findings.

    `drafts` have no lock and were not named; `stopped` were named with live campaigns. Both are left out and not wrong.
    """

    repository: Repository
    chosen: tuple[str, ...]
    wrong: Mapping[str, Sequence[Finding]]
    drafts: tuple[str, ...] = ()
    stopped: tuple[str, ...] = ()

    def require(self) -> Sequence[str]:
        """The campaigns in order. For each of the others a line is printed.

        Raises:
            FoundProblems: there are campaigns with findings, and no campaign is in order.
        """
        if self.wrong and not self.chosen:
            raise FoundProblems([finding for found in self.wrong.values() for finding in found])
        for text in self.describe():
            say(text)
        return self.chosen

    def describe(self) -> list[str]:
        """Lines about the campaigns that are left out, first about those with findings."""
        told = []
        for name, (first, *others) in self.wrong.items():
            # A folder may have any name, and people paste commands into a shell, so a strange name gets none.
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
    """Chooses among the named campaigns, or all live ones. Each is judged separately.

    Raises:
        WrongUse: a name is that of no campaign, or all named campaigns are stopped.
        SourceUnavailable: the folder of the campaigns cannot be read, so it is not known which campaigns exist.
    """
    return choose_launchable(*load(project), names)


def choose_launchable(repository: Repository, findings: Sequence[Finding], names: Sequence[str]) -> Choice:
    """Same as `load_launchable`, for a repository and findings that were read before."""
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
    choose_campaigns(repository, named)  # refuses an unknown name
    live = [name for name, declared in repository.campaigns.items() if declared.campaign.is_live]
    stopped = tuple(name for name in named if name not in live)
    if names and len(stopped) == len(names):
        choose_locked(repository, names)  # refuses stopped campaigns
    chosen, drafts = [], []
    for name in [one for one in named if one in live] if names else live:
        if about := [finding for finding in findings if _hinders(finding, repository, name)]:
            wrong[name] = about
        elif not names and repository.campaigns[name].lock is None:
            drafts.append(name)
        else:  # its references exist, so its lock can be computed
            try:
                choose_locked(repository, [name])
            except FoundProblems as problems:
                wrong[name] = problems.findings
            else:
                chosen.append(name)
    return Choice(repository, tuple(chosen), wrong, tuple(drafts), stopped)


def load_produced(project: Project, names: Sequence[str]) -> Repository:
    """Everything declared, for verbs that tell what campaigns in any state produced.

    Live campaigns with findings are taken out, and a line says so: for these the ledger alone tells.
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


def load_gated(project: Project, name: str) -> Repository:
    """Everything declared, if the meaning of a campaign is clear, and so is that of the schemes that may hold it back.

    Raises:
        FoundProblems: there are findings on it, other than harmless ones, or on such a scheme.
    """
    repository, findings = load(project)
    refuse_broken(repository, findings, [name])
    harmful = [
        one
        for one in findings
        if (
            _hinders(one, repository, name)
            if _is_scheme(PurePosixPath(one.place.file))
            else is_about(one, [name]) and not one.code.startswith(HARMLESS)
        )
    ]
    if harmful:
        raise FoundProblems(harmful)
    return repository


def refuse_unknown(project: Project, name: str, begun: Sequence[str]) -> None:
    """Accepts the name of a folder of a campaign, or of a campaign in the ledger.

    Raises:
        WrongUse: it is neither.
    """
    refuse_unknown_name("campaign", name, sorted({*list_folders(project), *begun}))


def _is_scheme(file: PurePosixPath) -> bool:
    """Whether a file, or the folder that it is in, is a scheme, or is meant to be one: another name or place opens no gate."""
    within = file.parts[2:] if file.is_relative_to(SCHEMES) else ()
    return "approvals" not in within[1:2] and any(part.endswith((".yaml", ".yml")) for part in within)


def _hinders(finding: Finding, repository: Repository, name: str) -> bool:
    """Whether a finding stops a campaign: it is about the campaign, what that refers to, or what all campaigns share."""
    file = PurePosixPath(finding.place.file)
    folder = str(file.parent)
    if _is_scheme(file):
        scheme = repository.schemes.get(file.stem) if folder == SCHEMES else None
        if scheme is not None:
            return name in scheme.campaigns
        held = repository.unread_schemes.get(str(file))
        return not held or name in held  # nobody knows whom a file holds back that was not read
    if not is_about(finding, [name]) and folder != VALIDATIONS:
        return False
    if name not in repository.campaigns:
        return folder != VALIDATIONS
    campaign = repository.campaigns[name].campaign
    steps = campaign.expand() if is_expandable(campaign.steps) else campaign.steps
    payloads = {one.name for step in steps for one in step.deviations.testing_payloads}
    validations = {step.validation for step in steps if step.validation is not None}
    used = {VALIDATIONS: validations, SITES: {campaign.site}, GLOBAL_TAGS: payloads.union(campaign.tag_names)}
    if folder == SKIMS:
        return any(step.skims for step in steps)
    return folder not in used or file.stem in used[folder]
