"""Turns basf2's skim campaigns, as b2skim declares them, into a skim menu and manifests of this repository.

Three files of b2skim (`skim/production/examples`) say which skims are combined, what each of these reads and needs, and
which collections are skimmed. Codes and modules of single skims are only in basf2's registry of skims.
"""

from __future__ import annotations

import ast
import json
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ci.cli.console import count_things
from schemas.findings.finding import Finding, Place
from schemas.manifest.runs import RunRange
from schemas.repository import CAMPAIGNS, SKIMS, Repository
from schemas.skims.global_tags import ANALYSIS, PID, ROLES, takes_role
from schemas.skims.menu import RegistrySkim
from schemas.yaml.document import Document
from schemas.yaml.scalars import show
from schemas.yaml.wording import find_nearest, list_words

TEMPLATE = "combined_skim/3"
RESERVED = ("GT", "release", "campaign")
"""Keys of the settings that are not skims, but stand among them."""
STREAMS = {"had": "hadron", "hadron": "hadron", "all": "all"}
ENERGIES = {"offres": "4S_offres", "4Soffres": "4S_offres", "5Sscan": "5S_scan", "4S": "4S", "5S": "5S"}
"""Words in the names of collections → beam energy."""

_RELEASE = re.compile(r"(pre)?release-\d{2}-\d{2}-\d{2}[a-z]?|light-\d{4}-[a-z]+", re.ASCII)
_STEP = re.compile(r"[a-z][a-z0-9_]{0,23}", re.ASCII)
_EXPERIMENTS = re.compile(r"exp(\d+)(?:_to_exp(\d+))?_", re.ASCII)
_ENTRY = re.compile(r"\d{8} [A-Za-z]\w{0,63} [A-Za-z]\w{0,63}", re.ASCII)
_LAST_RUN = 99_999
_ROLES = {"FEI": ANALYSIS, "analysis": ANALYSIS, "PID": PID}
"""Key in `GT` → the role of the tag that a skim gets from b2skim (basf2 `skim/production/skimSubmit.py`)."""


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of b2skim, and basf2's registry by the names of its skims. `collections` is optional."""

    definitions: Document
    info: Document
    collections: Document | None = None
    registry: Mapping[str, RegistrySkim] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choices:
    """What the files do not say. `experiments` maps campaigns to experiments that the names of collections do not tell."""

    menu: str
    global_tags: tuple[str, ...]
    site: str
    layout: str
    max_units: int
    release: str | None = None
    experiments: Mapping[str, tuple[RunRange, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class ImportedCampaigns:
    """The result: `files` by path, `findings` on what is wrong and left out, and `notes` on what cannot be declared here."""

    files: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def report(self, place: Place, code: str, message: str, hint: str) -> None:
        """Adds a finding."""
        self.findings.append(Finding(place, code, message, hint))


@dataclass(slots=True)
class _Input:
    """What one campaign reads from one stream."""

    experiments: set[int] = field(default_factory=set)
    energies: set[str] = field(default_factory=set)
    collections: list[str] = field(default_factory=list)


def read_registry(text: str) -> dict[str, RegistrySkim]:
    """The skims in the text of basf2's registry.py, by name: its list of code, module and name. Nothing is executed.

    Raises:
        ValueError: it is not Python, or has no such list.
    """
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Assign | ast.AnnAssign) and isinstance(node.value, ast.List):
            try:
                rows = ast.literal_eval(node.value)
            except ValueError:
                continue
            if rows and all(_is_entry(row) for row in rows):
                return {name: RegistrySkim(code, module, name) for code, module, name in rows}
    raise ValueError("it has no list of (code, module, name)")


def _is_entry(row: object) -> bool:
    if not isinstance(row, tuple) or len(row) != 3 or not all(isinstance(word, str) for word in row):
        return False
    return _ENTRY.fullmatch(" ".join(row)) is not None


def import_skims(sources: Sources, choices: Choices, repository: Repository) -> ImportedCampaigns:
    """The menu and the manifests that the files declare: one campaign for each of their campaigns, streams and sets of tags.

    A skim that contradicts one of the files is left out, and so is a collection whose name is not clear.
    """
    return _Import(sources, choices, repository).run()


class _Import:
    def __init__(self, sources: Sources, choices: Choices, repository: Repository) -> None:
        self.sources, self.choices, self.repository = sources, choices, repository
        self.combined: Mapping[str, Sequence[str]] = sources.definitions.data
        self.described: Mapping[str, Any] = sources.info.data
        self.release: str = choices.release or self.described["release"]
        self.inputs: defaultdict[tuple[str, str], _Input] = defaultdict(_Input)
        self.made = ImportedCampaigns()

    def run(self) -> ImportedCampaigns:
        is_release = _RELEASE.fullmatch(self.release) is not None
        if not is_release:
            message = f"{show(self.release)} is not a release, but a build"
            self.made.report(self.sources.info.place(("release",)), "BP902", message, "say --release RELEASE")
        known = self.list_skims()
        if self.sources.collections is None:
            self.read_campaigns()
        else:
            self.read_collections(self.sources.collections)
        if is_release:
            self.write_files(known)
        return self.made

    def list_skims(self) -> list[str]:
        """The combined skims that can be imported. The others cause findings."""
        definitions, info = self.sources.definitions, self.sources.info
        described = [name for name in self.described if name not in RESERVED]
        for name in described:
            if name not in self.combined:
                near = find_nearest(name, [one for one in self.combined if one not in described])
                hint = "define it there, or take it out here"
                message = f"{show(name)} is described here, and {definitions.file} does not define it"
                asked = f"did you mean {show(near)}? otherwise {hint}" if near else hint
                self.made.report(info.key_place((name,)), "BP901", message, asked)
        missing = {*self.combined, *(one for names in self.combined.values() for one in names)}
        missing -= self.repository.skims.keys()
        if missing and not self.sources.registry:
            message = f"{len(missing)} skims are on no menu, {show(min(missing))} for one"
            hint = "say --registry FILE, with basf2's registry of skims (skim/scripts/skim/registry.py)"
            self.made.report(definitions.place(()), "BP903", message, hint)
        return [name for name in self.combined if self.is_usable(name)]

    def is_usable(self, name: str) -> bool:
        """Whether a combined skim has no fault. A fault adds a finding."""
        definitions, info = self.sources.definitions, self.sources.info
        before, here = len(self.made.findings), definitions.key_place((name,))
        if name not in self.described or name in RESERVED:
            message = f"{show(name)} is defined here, and {info.file} does not say what it reads"
            self.made.report(here, "BP901", message, "describe it there")
        else:
            for index, tag in enumerate(self.described[name].get("GT", ())):
                if tag not in self.described.get("GT", {}):
                    place = info.place((name, "GT", index))
                    message = f"{show(name)} needs the global tag for {show(tag)}, which `GT` does not name"
                    self.made.report(place, "BP901", message, "add it to `GT`")
        if not _STEP.fullmatch(name.lower()):
            message = f"{show(name)} is too long for the name of a step"
            self.made.report(here, "BP902", message, "use 24 characters at most")
        there = self.repository.skims.get(name)
        if there is not None and set(there.combines) != set(self.combined[name]):
            message = f"{show(name)} combines other skims on the menu ({self.repository.skim_places[name]})"
            hint = "other content is another skim: define it under another name, with another code"
            self.made.report(here, "BP903", message, hint)
        self.check_code(name, here)
        for at, one in enumerate(self.combined[name]):
            self.check_code(one, definitions.place((name, at)))
        members = {name, *self.combined[name]}
        found = {*self.sources.registry, *self.repository.skims}
        return len(self.made.findings) == before and members <= found

    def check_code(self, name: str, place: Place) -> None:
        """Checks that a skim has the same code on the menu and in the registry."""
        registry, skims = self.sources.registry, self.repository.skims
        skim, registered = skims.get(name), registry.get(name)
        if registered is None:
            if skim is None and registry:
                near = find_nearest(name, [*registry, *skims])
                hint = f"did you mean {show(near)}?" if near else "it may be in another release's registry"
                self.made.report(place, "BP903", f"{show(name)} is not in the registry", hint)
        elif skim is not None and skim.registered != registered:
            there = skim.registered.code if skim.registered else skim.kind
            message = f"{show(name)} has the code {registered.code} in the registry, and {there} on the menu"
            where = self.repository.skim_places[name]
            self.made.report(place, "BP903", message, f"give the one on the menu another name ({where})")

    def list_campaigns(self) -> dict[str, Sequence[str]]:
        """The campaigns of real data, each with the beginnings of the names of its collections."""
        campaigns = self.described["campaign"].items()
        return {name: starts for name, starts in campaigns if not name.startswith("MC")}

    def read_campaigns(self) -> None:
        """Without a list of collections: the input is all streams of the campaigns whose experiments are given."""
        campaigns = self.list_campaigns()
        for name in campaigns:
            if name not in self.choices.experiments:
                place = self.sources.info.key_place(("campaign", name))
                message = f"it is not said which experiments {name} is of"
                self.made.report(place, "BP902", message, f"say --experiments {name}=FIRST-LAST")
                continue
            for stream in STREAMS.values():
                self.inputs[name, stream].experiments |= self.list_experiments(name)
        self.note_simulated(len(self.described["campaign"]) - len(campaigns), "campaign")

    def read_collections(self, collections: Document) -> None:
        """Finds the input, by campaign and stream, from the names of the collections."""
        campaigns = self.list_campaigns()
        simulated = 0
        for group, names in collections.data.items():
            for index, name in enumerate(names or ()):
                if name.startswith("MC"):
                    simulated += 1
                else:
                    self.read_collection(name, collections.place((group, index)), campaigns)
        self.note_simulated(simulated, "collection")

    def note_simulated(self, count: int, what: str) -> None:
        if count:
            left = f"{count_things(count, what)} of simulated data left out"
            self.made.notes.append(f"{left}: what is declared here are runs")

    def read_collection(self, name: str, place: Place, campaigns: Mapping[str, Sequence[str]]) -> None:
        """Adds a collection to the input of its campaign. Only the name of the collection is known."""
        words = name.replace("4S_offres", "4Soffres").replace("5S_scan", "5Sscan").split("_")
        stream = next((STREAMS[word] for word in words if word in STREAMS), None)
        energy = next((ENERGIES[word] for word in words if word in ENERGIES), None)
        numbers = _EXPERIMENTS.match(name)
        owners = [
            one
            for one, starts in campaigns.items()
            if name.startswith(tuple(f"{start}_" for start in starts))
        ]
        if not owners and numbers:
            owners = [one for one in campaigns if "prompt" in one.lower()]
        owner = owners[0] if len(owners) == 1 else None
        if stream is None or energy is None or owner is None:
            parts = {"the stream": stream, "the energy": energy, "the campaign": owner}
            missing = list_words([what for what, value in parts.items() if not value]).replace("`", "")
            message = f"the name {show(name)} does not tell {missing}"
            hint = "name it as in proc16_4S_had_v1, and its campaign among `campaign`"
            self.made.report(place, "BP902", message, hint)
            return
        experiments = self.list_experiments(owner)
        if numbers:
            experiments = set(range(int(numbers[1]), int(numbers[2] or numbers[1]) + 1))
        if not experiments:
            message = f"the name {show(name)} does not tell the experiments"
            self.made.report(place, "BP902", message, f"say --experiments {owner}=FIRST-LAST")
            return
        read = self.inputs[owner, stream]
        read.experiments |= experiments
        read.energies.add(energy)
        read.collections.append(name)

    def list_experiments(self, campaign: str) -> set[int]:
        ranges = self.choices.experiments.get(campaign, ())
        return {number for one in ranges for number in range(one.first, one.last + 1)}

    def write_files(self, known: Sequence[str]) -> None:
        """Writes the manifests and the menu. A campaign has one chain of tags, so skims with the same tags go together."""
        by_stream: defaultdict[str, dict[tuple[str, ...], list[str]]] = defaultdict(dict)
        for name in known:
            about = self.described[name]
            by_stream[about["HLT"]].setdefault(tuple(about.get("GT", ())), []).append(name)
        menu: set[str] = set()
        for (campaign, stream), read in sorted(self.inputs.items()):
            for tags, names in sorted(by_stream[stream].items()):
                title = f"{campaign}_{stream}_skims{''.join(f'_{one}' for one in tags)}"
                text = self.write_campaign(campaign, stream, names, read, tags)
                self.made.files[f"{CAMPAIGNS}/{title}/campaign.yaml"] = text
                menu.update(names)
        for stream in sorted(by_stream.keys() - {stream for _, stream in self.inputs}):
            left = ", ".join(name for name in known if self.described[name]["HLT"] == stream)
            self.made.notes.append(f"no collection of {stream} is listed, so these are left out: {left}")
        self.write_menu(sorted(menu))

    def order_tags(self, tags: Sequence[str]) -> list[tuple[str, str | None]]:
        """The global tags in the order in which basf2 asks them, each with the role in which a skim gets it, or None."""
        names = self.described["GT"] if tags else {}
        roles = {one: role for one, role in _ROLES.items() if takes_role(self.release, role)}
        known = {role: names[one] for one in reversed(tags) if (role := roles.get(one)) is not None}
        return [
            *((known[role], role) for role in ROLES if role in known),
            *((names[one], None) for one in tags if one not in roles),
            *((tag, None) for tag in self.choices.global_tags),
        ]

    def write_campaign(
        self, campaign: str, stream: str, skims: Sequence[str], read: _Input, tags: Sequence[str]
    ) -> str:
        definitions, info, choices = self.sources.definitions, self.sources.info, self.choices
        energies = f", energies: [{', '.join(sorted(read.energies))}]" if read.energies else ""
        runs = [
            f'  - {{experiment: {number}, ranges: "1-{_LAST_RUN}", types: [physics]{energies}}}'
            for number in sorted(read.experiments)
        ]
        chain = [
            f"  - {{name: {json.dumps(tag)}, mode: snapshot{f', role: {role}' if role else ''}}}"
            for tag, role in self.order_tags(tags)
        ]
        steps = [
            f"  {skim.lower()}: {{application: basf2, template: {TEMPLATE}, input: {{level: mdst}}, skims: [{skim}]}}"
            for skim in skims
        ]
        lines = [
            f"# Imported from {_name_file(definitions)} and {_name_file(info)} of b2skim, whose release is",
            f"# {self.described['release']!a}.",
            *([f"# Collections: {', '.join(read.collections)}."] if read.collections else ()),
            f"# It reads the general skim {stream}: what is registered of its runs as mdst are the files of that skim.",
            "schema: campaign/1",
            f"title: Combined skims of {campaign}, {stream}",
            "kind: skim",
            "state: held",
            "runs:",
            *runs,
            f"release: {self.release}",
            "global_tags:",
            *chain,
            f"site: {choices.site}",
            f"layout: {choices.layout}",
            "steps:",
            *steps,
            f"limits: {{max_units: {choices.max_units}, max_restate: 0}}",
        ]
        return "\n".join(lines) + "\n"

    def write_menu(self, combined: Sequence[str]) -> None:
        """Writes the menu with the combined skims, and with those of their skims that are on no menu yet."""
        single = sorted({one for name in combined for one in self.combined[name]})
        lines = []
        for name in (*single, *combined):
            if name in self.repository.skims:
                continue
            skim = self.sources.registry[name]
            lines.append(f"  {name}:")
            lines.append(f'    registry: {{code: "{skim.code}", module: {skim.module}, name: {skim.name}}}')
            if name in self.combined:
                lines.append(f"    combines: [{', '.join(self.combined[name])}]")
        if lines:
            head = [
                "schema: skims/1",
                "title: Combined skims of b2skim, and those that they combine",
                "provenance: |",
                f"  Imported from {_name_file(self.sources.definitions)} of b2skim; codes and modules are those of basf2's registry",
                "  of skims.",
                "skims:",
            ]
            self.made.files[f"{SKIMS}/{self.choices.menu}.yaml"] = "\n".join([*head, *lines]) + "\n"


def _name_file(document: Document) -> str:
    """A file's name for a comment, without line ends."""
    return re.sub(r"[^A-Za-z0-9_.+-]", "?", document.file.rpartition("/")[2])
