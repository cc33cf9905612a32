"""The repository as one frozen value: all manifests, read and checked by their schemas."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath

from schemas.conditions.snapshot import Snapshot, read_snapshot
from schemas.files.tree import SCHEMES, Tree
from schemas.findings.finding import Finding, Place, limit_findings
from schemas.json_schema.validation import load_schema, validate
from schemas.json_schema.values import read_named, read_value
from schemas.manifest.campaign import Campaign, read_campaign
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.known_issue import KNOWN_ISSUES, KnownIssue, read_known_issue
from schemas.manifest.layout import Layout, check_folder
from schemas.manifest.lock import Lock, read_lock
from schemas.manifest.release import Release
from schemas.manifest.scheme import Scheme, find_named, read_scheme
from schemas.manifest.scripts import Script, read_scripts
from schemas.manifest.step import Step
from schemas.manifest.template import Template
from schemas.policy.policy import Policy, read_policy
from schemas.policy.retention import RETENTION, RetentionPolicy, read_retention
from schemas.policy.retirement import RETIREMENTS, Retirement, read_retirement
from schemas.policy.site import Site, read_site
from schemas.policy.validation import VALIDATIONS, Validation, check_criteria, read_validation
from schemas.skims.menu import Skim, check_members, combine_skims, read_skims
from schemas.yaml.document import Document, read_yaml
from schemas.yaml.scalars import show

CAMPAIGNS = "productions/campaigns"
ARCHIVE = "productions/archive"
"""The folder of finished campaigns: they are checked and never planned."""
FOLDERS = (CAMPAIGNS, ARCHIVE)
SITES = "productions/sites"
SKIMS = "productions/skims"
GLOBAL_TAGS = "productions/global-tags"
LAYOUTS = "productions/layouts.yaml"
RELEASES = "productions/releases.yaml"

_PLAIN = re.compile(r"[A-Za-z0-9_.+][A-Za-z0-9_.+-]*", re.ASCII)
"""A name, legal or not, that is one word of a command and not an option."""
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.+-]{0,39}", re.ASCII)
"""The form of the names of campaigns, sites and layouts, as `$defs/name` of the schema `campaign/1`."""
NAME_HINT = "use letters, digits, `_`, `.`, `+`, `-`; begin with a letter or digit; 40 characters at most"


@dataclass(frozen=True, slots=True)
class Declared:
    """A campaign with the document that it was read from, and its lock if it has one."""

    campaign: Campaign
    document: Document
    lock: Lock | None = None

    @property
    def folder(self) -> str:
        """The campaign's folder, relative to the repository."""
        return self.document.file.rpartition("/")[0]

    @property
    def lock_file(self) -> str:
        """The path of the lock file, relative to the repository."""
        return f"{self.folder}/campaign.lock"

    @property
    def is_archived(self) -> bool:
        """Whether the campaign is in the archive."""
        return self.folder.startswith(f"{ARCHIVE}/")


