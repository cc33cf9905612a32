"""Rules on what a campaign refers to: releases, global tags, sites, layouts, templates, skims, campaigns, its lock.

If a file cannot be read, references to its content are not checked.
"""

from __future__ import annotations

from collections.abc import Iterator

from schemas.files.canonical import digest
from schemas.findings.finding import Finding, Place
from schemas.manifest.campaign import Campaign
from schemas.manifest.layout import digest_historic
from schemas.manifest.lock import Lock
from schemas.manifest.runs import format_runs, run_key
from schemas.manifest.step import Step
from schemas.manifest.variant import is_expandable
from schemas.policy.scopes import EVERYTHING, digest_scopes
from schemas.policy.validation import VALIDATIONS
from schemas.repository import GLOBAL_TAGS, LAYOUTS, RELEASES, SITES, SKIMS, Declared, Repository
from schemas.rules.names import find_folders
from schemas.rules.support.cycles import find_circles
from schemas.rules.support.documents import ANY, find_texts
from schemas.rules.support.intervals import take
from schemas.skims.menu import Skim
from schemas.yaml.composer import Path
from schemas.yaml.scalars import show
from schemas.yaml.wording import list_words, suggest

MOVING = frozenset({"master", "main", "latest", "online"})
"""Names of tags that change their content, in any capitals."""

_Pair = tuple[Path, str, object, object]
"""A path of the manifest, its name for messages, and its values in the manifest and in the lock."""
_RESOLVE = "write the lock again: `b2prod resolve {}`"


def check_releases(repository: Repository) -> Iterator[Finding]:
    """Ensure that the release is listed."""
    if RELEASES in repository.broken:
        return
    for document, path, release in find_texts(repository, "release"):
        if release not in repository.releases:
            message = f"there is no release {show(release)} in {RELEASES}"
            hint = suggest(release, repository.releases, "add it there")
            yield document.report(path, "BP501", message, hint)


def check_global_tags(repository: Repository) -> Iterator[Finding]:
    """Ensure that each tag of the chain is listed once, does not change its content, and has a snapshot."""
    first: dict[tuple[str, str], Path] = {}
    for document, path, name in find_texts(repository, "global_tags", ANY, "name"):
        file = f"{GLOBAL_TAGS}/{name}.iov"
        earlier = first.setdefault((document.file, name), path)
        if earlier != path:
            message = f"the global tag {show(name)} is listed twice"
            hint = "keep the one whose place in the chain is right"
            yield document.report_clash(earlier[:-1], path[:-1], message, hint, "BP505")
        elif name.lower() in MOVING:
            message = f"{show(name)} is a moving name: it means something else tomorrow"
            hint = "freeze the tag under a name of its own, and write that"
            yield document.report(path, "BP504", message, hint)
        elif name not in repository.snapshots and file not in repository.broken:
            message = f"the global tag {show(name)} has no snapshot"
            hint = suggest(name, repository.snapshots, f"add {file}")
            yield document.report(path, "BP502", message, hint)


def check_running(repository: Repository) -> Iterator[Finding]:
    """Ensure that `on_change` is set for running tags and only for them."""
    for campaign, document in repository.list_campaigns():
        for index, tag in enumerate(campaign.global_tags):
            here = ("global_tags", index, "mode")
            if tag.mode == "running" and tag.on_change is None:
                message = "a running tag says what a change of it means"
                hint = "add `on_change: restate`, `on_change: forward` or `on_change: ignore`"
                yield document.report(here, "BP207", message, hint)
            elif tag.mode != "running" and tag.on_change is not None:
                there = ("global_tags", index, "on_change")
                message = "a snapshot does not change, so `on_change` says nothing"
                yield document.report_clash(here, there, message, "remove it, or write `mode: running`")


def check_places(repository: Repository) -> Iterator[Finding]:
    """Ensure that site, layout and templates exist."""
    for document, path, site in find_texts(repository, "site"):
        file = f"{SITES}/{site}.yaml"
        if site not in repository.sites and file not in repository.broken:
            hint = suggest(site, repository.sites, f"add {file}")
            yield document.report(path, "BP506", f"there is no site {show(site)}", hint)
    for document, path, layout in find_texts(repository, "layout"):
        known = repository.layouts.get(layout)
        if known is None and LAYOUTS not in repository.broken:
            hint = suggest(layout, repository.layouts, f"add it to {LAYOUTS}")
            yield document.report(path, "BP506", f"there is no layout {show(layout)}", hint)
        elif known is not None and known.historic:
            message = f"the layout {layout} is of paths as they were; nothing is written to them"
            others = [name for name, one in repository.layouts.items() if not one.historic]
            yield document.report(path, "BP506", message, f"choose {', '.join(others)}")
    for document, path, template in find_texts(repository, "steps", ANY, "template"):
        if template not in repository.templates:
            hint = suggest(template, repository.templates, f"there are: {list_words(repository.templates)}")
            yield document.report(path, "BP506", f"there is no template {show(template)}", hint)


