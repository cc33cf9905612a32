"""Skim campaigns as basf2's b2skim declares them, turned into a skim menu and manifests of this repository.

Three files of b2skim (`skim/production/examples`) say which skims are combined, what each of these reads and needs, and
which collections are skimmed. Codes and modules of single skims stand in basf2's registry of skims alone.
"""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

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
"""Keys of the settings that are not skims, though they stand among them."""
STREAMS = {"had": "hadron", "hadron": "hadron", "all": "all"}
ENERGIES = {"offres": "4S_offres", "4Soffres": "4S_offres", "5Sscan": "5S_scan", "4S": "4S", "5S": "5S"}
"""Words in the names of collections."""

_RELEASE = re.compile(r"(pre)?release-\d{2}-\d{2}-\d{2}[a-z]?|light-\d{4}-[a-z]+", re.ASCII)
_STEP = re.compile(r"[a-z][a-z0-9_]{0,23}", re.ASCII)
_EXPERIMENTS = re.compile(r"exp(\d+)(?:_to_exp(\d+))?_", re.ASCII)
_LAST_RUN = 99_999


@dataclass(frozen=True, slots=True)
class Sources:
    """The files of b2skim, and basf2's registry by the names of its skims; collections may be left out."""

    definitions: Document
    info: Document
    collections: Document | None = None
    registry: Mapping[str, RegistrySkim] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Choices:
    """What the files do not say. `experiments` has, by campaign, those whose names of collections do not tell them."""

    menu: str
    global_tags: tuple[str, ...]
    site: str
    layout: str
    max_units: int
    release: str | None = None
    experiments: Mapping[str, tuple[RunRange, ...]] = field(default_factory=dict)


@dataclass(slots=True)
class ImportedCampaigns:
    """Files by their paths; what is wrong in the sources, and left out; and what has no place here."""

    files: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


@dataclass(slots=True)
class _Input:
    """What one campaign reads of one stream."""

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
    return (
        isinstance(row, tuple)
        and len(row) == 3
        and all(
            isinstance(word, str) and re.fullmatch(pattern, word, re.ASCII)
            for word, pattern in zip(row, (r"\d{8}", r"[A-Za-z]\w{0,63}", r"[A-Za-z]\w{0,63}"), strict=True)
        )
    )


def import_skims(sources: Sources, choices: Choices, repository: Repository) -> ImportedCampaigns:
    """The menu and the manifests that the files declare, one campaign for each of theirs and each stream that is read.

    A skim that one of the files contradicts is left out, and so is what cannot be told of the collections.
    """
    made = ImportedCampaigns()
    release = choices.release or sources.info.data["release"]
    if not _RELEASE.fullmatch(release):
        place = sources.info.place(("release",))
        message = f"{show(release)} is not a release, but a build"
        made.findings.append(Finding(place, "BP902", message, "say --release RELEASE"))
    known = _list_skims(sources, repository, made)
    inputs = _read_inputs(sources, choices, made)
    if not _RELEASE.fullmatch(release):
        return made
    menu: set[str] = set()
    for (campaign, stream), read in sorted(inputs.items()):
        for tags, names in _group_skims(sources, known, stream):
            suffix = "".join(f"_{one}" for one in tags)
            name = f"{campaign}_{stream}_skims{suffix}"
            chain = _order_tags(sources, tags, release) + [(tag, None) for tag in choices.global_tags]
            text = _write_campaign(campaign, stream, names, read, chain, release, sources, choices)
            made.files[f"{CAMPAIGNS}/{name}/campaign.yaml"] = text
            menu.update(names)
    left = {sources.info.data[name]["HLT"] for name in known} - {stream for _, stream in inputs}
    for stream in sorted(left):
        names = [name for name in known if sources.info.data[name]["HLT"] == stream]
        made.notes.append(f"no collection of {stream} is listed, so these are left out: {', '.join(names)}")
    _write_menu(sources, choices, repository, sorted(menu), made)
    return made


