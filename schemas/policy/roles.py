"""Roles: who must approve which part of a decision, for which sites, and who may act as a deputy."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date, datetime
from itertools import product
from pathlib import PurePosixPath
from typing import Any

from schemas.files.times import is_day
from schemas.findings.finding import Finding
from schemas.json_schema.values import read_named, read_value
from schemas.policy.scopes import RETIREMENTS, VERDICTS
from schemas.yaml.composer import Path
from schemas.yaml.document import Document, find_value
from schemas.yaml.wording import suggest

SIGNATURES, MERGE = "signatures", "merge"
"""The modes: approvals are signed statements, or the merge itself is the approval."""

PROPOSER = "proposer"
"""The role whose people do not count in any other role for the same campaign."""
ADMINISTRATOR = "administrator"
"""The role that signs a trust root; `roles` cannot contain it."""

LONGEST_DELEGATION = 62
"""The longest delegation in days."""


@dataclass(frozen=True, slots=True)
class Role:
    """A group of people; `threshold` of them must sign the digest of a scope."""

    name: str
    scope: str
    people: tuple[str, ...]
    threshold: int = 1


@dataclass(frozen=True, slots=True)
class Exemption:
    """A site and a part of its storage for which other roles are required than usual."""

    site: str
    engine: str
    area: str
    reason: str
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Delegation:
    """A deputy may sign in a role from `first` to `last`, both days included, UTC."""

    role: str
    deputy: str
    principal: str
    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Roles:
    """Who must approve what: `default` are the roles for campaigns, `retirements` those for retirements."""

    version: int
    expires: date
    repository: str
    environment: str
    mode: str
    administrators: Role
    roles: tuple[Role, ...]
    default: tuple[str, ...]
    retirements: tuple[str, ...] = ()
    exemptions: tuple[Exemption, ...] = ()
    delegations: tuple[Delegation, ...] = ()
    branch: str | None = None
    validity_days: int = 90
    touch: bool = False

    def role(self, name: str) -> Role | None:
        """The role called `name`, or None."""
        return next((role for role in self.roles if role.name == name), None)

    def find(self, name: str) -> Role | None:
        """The role called `name`, including that of the administrators, or None."""
        return self.administrators if name == ADMINISTRATOR else self.role(name)

    def list_scope(self, scope: str) -> tuple[str, ...]:
        """The names of the roles that answer for a scope."""
        return tuple(role.name for role in self.roles if role.scope == scope)

    def require(self, site: str, engine: str, storage: str, *, scripts: bool = False) -> tuple[str, ...]:
        """The roles that must sign for a campaign with these outputs.

        An exemption holds only if the site has the engine and storage that the exemption names. With `scripts`, which run
        code of the repository, an exemption without any role does not hold.
        """
        for one in self.exemptions:
            same = (one.site, one.engine) == (site, engine)
            inside = PurePosixPath(storage).is_relative_to(one.area) and ".." not in storage.split("/")
            if same and inside and (one.roles or not scripts):
                return one.roles
        return self.default

    def list_represented(self, role: Role, now: datetime) -> dict[str, tuple[str, ...]]:
        """Each person who may sign in a role at `now` → the people for whom that counts: the person, or those represented."""
        represented: dict[str, tuple[str, ...]] = {person: (person,) for person in role.people}
        for one in self._list_delegations(role, now):
            represented[one.deputy] = tuple(dict.fromkeys((*represented.get(one.deputy, ()), one.principal)))
        return represented

    def find_last_day(self, role: Role, person: str, now: datetime) -> date | None:
        """The last day of a person as a deputy in a role; None if the person has the role themselves, or not at all."""
        mine = [one.last for one in self._list_delegations(role, now) if one.deputy == person]
        return max(mine, default=None) if person not in role.people else None

    def _list_delegations(self, role: Role, now: datetime) -> Iterator[Delegation]:
        day = now.date()
        for one in self.delegations:
            if one.role == role.name and one.principal in role.people and one.first <= day <= one.last:
                yield one


def read_roles(document: Document) -> Roles:
    """The roles in a document that the schema `roles/1` has accepted.

    Raises:
        ValueError: a day is not in the calendar; `check_days` finds it before.
    """
    data: dict[str, Any] = document.data
    return read_value(
        Roles,
        {**data, **data["requires"]},
        administrators=read_value(Role, data["administrators"], name=ADMINISTRATOR, scope=""),
        roles=tuple(read_named(Role, data["roles"]).values()),
        delegations=tuple(_read_delegation(one) for one in data.get("delegations", ())),
        touch=data.get("touch") == "required",
    )


def _read_delegation(data: Mapping[str, Any]) -> Delegation:
    renamed = {"principal": data["for"], "first": data["from"], "last": data["until"]}
    return read_value(Delegation, {**data, **renamed})


def check_days(document: Document) -> tuple[Finding, ...]:
    """Findings on days that are not in the calendar, and on delegations that end before they begin."""
    delegations = document.data.get("delegations", ())
    paths: list[Path] = [("expires",)]
    paths += [("delegations", *path) for path in product(range(len(delegations)), ("from", "until"))]
    days = {path: find_value(document.data, path) for path in paths}
    found = [
        document.report(path, "BP806", f"there is no day {day}", "write a day")
        for path, day in days.items()
        if not is_day(day)
    ]
    for number, one in enumerate(() if found else delegations):
        path = ("delegations", number, "until")
        length = (date.fromisoformat(one["until"]) - date.fromisoformat(one["from"])).days + 1
        if length < 1:
            message = "the delegation ends before it begins"
            found.append(document.report(path, "BP806", message, "exchange the days"))
        elif length > LONGEST_DELEGATION:
            message = f"the delegation is for {length} days; at most {LONGEST_DELEGATION} are allowed"
            hint = "give the role to the person, or shorten it"
            found.append(document.report(path, "BP806", message, hint))
    return tuple(found)


def check_roles(document: Document, roles: Roles, signers: frozenset[str]) -> Iterator[Finding]:
    """Findings on roles without people, people without a key, and thresholds that cannot be reached."""
    names = [role.name for role in roles.roles]
    asked = _number(roles.default, "requires", "default")
    asked += _number(roles.retirements, "requires", "retirements")
    for index, one in enumerate(roles.exemptions):
        path = ("requires", "exemptions", index)
        if bool(one.roles) == ("nobody" in find_value(document.data, path)):
            message = "an exemption says either which roles must sign, or `nobody: true`"
            yield document.report(path, "BP805", message, "write one of the two")
        asked += _number(one.roles, *path, "roles")
    asked += [(("delegations", index, "role"), one.role) for index, one in enumerate(roles.delegations)]
    for place, name in asked:
        role = roles.role(name)
        if role is None:
            hint = suggest(name, names, f"choose one of {', '.join(names)}")
            yield document.report(place, "BP805", f"there is no role {name}", hint)
        elif place[0] == "requires" and not _may_require(role, place[1] == "retirements"):
            what = role.scope if role.scope in (RETIREMENTS, VERDICTS) else "campaigns"
            message = f"the role {name} answers for {what}"
            yield document.report(place, "BP805", message, "name a role with another scope")
    yield from _check_people(document, roles, signers)


def _may_require(role: Role, retirements: bool) -> bool:  # noqa: FBT001 -- one of two lists of one file
    """Whether a role can sign for retirements, or else for campaigns."""
    return role.scope == RETIREMENTS if retirements else role.scope not in (RETIREMENTS, VERDICTS)


def _check_people(document: Document, roles: Roles, signers: frozenset[str]) -> Iterator[Finding]:
    groups: dict[Path, Role] = {("administrators",): roles.administrators}
    groups |= {("roles", role.name): role for role in roles.roles}
    people: list[tuple[Path, str]] = []
    for path, role in groups.items():
        people += _number(role.people, *path, "people")
        if role.threshold > len(role.people):
            message = f"{role.threshold} must sign, and there are {len(role.people)}"
            hint = "name more people, or ask fewer"
            yield document.report((*path, "threshold"), "BP805", message, hint)
        if path == ("roles", ADMINISTRATOR):
            message = f"no role is called {ADMINISTRATOR}"
            yield document.report_key(path, "BP805", message, "choose another name")
    for index, one in enumerate(roles.delegations):
        path = ("delegations", index)
        people += [((*path, "deputy"), one.deputy), ((*path, "for"), one.principal)]
        known = roles.role(one.role)
        if known is not None and one.principal not in known.people:
            message = f"{one.principal} does not have the role {one.role}"
            yield document.report((*path, "for"), "BP805", message, "name one who has it")
    for path, person in people:
        if person not in signers:
            hint = "add a line to allowed_signers, or take the person out"
            yield document.report(path, "BP805", f"{person} has no key that counts", hint)
    if roles.mode == MERGE and roles.branch is None:
        hint = "write the protected branch, as in `branch: main`"
        yield document.report_key(("mode",), "BP805", "mode merge needs a branch", hint)


def _number(values: Iterable[str], *path: str | int) -> list[tuple[Path, str]]:
    """The values of a list, each with its path."""
    return [((*path, number), value) for number, value in enumerate(values)]