@dataclass(frozen=True, slots=True)
class Repository:
    """All that is declared. `broken` lists the files with findings; what could not be read is missing here.

    `refused` are the manifests that their schema does not accept, each with the places of its findings. `unread_schemes` are the
    files of schemes with findings, each with the words in it that may be campaigns.
    """

    campaigns: Mapping[str, Declared]
    sites: Mapping[str, Site]
    layouts: Mapping[str, Layout]
    skims: Mapping[str, Skim]
    skim_places: Mapping[str, Place]
    releases: Mapping[str, Release]
    snapshots: Mapping[str, Snapshot]
    templates: Mapping[str, Template]
    policy: Policy | None = None
    retirements: Mapping[str, Retirement] = field(default_factory=dict)
    validations: Mapping[str, Validation] = field(default_factory=dict)
    retention: RetentionPolicy | None = None
    schemes: Mapping[str, Scheme] = field(default_factory=dict)
    unread_schemes: Mapping[str, frozenset[str]] = field(default_factory=dict)
    known_issues: Mapping[str, KnownIssue] = field(default_factory=dict)
    scripts: Mapping[str, Script] = field(default_factory=dict)
    broken: frozenset[str] = field(default=frozenset())
    refused: tuple[tuple[Document, frozenset[Place]], ...] = ()
    site_documents: Mapping[str, Document] = field(default_factory=dict)

    def list_templates(self, release: str | None) -> list[Template]:
        """The newest versions of the templates that work with `release`; with None, of all templates."""
        latest = [one for one in self.templates.values() if one.superseded is None]
        return [one for one in latest if release is None or one.serves(release)]

    def list_campaigns(self) -> Iterator[tuple[Campaign, Document]]:
        """All campaigns, each with its document."""
        return ((one.campaign, one.document) for one in self.campaigns.values())

    def list_steps(self) -> Iterator[tuple[Campaign, Document, Step]]:
        """All steps as declared, each with its campaign and the campaign's document."""
        for campaign, document in self.list_campaigns():
            for step in campaign.steps:
                yield campaign, document, step

    def follow_superseding(self) -> Mapping[str, set[str]]:
        """All campaigns that each campaign supersedes, also through others."""
        replaced: dict[str, set[str]] = {}
        for name in self.campaigns:
            pending, seen = [name], set[str]()
            while pending:
                here = self.campaigns.get(pending.pop())
                fresh = set(here.campaign.supersedes) - seen if here is not None else set[str]()
                seen |= fresh
                pending.extend(fresh)
            replaced[name] = seen
        return replaced

    def find_producers(
        self, dataset: str, experiments: Collection[int] | None = None
    ) -> tuple[DatasetName, ...]:
        """What steps produce for a dataset of the detector, by the names that these outputs have as their campaigns'.

        Of a run that several have, the first counts: what a live campaign makes comes before what an ended one made, and a
        campaign before those that it supersedes. With `experiments`, only campaigns that select runs of these are included.
        """
        found = [
            (campaign, step)
            for campaign, _, step in self.list_steps()
            if step.produces == dataset
            and (experiments is None or any(one.experiment in experiments for one in campaign.selectors))
        ]
        replaced = self.follow_superseding() if len(found) > 1 else {}

        def rank(pair: tuple[Campaign, Step]) -> tuple[bool, int, str, str]:
            campaign, step = pair
            newer = sum(campaign.name in older for older in replaced.values())
            return not campaign.is_live, newer, campaign.name, step.name

        level = parse_dataset(dataset).output
        return tuple(
            DatasetName(campaign.name, step.name, level) for campaign, step in sorted(found, key=rank)
        )

    def list_produced(self) -> dict[str, tuple[DatasetName, ...]]:
        """The datasets of the detector that steps produce, each with what `find_producers` gives, sorted by name."""
        names = {step.produces for _, _, step in self.list_steps() if step.produces is not None}
        return {name: self.find_producers(name) for name in sorted(names)}

    def find_upstream(self, campaign: Campaign) -> frozenset[str]:
        """The names of the other campaigns whose units those of a campaign may wait for."""
        experiments = {one.experiment for one in campaign.selectors}
        read = {name for step in campaign.steps if (name := step.input.of_detector)}
        producers = (one.campaign for name in read for one in self.find_producers(name, experiments))
        return campaign.upstream.union(producers) - {campaign.name}


def read_repository(tree: Tree, templates: Mapping[str, Template]) -> tuple[Repository, tuple[Finding, ...]]:
    """The repository in `tree`, and the findings of readers and schemas; `schemas.rules` finds more."""
    reading = _Reading(tree)
    campaigns = dict(reading.campaigns(templates))
    sites = dict(reading.sites())
    skims, places = reading.skims()
    policy, findings = read_policy(tree)
    reading.findings.extend(findings)
    scripts, findings = read_scripts(tree)
    reading.findings.extend(findings)
    repository = Repository(
        campaigns=campaigns,
        sites={stem: read_site(stem, document) for stem, document in sites.items()},
        site_documents=sites,
        layouts=dict(reading.layouts()),
        skims=skims,
        skim_places=places,
        releases=reading.releases(),
        snapshots=dict(reading.snapshots()),
        templates=templates,
        policy=policy,
        retirements=dict(reading.retirements()),
        validations=dict(reading.validations()),
        retention=reading.retention(),
        schemes=dict(reading.schemes()),
        unread_schemes=reading.unread_schemes,
        known_issues=dict(reading.known_issues()),
        scripts=scripts,
        broken=frozenset({*reading.misnamed, *(finding.place.file for finding in reading.findings)}),
        refused=tuple(reading.refused),
    )
    return repository, limit_findings(reading.findings)