def check_numbers(repository: Repository) -> Iterator[Finding]:
    """Ensure that the number of the first global tag is known if the paths of a live campaign contain it."""
    for campaign, document in repository.list_campaigns():
        layout = repository.layouts.get(campaign.layout)
        if campaign.state != "active" or layout is None or layout.historic or not layout.needs("tag_id"):
            continue
        found = repository.snapshots.get(campaign.tag_names[0]) if campaign.global_tags else None
        if found is not None and found.id is None:
            file = f"{GLOBAL_TAGS}/{found.name}.iov"
            message = f"{show(campaign.layout)} names folders by the number of {show(found.name)}, which {file} does not have"
            hint = f"`b2prod gt pull {found.name}` writes it, or add the line `# id: NUMBER` to the file's header"
            yield document.report(("global_tags", 0, "name"), "BP520", message, hint)


def check_publications(repository: Repository) -> Iterator[Finding]:
    """Ensure that a site's places of publication can work: `rucio` with such a catalogue, folders apart from the storage and each other."""
    for site in repository.sites.values():
        document, seen = repository.site_documents[site.name], {site.storage: "the storage"}
        for name, place in site.publications.items():
            path = ("publications", name)
            if place.kind == "rucio":
                if site.catalogue is None or site.catalogue.kind != "rucio":
                    message = f"{show(name)} is in Rucio, and the site's catalogue is not"
                    yield document.report(
                        (*path, "kind"), "BP207", message, "add `catalogue` with `kind: rucio`"
                    )
                if place.folder:
                    message = f"{show(name)} is in Rucio, and needs no folder"
                    yield document.report_clash((*path, "kind"), (*path, "folder"), message, "remove it")
                continue
            for folder, what in seen.items():
                if f"{place.folder}/".startswith(f"{folder}/") or f"{folder}/".startswith(f"{place.folder}/"):
                    message = f"{show(place.folder)} is not apart from {folder}, {what}"
                    hint = "choose a folder of its own"
                    yield document.report((*path, "folder"), "BP304", message, hint)
            seen[place.folder] = f"that of {name}"


def check_validations(repository: Repository) -> Iterator[Finding]:
    """Ensure that the validation of a step exists, and says of what histograms are made."""
    for document, path, name in find_texts(repository, "steps", ANY, "validation"):
        file, known = f"{VALIDATIONS}/{name}.yaml", repository.validations.get(name)
        if file in repository.broken:
            continue
        if known is None:
            hint = suggest(name, repository.validations, f"add {file}")
            yield document.report(path, "BP506", f"there is no validation {show(name)}", hint)
        elif not known.quantities:
            message = f"the validation {show(name)} has no quantities, so there is nothing to histogram"
            others = [one.name for one in repository.validations.values() if one.quantities]
            hint = f"choose {', '.join(others)}" if others else f"add `quantities` to {file}"
            yield document.report(path, "BP506", message, hint)


def check_skims(repository: Repository) -> Iterator[Finding]:
    """Ensure that each skim that is written is on the menu, and that its step can make it."""
    read = {place.file for place in repository.skim_places.values()}
    if any(file.startswith(f"{SKIMS}/") and file not in read for file in repository.broken):
        return
    for campaign, document, step in repository.list_steps():
        for index, name in enumerate(step.outputs if step.skims else ()):
            known = repository.skims.get(name)
            if known is not None:
                place = document.place(("steps", step.name, "skims", index))
                yield from _check_kind(repository, campaign.release, step, place, known)
    for document, path, name in find_texts(repository, "steps", ANY, "skims", ANY):
        if name not in repository.skim_places:
            hint = suggest(name, repository.skim_places, f"define it in {SKIMS}")
            yield document.report(path, "BP517", f"the skim {show(name)} is not on the menu", hint)


