"""Checks of a change to a repository from which campaigns were launched. They get both states and the paths that differ.

Pure: the states come from commits (`ci.changes.change`).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

from ci.changes.change import Change
from reconciler.planning.pinning import goes_back
from reconciler.planning.restating import CommittedCampaign, find_restated
from schemas.files.tree import PRODUCTIONS, SCHEMES, SCRIPTS
from schemas.findings.finding import Finding, Place
from schemas.manifest.known_issue import KNOWN_ISSUES
from schemas.policy.policy import REVOKED, ROLES, SIGNERS
from schemas.policy.retention import RETENTION
from schemas.policy.retirement import RETIREMENTS
from schemas.policy.scopes import pin_scopes
from schemas.policy.validation import VALIDATIONS
from schemas.repository import ARCHIVE, CAMPAIGNS, FOLDERS, LAYOUTS, SITES, Declared, Repository
from schemas.yaml.scalars import show

RECONCILER = f"{PRODUCTIONS}/reconciler.pub"
"""The public key of the signer of state exports."""

_KINDS = (
    ("campaigns", (f"{CAMPAIGNS}/", f"{ARCHIVE}/", f"{RETIREMENTS}/", f"{SCHEMES}/", f"{KNOWN_ISSUES}/")),
    (
        "policy",
        (
            ROLES,
            SIGNERS,
            REVOKED,
            RECONCILER,
            f"{SITES}/",
            f"{VALIDATIONS}/",
            RETENTION,
            LAYOUTS,
            "CODEOWNERS",
        ),
    ),
    ("data", (f"{PRODUCTIONS}/",)),
    ("pipeline", (".gitlab-ci.yml", ".gitlab/", ".github/", ".ci/", "noxfile.py")),
    ("templates", ("renderer/templates/",)),
    ("code", ("",)),
)
"""The kind of a file by the beginning of its path; the first match counts. Data may be changed together with any kind."""


def judge_change(
    change: Change, before: Repository, after: Repository, launched: Collection[str] | None = None
) -> tuple[Finding, ...]:
    """The findings of all checks of a change.

    `launched` are the campaigns that an export of the state has. Without an export, all campaigns with a lock on the base
    count as launched; with an old export, the caller adds them (`list_locked`).
    """
    if launched is None:
        launched = list_locked(before)
    found = {
        *check_mixing(change),
        *check_removals(change, before, launched),
        *check_names_again(change, before),
        *check_locks(change, before, after),
        *check_frozen(before, after, launched),
        *check_since(before, after),
        *check_scripts(change, before, after),
    }
    return tuple(sorted(found))


def list_locked(repository: Repository) -> frozenset[str]:
    """The campaigns that have a lock, since they may have been launched."""
    return frozenset(name for name, declared in repository.campaigns.items() if declared.lock is not None)


def select_new(
    change: Change, findings: Collection[Finding], known: Collection[Finding]
) -> tuple[Finding, ...]:
    """The findings that the change is responsible for.

    `known` are the findings of the base. They count only for files that the change touches.
    """
    old = set(known)
    return tuple(sorted(one for one in findings if one not in old or change.touches(one.place.file)))


def check_mixing(change: Change) -> Iterator[Finding]:
    """Ensure that a change of campaigns does not also change what judges or launches them."""
    kinds: dict[str, list[str]] = {}
    for path in sorted(change.paths):
        kinds.setdefault(classify(path), []).append(path)
    campaigns = kinds.pop("campaigns", [])
    kinds.pop("data", None)
    if campaigns and kinds:
        others = "; ".join(f"{kind}: {_list_some(paths)}" for kind, paths in sorted(kinds.items()))
        message = f"the change touches campaigns ({_list_some(campaigns)}), and also {others}"
        hint = "make two pull requests, and have what judges or launches campaigns merged first"
        yield Finding(Place(campaigns[0]), "BP705", message, hint)


def check_removals(change: Change, before: Repository, launched: Collection[str]) -> Iterator[Finding]:
    """Ensure that the folder of a launched campaign stays, among the campaigns or in the archive."""
    there = {
        file.split("/")[2] for file in change.after if file.startswith(tuple(f"{top}/" for top in FOLDERS))
    }
    for name, declared in before.campaigns.items():
        if name not in there and name in launched:
            message = f"the folder of {name} goes, and it was launched from: what it produced exists"
            hint = f"move it to {ARCHIVE}/{name} with `state: stopped`; its data end with a retirement"
            yield Finding(Place(declared.document.file), "BP607", message, hint)


def check_names_again(change: Change, before: Repository) -> Iterator[Finding]:
    """Ensure that no name of an earlier campaign is used again, and that no archived campaign becomes active again."""
    former = {name.lower(): name for name in sorted(change.former)}
    for file in sorted(change.after):
        top, _, rest = file.removeprefix(f"{PRODUCTIONS}/").partition("/")
        name, _, inner = rest.partition("/")
        if f"{PRODUCTIONS}/{top}" not in FOLDERS or inner != "campaign.yaml":
            continue
        known = before.campaigns.get(name)
        there = any(f"{folder}/{name}/campaign.yaml" in change.before for folder in FOLDERS)
        if not there and name.lower() in former:
            message = f"there was a campaign {show(former[name.lower()])} before; names are never used again"
            yield Finding(Place(file), "BP610", message, "give this one another name")
        elif known is not None and known.is_archived and file.startswith(f"{CAMPAIGNS}/"):
            message = f"{name} is in the archive: it is finished, and is not taken up again"
            hint = f"declare a new campaign: `b2prod new … --from {name}`"
            yield Finding(Place(file), "BP610", message, hint)


def check_frozen(before: Repository, after: Repository, launched: Collection[str]) -> Iterator[Finding]:
    """Ensure that the data of a launched campaign are defined as before, unless this change writes `restate:`."""
    for name, declared in before.campaigns.items():
        other = after.campaigns.get(name)
        if other is None or name not in launched:
            continue
        if other.campaign.restate is not None and other.campaign.restate != declared.campaign.restate:
            continue
        for cause in find_restated(CommittedCampaign(before, declared), CommittedCampaign(after, other)):
            count = f": up to {cause.units} units would be made again" if cause.units else ""
            message = f"{name} was launched, and {cause.reason}{count}"
            hint = f"declare a new campaign, `b2prod new … --from {name}`; or write `restate: {{reason: …, limit: …}}`"
            yield Finding(other.document.key_place(_reach(other, cause.path)), "BP609", message, hint)


def check_locks(change: Change, before: Repository, after: Repository) -> Iterator[Finding]:
    """Ensure that no lock is removed and that generations only grow, since they tell what was launched."""
    for name, declared in before.campaigns.items():
        old, other = declared.lock, after.campaigns.get(name)
        if old is None or other is None or not goes_back(other.lock, old.generation, old.digest()):
            continue
        if other.lock is None and other.lock_file in change.after:
            continue  # a lock that cannot be read has its own finding
        if other.lock is None:
            message = f"{name} had a lock of generation {old.generation}, and has none any more"
        elif other.lock.generation < old.generation:
            message = f"the lock of {name} is of generation {other.lock.generation}, and it had one of {old.generation}"
        else:
            message = f"the lock of {name} is another one of the same generation, {old.generation}"
        place = Place(other.lock_file if other.lock is not None else other.document.file)
        yield Finding(
            place, "BP611", message, f"run `b2prod resolve {name}` on the base, and commit its lock"
        )


def check_since(before: Repository, after: Repository) -> Iterator[Finding]:
    """Ensure that no lock dates a scope earlier than the lock on the base allows.

    Otherwise a scope that was withdrawn and comes back would pass with its old signatures.
    """
    for name, declared in after.campaigns.items():
        old, lock = before.campaigns.get(name), declared.lock
        if lock is None or old is None or old.lock is None or lock == old.lock:
            continue
        known = dict(pin_scopes(lock, declared.campaign, declared.document.data, old.lock).since)
        for scope, since in lock.since:
            if since < known.get(scope, since):
                said = f"the lock says that its {scope} is as it was since generation {since}"
                message = f"{said}; by the lock on the base it is since {known[scope]}"
                hint = f"take the lock of the base, and run `b2prod resolve {name}`"
                yield Finding(Place(declared.lock_file), "BP605", message, hint)


def check_scripts(change: Change, before: Repository, after: Repository) -> Iterator[Finding]:
    """Ensure that a version of a script does not change: it must stay possible to read what ran."""
    for name in sorted(before.scripts):
        file, other = f"{SCRIPTS}/{name}", after.scripts.get(name)
        if file not in change.after:
            message = f"the script {name} goes, and campaigns may have run it"
            yield Finding(Place(file), "BP612", message, "leave it; who runs none of it names none of it")
        elif other is not None and other.digest != before.scripts[name].digest:
            title, _, version = name.partition("/")
            hint = f"put it back, and write {SCRIPTS}/{title}/{int(version) + 1}"
            yield Finding(Place(file), "BP612", f"the script {name} is another one than before", hint)


def _reach(declared: Declared, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """The longest beginning of a path that the manifest has."""
    data = declared.document.data
    for length, key in enumerate(path):
        if key not in data:
            return path[:length]
        data = data[key]
    return path


def classify(path: str) -> str:
    """The kind of a file: campaigns, policy, data, pipeline, templates or code."""
    return next(kind for kind, starts in _KINDS if path.startswith(starts))


def _list_some(paths: list[str]) -> str:
    more = f" and {len(paths) - 3} more" if len(paths) > 3 else ""
    return ", ".join(map(show, paths[:3])) + more