def _list_skims(sources: Sources, repository: Repository, made: ImportedCampaigns) -> list[str]:
    """The combined skims that can be taken over; what is wrong with the others becomes findings."""
    definitions, info = sources.definitions, sources.info
    described = [name for name in info.data if name not in RESERVED]
    for name in described:
        if name not in definitions.data:
            near = find_nearest(name, [one for one in definitions.data if one not in described])
            hint = f"did you mean {show(near)}? otherwise define it there, or take it out here"
            message = f"{show(name)} is described here, and {definitions.file} does not define it"
            made.findings.append(
                Finding(
                    info.key_place((name,)),
                    "BP901",
                    message,
                    hint if near else hint.partition("? otherwise ")[2],
                )
            )
    missing = {*definitions.data, *(one for names in definitions.data.values() for one in names)}
    missing -= repository.skims.keys()
    if missing and not sources.registry:
        message = f"{len(missing)} skims are on no menu, {show(min(missing))} for one"
        hint = "say --registry FILE, with basf2's registry of skims (skim/scripts/skim/registry.py)"
        made.findings.append(Finding(definitions.place(()), "BP903", message, hint))
    return [name for name in definitions.data if _is_usable(sources, repository, name, made)]


def _is_usable(sources: Sources, repository: Repository, name: str, made: ImportedCampaigns) -> bool:
    definitions, info = sources.definitions, sources.info
    found: list[Finding] = []
    if name not in info.data or name in RESERVED:
        message = f"{show(name)} is defined here, and {info.file} does not say what it reads"
        found.append(Finding(definitions.key_place((name,)), "BP901", message, "describe it there"))
    else:
        for index, tag in enumerate(info.data[name].get("GT", ())):
            if tag not in info.data.get("GT", {}):
                message = f"{show(name)} needs the global tag for {show(tag)}, which `GT` does not name"
                found.append(Finding(info.place((name, "GT", index)), "BP901", message, "add it to `GT`"))
    if not _STEP.fullmatch(name.lower()):
        message = f"{show(name)} is too long for the name of a step"
        found.append(Finding(definitions.key_place((name,)), "BP902", message, "use 24 characters at most"))
    there = repository.skims.get(name)
    if there is not None and set(there.combines) != set(definitions.data[name]):
        message = f"{show(name)} combines other skims on the menu ({repository.skim_places[name]})"
        hint = "other content is another skim: define it under another name, with another code"
        found.append(Finding(definitions.key_place((name,)), "BP903", message, hint))
    places = [(name, definitions.key_place((name,)))]
    places += [(one, definitions.place((name, at))) for at, one in enumerate(definitions.data[name])]
    for one, place in places:
        found += _check_code(sources, repository, one, place)
    made.findings += found
    members = {name, *definitions.data[name]}
    return not found and members <= {*sources.registry, *repository.skims}


def _check_code(sources: Sources, repository: Repository, name: str, place: Place) -> Iterator[Finding]:
    """A skim has one code for ever, on the menu or in the registry."""
    skim, registered = repository.skims.get(name), sources.registry.get(name)
    if skim is None and registered is None:
        if not sources.registry:
            return
        near = find_nearest(name, [*sources.registry, *repository.skims])
        hint = f"did you mean {show(near)}?" if near else "it may be in the registry of another release"
        yield Finding(place, "BP903", f"{show(name)} is not in the registry", hint)
    elif skim is not None and registered is not None and skim.registered != registered:
        there = skim.registered.code if skim.registered else skim.kind
        message = f"{show(name)} has the code {registered.code} in the registry, and {there} on the menu"
        where = repository.skim_places[name]
        yield Finding(place, "BP903", message, f"give the one on the menu another name ({where})")