def _check_kind(
    repository: Repository, release: str | None, step: Step, place: Place, skim: Skim
) -> Iterator[Finding]:
    """Findings on a skim of a kind that the template cannot make; many templates select HLT lines only after the prescale."""
    if "template" in step.keys.refuses:
        if skim.registered is not None:
            message = f"{show(skim.name)} is a skim of basf2's registry; {step.application} makes none"
            yield Finding(place, "BP509", message, "let a basf2 step with the template offline_skim make it")
        return
    template = repository.templates.get(step.template or "")
    wanted = template.skims if template is not None else None
    known = template is not None and template.knows_prescales
    if wanted == "line" and (skim.kind != "line" or (skim.decision != "final" and not known)):
        message = f"{show(skim.name)} is not a final decision of a line; {step.template} takes only these"
        others = [one.name for one in repository.list_templates(release) if one.knows_prescales]
        instead = f"take {others[-1]}, " if skim.kind == "line" and others else ""
        hint = f"{instead}name a skim with `line`, or let an uproot step make it"
        yield Finding(place, "BP509", message, hint)
    elif wanted in ("registry", "combined") and skim.kind != wanted:
        what = "combined skim" if wanted == "combined" else "single skim of basf2's registry"
        message = f"{show(skim.name)} is not a {what}, and {step.template} makes these only"
        hint = "name one with `registry`" + (" and `combines`" if wanted == "combined" else " alone")
        yield Finding(place, "BP509", message, hint)


def check_superseding(repository: Repository) -> Iterator[Finding]:
    """Ensure that `supersedes` and `compare_with` name other campaigns, without cycles; each has one successor."""
    claims: dict[str, tuple[str, Place]] = {}
    graph: dict[str, tuple[str, ...]] = {}
    there = find_folders(repository)
    for name, declared in sorted(repository.campaigns.items()):
        campaign = declared.campaign
        graph[name] = tuple(one for one in campaign.supersedes if one in repository.campaigns and one != name)
        for index, other in enumerate(campaign.supersedes):
            place = declared.document.place(("supersedes", index))
            if other == name:
                message, hint = f"{show(name)} supersedes itself", "name the campaign that it replaces"
            elif other not in there:
                message = f"there is no campaign {show(other)}"
                hint = _suggest_another(repository, name, other)
            elif other in repository.campaigns and claims.setdefault(other, (name, place))[0] != name:
                claimant, at = claims[other]
                message = f"{show(other)} is superseded by {show(claimant)} already ({at})"
                hint = f"supersede {claimant} instead, or take one of the two back"
            else:
                continue
            yield Finding(place, "BP515", message, hint)
        twin = campaign.compare_with
        if twin is not None and (twin == name or twin not in there):
            itself = f"{show(name)} is compared with itself"
            message = itself if twin == name else f"there is no campaign {show(twin)}"
            hint = _suggest_another(repository, name, twin)
            yield declared.document.report(("compare_with",), "BP515", message, hint)
    for circle in find_circles(graph):
        first = repository.campaigns[circle[0]]
        message = f"campaigns supersede each other in a circle: {' -> '.join(circle)}"
        path = ("supersedes", first.campaign.supersedes.index(circle[1]))
        yield first.document.report(path, "BP515", message, "let the older ones supersede nothing newer")


def _suggest_another(repository: Repository, name: str, word: str) -> str:
    others = (one for one in repository.campaigns if one != name)
    return suggest(word, others, "name a campaign of this repository")


def check_locks(repository: Repository) -> Iterator[Finding]:
    """Ensure that each lock fits its manifest and repository, as far as this is visible without the run catalogue."""
    for name, declared in repository.campaigns.items():
        if declared.lock is not None:
            stale = list(_find_stale(repository, declared, declared.lock, _RESOLVE.format(name)))
            yield from stale or _check_scopes(declared, declared.lock, _RESOLVE.format(name))


def _find_stale(repository: Repository, declared: Declared, lock: Lock, hint: str) -> Iterator[Finding]:
    campaign, document = declared.campaign, declared.document
    if lock.campaign != campaign.name:
        message = f"this is the lock of {show(lock.campaign)}, not of {show(campaign.name)}"
        yield Finding(Place(declared.lock_file), "BP605", message, hint)
    for path, what, now, locked in _compare(repository, campaign, lock):
        if now != locked:
            message = f"the lock pins another {what}: {_name(locked)}, and this is {_name(now)}"
            yield document.report(path, "BP605", message, hint)
    if lock.selection != digest([one.describe() for one in campaign.selectors]):
        yield document.report_key(("runs",), "BP605", "the lock was made for another selection of runs", hint)
    if outside := lock.runs.subtract(_list_keys(campaign)):
        message = f"the lock has {format_runs(outside, most=5)}, which no selector names"
        yield document.report_key(("runs",), "BP605", message, hint)