class _Reading:
    """One pass over a tree; it collects findings."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree
        self.findings: list[Finding] = []
        self.refused: list[tuple[Document, frozenset[Place]]] = []
        self.misnamed: set[str] = set()
        self.unread_schemes: dict[str, frozenset[str]] = {}

    def refuse(self, file: str, code: str, message: str, hint: str) -> None:
        self.findings.append(Finding(Place(file), code, message, hint))

    def document(self, file: str, schema: str) -> Document | None:
        """The file as a document that its schema accepts; otherwise None, and findings are added."""
        if file not in self.tree:
            self.refuse(file, "BP305", f"{file} is missing", "add it")
            return None
        document, findings = read_yaml(file, self.tree[file])
        if document is not None:
            findings += validate(document, load_schema(schema))
        self.findings.extend(findings)
        if document is not None and findings and schema == "campaign":
            self.refused.append((document, frozenset(finding.place for finding in findings)))
        return None if findings else document

    def files(self, folder: str, suffix: str, hint: str, beside: str = "") -> Iterator[tuple[str, str]]:
        """The files directly in a folder, each with its stem. Others are findings, except below folders named `beside`."""
        for file in sorted(self.tree):
            path = PurePosixPath(file)
            if not path.is_relative_to(folder) or (beside and beside in path.parts[3:4]):
                continue
            if path.suffix == suffix and str(path.parent) == folder:
                yield file, path.stem
            else:
                what = f"NAME{suffix}, and NAME/{beside}" if beside else f"NAME{suffix} only"
                self.refuse_file(file, f"{folder} holds files {what}", hint)

    def refuse_file(self, file: str, message: str, hint: str) -> None:
        if not PurePosixPath(file).name.startswith(".git"):
            self.refuse(file, "BP305", message, hint)

    def sites(self) -> Iterator[tuple[str, Document]]:
        for file, stem in self.files(SITES, ".yaml", f"move it to {SITES}/NAME.yaml"):
            document = self.document(file, "site")
            if document is not None and ".." in document.data["storage"].split("/"):
                message = f"the storage {show(document.data['storage'])} leads elsewhere"
                hint = "write a plain path without `..`"
                self.findings.append(document.report(("storage",), "BP304", message, hint))
            elif document is not None and self.accept_name(file, stem):
                yield stem, document

    def accept_name(self, file: str, stem: str) -> bool:
        legal = NAME.fullmatch(stem) is not None
        if not legal:
            self.refuse(file, "BP301", f"{show(stem)} is not a legal name", NAME_HINT)
        return legal

    def campaigns(self, templates: Mapping[str, Template]) -> Iterator[tuple[str, Declared]]:
        folders: dict[str, str] = {}
        for file in sorted(self.tree):
            top, *below = _split(file)
            if top in FOLDERS and len(below) < 2:
                self.refuse_file(file, "a campaign is a folder", f"move it to {top}/NAME/campaign.yaml")
            elif top in FOLDERS:
                folders.setdefault(f"{top}/{below[0]}", file)
                if len(below) == 2 and below[1] not in ("campaign.yaml", "campaign.lock"):
                    message = "a campaign's folder holds campaign.yaml and campaign.lock"
                    self.refuse_file(file, message, "remove it")
        for folder, first in folders.items():
            name = folder.rpartition("/")[2]
            if f"{folder}/campaign.yaml" not in self.tree:
                message = f"the folder {name} has no campaign.yaml"
                self.refuse(first, "BP305", message, "add one, or remove the folder")
            elif (declared := self.campaign(folder, name, templates)) is not None:
                yield name, declared

    def campaign(self, folder: str, name: str, templates: Mapping[str, Template]) -> Declared | None:
        file = f"{folder}/campaign.yaml"
        document = self.document(file, "campaign")
        if document is None:
            return None
        if _PLAIN.fullmatch(name) is None:  # a rule reports it; hints offer commands with names
            self.misnamed.add(file)
            return None
        declared = Declared(read_campaign(name, document, templates), document)
        if declared.lock_file in self.tree:
            lock, findings = read_lock(declared.lock_file, self.tree[declared.lock_file])
            self.findings.extend(findings)
            declared = replace(declared, lock=lock)
        if declared.is_archived and declared.campaign.is_live:
            message = f"{name} is in {ARCHIVE}, and is not `state: stopped`"
            hint = f"write `state: stopped`, or move it to {CAMPAIGNS}"
            place = document.place(("state",)) if "state" in document.data else Place(file)
            self.findings.append(Finding(place, "BP608", message, hint))
        if declared.is_archived and f"{CAMPAIGNS}/{name}/campaign.yaml" in self.tree:
            message = f"there is also a campaign {name} in {CAMPAIGNS}"
            self.refuse(file, "BP302", message, "names are never used twice")
            return None
        return declared

    def retirements(self) -> Iterator[tuple[str, Retirement]]:
        hint = f"move it to {RETIREMENTS}/NAME.yaml"
        for file, stem in self.files(RETIREMENTS, ".yaml", hint, "approvals"):
            if self.accept_name(file, stem) and (document := self.document(file, "retirement")) is not None:
                yield stem, read_retirement(stem, document)

    def validations(self) -> Iterator[tuple[str, Validation]]:
        for file, stem in self.files(VALIDATIONS, ".yaml", f"move it to {VALIDATIONS}/NAME.yaml"):
            if self.accept_name(file, stem) and (document := self.document(file, "validation")) is not None:
                self.findings.extend(check_criteria(document))
                validation, findings = read_validation(stem, document)
                self.findings.extend(findings)
                if not findings:  # else a step would make fewer histograms than are meant
                    yield stem, validation

    def retention(self) -> RetentionPolicy | None:
        document = self.document(RETENTION, "retention") if RETENTION in self.tree else None
        return None if document is None else read_retention(document)

    def schemes(self) -> Iterator[tuple[str, Scheme]]:
        for file, stem in self.files(SCHEMES, ".yaml", f"move it to {SCHEMES}/NAME.yaml", "approvals"):
            scheme = None
            if self.accept_name(file, stem) and (document := self.document(file, "scheme")) is not None:
                scheme, findings = read_scheme(stem, document)
                self.findings.extend(findings)
            if scheme is None:
                self.unread_schemes[file] = find_named(self.tree[file])
            else:
                yield stem, scheme

    def known_issues(self) -> Iterator[tuple[str, KnownIssue]]:
        for file, stem in self.files(KNOWN_ISSUES, ".yaml", f"move it to {KNOWN_ISSUES}/NAME.yaml"):
            if self.accept_name(file, stem) and (document := self.document(file, "known_issue")) is not None:
                issue, findings = read_known_issue(stem, document)
                self.findings.extend(findings)
                if issue is not None:
                    yield stem, issue

    def skims(self) -> tuple[dict[str, Skim], dict[str, Place]]:
        skims: dict[str, Skim] = {}
        places: dict[str, Place] = {}
        plain: dict[str, str] = {}
        files = self.files(SKIMS, ".yaml", f"move it to {SKIMS}/NAME.yaml")
        read = [self.document(file, "skims") for file, _ in files]
        documents = [document for document in read if document is not None]
        for document in documents:
            found, findings = read_skims(document)
            self.findings.extend(findings)
            for name in document.data["skims"]:
                place = document.key_place(("skims", name))
                clash = plain.setdefault(name.lower(), name)
                if clash in places:
                    message = f"the skim {name} is also defined at {places[clash]}"
                    self.findings.append(Finding(place, "BP302", message, "give one of them another name"))
                places.setdefault(name, place)
            skims.update((skim.name, skim) for skim in found)
        if len(documents) == sum(file.startswith(f"{SKIMS}/") for file in self.tree):
            for document in documents:
                self.findings.extend(check_members(document, skims, list(places)))
        return combine_skims(skims), places

    def layouts(self) -> Iterator[tuple[str, Layout]]:
        document = self.document(LAYOUTS, "layouts")
        if document is None:
            return
        for name, data in document.data["layouts"].items():
            problem = check_folder(data["folder"], historic=data.get("historic", False))
            if problem is None:
                yield name, read_value(Layout, data, name=name)
            else:
                message = f"the folder of layout {name}: {problem}"
                hint = "write it as in {campaign}/{step}/{experiment}/{run}/{stream}/{level}/{version}"
                path = ("layouts", name, "folder")
                self.findings.append(document.report(path, "BP304", message, hint))

    def releases(self) -> dict[str, Release]:
        document = self.document(RELEASES, "releases")
        return {} if document is None else read_named(Release, document.data["releases"])

    def snapshots(self) -> Iterator[tuple[str, Snapshot]]:
        for file, stem in self.files(GLOBAL_TAGS, ".iov", "`b2prod gt` writes them"):
            snapshot, findings = read_snapshot(file, stem, self.tree[file])
            self.findings.extend(findings)
            if snapshot is not None:
                yield stem, snapshot


def _split(file: str) -> list[str]:
    """The top folder, such as `productions/campaigns`, and the parts of the path below it."""
    room, _, rest = file.partition("/")
    top, *below = rest.split("/")
    return [f"{room}/{top}", *below]