def _read_inputs(
    sources: Sources, choices: Choices, made: ImportedCampaigns
) -> dict[tuple[str, str], _Input]:
    """What is read, by campaign and stream."""
    campaigns: Mapping[str, Sequence[str]] = sources.info.data["campaign"]
    data = {name: starts for name, starts in campaigns.items() if not name.startswith("MC")}
    inputs: dict[tuple[str, str], _Input] = {}
    if sources.collections is None:
        for name in data:
            for stream in sorted(set(STREAMS.values())):
                if name in choices.experiments:
                    read = inputs.setdefault((name, stream), _Input())
                    read.experiments |= _list_experiments(choices, name)
                elif stream == "all":
                    place = sources.info.key_place(("campaign", name))
                    message = f"it is not said which experiments {name} is of"
                    made.findings.append(
                        Finding(place, "BP902", message, f"say --experiments {name}=FIRST-LAST")
                    )
        simulated = len(campaigns) - len(data)
        if simulated:
            made.notes.append(
                f"{count_things(simulated, 'campaign')} of simulated data left out: what is declared here are runs"
            )
        return inputs
    simulated = 0
    for group, names in sources.collections.data.items():
        for index, name in enumerate(names or ()):
            if name.startswith("MC"):
                simulated += 1
            else:
                place = sources.collections.place((group, index))
                made.findings += _read_collection(name, place, data, choices, inputs)
    if simulated:
        made.notes.append(
            f"{count_things(simulated, 'collection')} of simulated data left out: what is declared here are runs"
        )
    return inputs


def _read_collection(
    name: str,
    place: Place,
    campaigns: Mapping[str, Sequence[str]],
    choices: Choices,
    inputs: dict[tuple[str, str], _Input],
) -> Iterator[Finding]:
    """Adds a collection to what its campaign reads; a collection's name is all that is known of it."""
    words = name.replace("4S_offres", "4Soffres").replace("5S_scan", "5Sscan").split("_")
    stream = next((STREAMS[word] for word in words if word in STREAMS), None)
    energy = next((ENERGIES[word] for word in words if word in ENERGIES), None)
    numbers = _EXPERIMENTS.match(name)
    owners = [
        one for one, starts in campaigns.items() if name.startswith(tuple(f"{start}_" for start in starts))
    ]
    if not owners and numbers:
        owners = [one for one in campaigns if "prompt" in one.lower()]
    if stream is None or energy is None or len(owners) != 1:
        parts = {
            "the stream": stream,
            "the energy": energy,
            "the campaign": owners if len(owners) == 1 else None,
        }
        missing = list_words([what for what, value in parts.items() if not value]).replace("`", "")
        message = f"the name {show(name)} does not tell {missing}"
        yield Finding(
            place, "BP902", message, "name it as in proc16_4S_had_v1, and its campaign among `campaign`"
        )
        return
    (owner,) = owners
    if numbers:
        experiments = set(range(int(numbers[1]), int(numbers[2] or numbers[1]) + 1))
    else:
        experiments = _list_experiments(choices, owner)
    if not experiments:
        message = f"the name {show(name)} does not tell the experiments"
        yield Finding(place, "BP902", message, f"say --experiments {owner}=FIRST-LAST")
        return
    read = inputs.setdefault((owner, stream), _Input())
    read.experiments |= experiments
    read.energies.add(energy)
    read.collections.append(name)


def _list_experiments(choices: Choices, campaign: str) -> set[int]:
    ranges = choices.experiments.get(campaign, ())
    return {number for one in ranges for number in range(one.first, one.last + 1)}


def _group_skims(
    sources: Sources, known: Sequence[str], stream: str
) -> list[tuple[tuple[str, ...], list[str]]]:
    """The skims of a stream by the further global tags that they need: a campaign has one chain of tags."""
    groups: dict[tuple[str, ...], list[str]] = {}
    for name in known:
        about = sources.info.data[name]
        if about["HLT"] == stream:
            groups.setdefault(tuple(about.get("GT", ())), []).append(name)
    return sorted(groups.items())


