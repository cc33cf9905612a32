"""Role matching: which person fills which role, each person once, and how long a signature counts."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from itertools import pairwise

from schemas.policy.policy import Policy
from schemas.policy.roles import Role


def match_roles(
    roles: Sequence[str],
    willing: Mapping[str, Sequence[str]],
    represented: Mapping[str, Mapping[str, Sequence[str]]],
) -> dict[int, str]:
    """Index in `roles` → the person who fills it. As many roles as possible are filled.

    `willing` has the people who signed in each role. `represented` maps role and person to the people for whom the person
    may sign: oneself, or others as their deputy. Each person fills one role, and in each role a person is represented once.
    """
    end: Hashable = ("end",)
    free: dict[Hashable, dict[Hashable, None]] = {}
    for number, role in enumerate(roles):
        free.setdefault("begin", {})[number] = None
        free[number] = {}
        for person in willing[role]:
            for other in represented[role].get(person, ()):
                free[number][("represented", role, other)] = None
                free[("represented", role, other)] = {("taken", role, other): None}
                free.setdefault(("taken", role, other), {})[("person", person)] = None
                free[("person", person)] = {end: None}
    while (path := _find_path(free, "begin", end)) is not None:
        for one, two in pairwise(path):
            del free[one][two]
            free.setdefault(two, {})[one] = None
    return {
        number: person
        for number, role in enumerate(roles)
        for other in {name for names in represented[role].values() for name in names}
        if number in free.get(("represented", role, other), {})
        for person in willing[role]
        if ("taken", role, other) in free.get(("person", person), {})
    }


def find_end(policy: Policy, role: Role, principal: str, not_after: datetime, now: datetime) -> datetime:
    """The last moment at which a signature in a role counts: its own end, or that of delegation, key or policy."""
    ends = [not_after, _end_day(policy.roles.expires)]
    signer = policy.signers.get(principal)
    if signer is not None and signer.before is not None:
        ends.append(signer.before)
    last = policy.roles.find_last_day(role, principal, now)
    if last is not None:
        ends.append(_end_day(last))
    return min(ends)


def _end_day(day: date) -> datetime:
    return datetime.combine(day, time(23, 59, 59), UTC)


def _find_path(
    free: Mapping[Hashable, Mapping[Hashable, None]], begin: Hashable, end: Hashable
) -> list[Hashable] | None:
    """A path on which one more role is filled, while some people change their role (Ford and Fulkerson)."""
    before: dict[Hashable, Hashable] = {begin: begin}
    waiting = [begin]
    for place in waiting:
        for one in free.get(place, ()):
            if one not in before:
                before[one] = place
                waiting.append(one)
    if end not in before:
        return None
    path = [end]
    while path[-1] != begin:
        path.append(before[path[-1]])
    return path[::-1]