def _check_scopes(declared: Declared, lock: Lock, hint: str) -> Iterator[Finding]:
    """Findings on scopes whose digests differ from the lock; only they show changes of limits, reasons and the like."""
    pinned = dict(lock.scopes)
    scopes = digest_scopes(lock, declared.campaign, declared.document.data)
    moved = [name for name, value in scopes if value != pinned.get(name)]
    moved += [name for name, since in lock.since if since > lock.generation]
    moved += [EVERYTHING] if dict(lock.since).get(EVERYTHING, 0) < lock.generation else []
    if moved:
        message = f"the lock's digest of what is approved is another one: {', '.join(dict.fromkeys(moved))}"
        yield Finding(Place(declared.lock_file), "BP605", message, hint)


def _compare(repository: Repository, campaign: Campaign, lock: Lock) -> Iterator[_Pair]:
    yield ("release",), "release", campaign.release, lock.release
    release = repository.releases.get(campaign.release or "")
    if release is not None and campaign.release == lock.release:
        yield ("release",), f"commit of {campaign.release}", release.commit, lock.commit
    site, layout = repository.sites.get(campaign.site), repository.layouts.get(campaign.layout)
    if site is not None:
        yield ("site",), f"engine of {campaign.site}", site.engine, lock.engine
        yield ("site",), f"storage of {campaign.site}", site.storage, lock.storage
    if layout is not None:
        yield ("layout",), f"folder of {campaign.layout}", layout.folder, lock.layout
    if site is not None and site.traits.logical_paths:
        historic = digest_historic(repository.layouts.values())
        yield ("layout",), "set of layouts of the grid's input", historic, lock.historic
    yield from _compare_tags(repository, campaign, lock)
    templates = sorted({step.template for step in campaign.steps if step.template})
    yield ("steps",), "set of templates", templates, [name for name, _ in lock.templates]
    expanded = campaign.expand() if is_expandable(campaign.steps) else ()
    steps = sorted(step.name for step in expanded)
    yield ("steps",), "set of steps and variants", steps, [name for name, _ in lock.steps]
    testing = {one.name for step in expanded for one in step.deviations.testing_payloads}
    contents = {name: repository.snapshots[name].digest for name in testing if name in repository.snapshots}
    if contents.keys() == testing:
        yield ("steps",), "set of testing payloads", contents, dict(lock.testing_payloads)
    known = [name for name in campaign.scripts if name in repository.scripts]
    if len(known) == len(campaign.scripts):
        scripts = {name: repository.scripts[name].digest for name in known}
        yield ("steps",), "set of scripts", scripts, dict(lock.scripts)
    skims = [
        (name, ("steps", step.name, "skims", index))
        for step in campaign.steps
        if step.skims
        for index, name in enumerate(step.outputs)
    ]
    yield ("steps",), "set of skims", sorted({name for name, _ in skims}), [name for name, _ in lock.skims]
    pinned = dict(lock.skims)
    for name, path in skims:
        if name in pinned and name in repository.skims:
            described = digest(repository.skims[name].describe())
            yield path, f"definition of {name}", described, pinned[name]


def _compare_tags(repository: Repository, campaign: Campaign, lock: Lock) -> Iterator[_Pair]:
    meant = {tag.name: tag.on_change for tag in campaign.global_tags if tag.on_change}
    stored = {tag.name: tag.on_change for tag in lock.tags if tag.on_change}
    yield ("global_tags",), "on_change of the tags", meant, stored
    roles = {name: role for role, name in campaign.skim_tags.items()}
    yield ("global_tags",), "set of roles", roles, {tag.name: tag.role for tag in lock.tags if tag.role}
    chain, pinned = [tag.name for tag in campaign.global_tags], {tag.name: tag for tag in lock.tags}
    yield ("global_tags",), "chain of global tags", chain, [tag.name for tag in lock.tags]
    for index, tag in enumerate(campaign.global_tags):
        if (locked := pinned.get(tag.name)) is None or (here := repository.snapshots.get(tag.name)) is None:
            continue
        path = ("global_tags", index, "name")
        yield path, f"snapshot of {tag.name}", here.digest, locked.digest
        yield path, f"id of {tag.name}", here.id, locked.id
        yield path, f"state of {tag.name}", here.state, locked.state
        if tag.on_change is not None:
            yield path, f"time at which {tag.name} was read", here.retrieved, locked.retrieved


def _name(value: object) -> str:
    """A value of a lock for a message; of digests only the first digits."""
    if value in (None, [], ""):
        return "none"
    text = ", ".join(value) if isinstance(value, list) else str(value)
    return show(text[:12] if len(text) == 64 and text.isalnum() else text)


def _list_keys(campaign: Campaign) -> list[tuple[int, int]]:
    """The first and last run key of each range that closed selectors have after their exclusions, sorted."""
    return sorted(
        (run_key(selector.experiment, one.first), run_key(selector.experiment, one.last))
        for selector in campaign.selectors
        if not selector.is_open
        for one in take(selector)
    )