_ROLES = {"FEI": ANALYSIS, "analysis": ANALYSIS, "PID": PID}
"""As which b2skim's campaigns hand the tags of `GT` to skims (basf2 `skim/production/skimSubmit.py`)."""


def _order_tags(sources: Sources, tags: Sequence[str], release: str) -> list[tuple[str, str | None]]:
    """The further tags of skims, each with the role in which they are handed it, in the order in which basf2 asks them."""
    names = sources.info.data["GT"]
    roles = {one: role for one, role in _ROLES.items() if takes_role(release, role)}
    known = {role: names[one] for one in reversed(tags) if (role := roles.get(one)) is not None}
    handed: list[tuple[str, str | None]] = [(known[role], role) for role in ROLES if role in known]
    return handed + [(names[one], None) for one in tags if one not in roles]


def _write_campaign(
    campaign: str,
    stream: str,
    skims: Sequence[str],
    read: _Input,
    chain: Sequence[tuple[str, str | None]],
    release: str,
    sources: Sources,
    choices: Choices,
) -> str:
    energies = f", energies: [{', '.join(sorted(read.energies))}]" if read.energies else ""
    runs = [
        f'  - {{experiment: {number}, ranges: "1-{_LAST_RUN}", types: [physics]{energies}}}'
        for number in sorted(read.experiments)
    ]
    steps = [
        f"  {skim.lower()}: {{application: basf2, template: {TEMPLATE}, input: {{level: mdst}}, skims: [{skim}]}}"
        for skim in skims
    ]
    lines = [
        f"# Imported from {_name_file(sources.definitions)} and {_name_file(sources.info)} of b2skim, whose release is",
        f"# {sources.info.data['release']!a}.",
        *([f"# Collections: {', '.join(read.collections)}."] if read.collections else ()),
        f"# It reads the general skim {stream}: what is registered of its runs as mdst are the files of that skim.",
        "schema: campaign/1",
        f"title: Combined skims of {campaign}, {stream}",
        "kind: skim",
        "state: held",
        "runs:",
        *runs,
        f"release: {release}",
        "global_tags:",
        *(
            f"  - {{name: {json.dumps(tag)}, mode: snapshot{f', role: {role}' if role else ''}}}"
            for tag, role in chain
        ),
        f"site: {choices.site}",
        f"layout: {choices.layout}",
        "steps:",
        *steps,
        f"limits: {{max_units: {choices.max_units}, max_restate: 0}}",
    ]
    return "\n".join(lines) + "\n"


def _write_menu(
    sources: Sources,
    choices: Choices,
    repository: Repository,
    combined: Sequence[str],
    made: ImportedCampaigns,
) -> None:
    """The menu with the combined skims, and with the skims in them that are on no menu yet."""
    single = sorted(
        {one for name in combined for one in sources.definitions.data[name]} - repository.skims.keys()
    )
    lines = []
    for name in [*single, *(name for name in combined if name not in repository.skims)]:
        about = sources.registry[name]
        lines.append(f"  {name}:")
        lines.append(f'    registry: {{code: "{about.code}", module: {about.module}, name: {about.name}}}')
        if name in sources.definitions.data:
            lines.append(f"    combines: [{', '.join(sources.definitions.data[name])}]")
    if lines:
        head = [
            "schema: skims/1",
            "title: Combined skims of b2skim, and those that they combine",
            "provenance: |",
            f"  Imported from {_name_file(sources.definitions)} of b2skim; codes and modules are those of basf2's registry",
            "  of skims.",
            "skims:",
        ]
        made.files[f"{SKIMS}/{choices.menu}.yaml"] = "\n".join([*head, *lines]) + "\n"


def _name_file(document: Document) -> str:
    """A file's name for a comment: nothing in it ends a line."""
    return re.sub(r"[^A-Za-z0-9_.+-]", "?", document.file.rpartition("/")[2])
