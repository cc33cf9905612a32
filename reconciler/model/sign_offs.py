"""Sign-offs: what a gate or a canary asks people to sign, and who has signed it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from schemas.files.canonical import digest


@dataclass(frozen=True, slots=True)
class SignOffMatter:
    """What people sign: `subject` is `gate/SCHEME/STAGE` or `canary/CAMPAIGN`, `facts` the evidence as JSON data.

    `lines` say the facts to people; they are not signed. `roles` must sign;
    if it is empty, those that answer for verdicts.
    """

    subject: str
    facts: Mapping[str, Any]
    lines: tuple[str, ...]
    roles: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The digest of the facts about this subject, which a signature covers."""
        return digest({"subject": self.subject, "facts": dict(self.facts)})


@dataclass(frozen=True, slots=True, order=True)
class VoidSignature:
    """A signature that does not count, and why."""

    role: str
    principal: str
    reason: str


@dataclass(frozen=True, slots=True)
class SignOffs:
    """Who signed a matter. `signed` maps the roles that have signed to their people, `missing` the others to the reason.

    `void` are the signatures that do not count. `obstacle` is a reason for which no signature counts, or None.
    """

    signed: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)
    void: tuple[VoidSignature, ...] = ()
    obstacle: str | None = None

    @property
    def complete(self) -> bool:
        """Whether all roles have signed."""
        return self.obstacle is None and bool(self.signed) and not self.missing


ReadSignOffs = Callable[[SignOffMatter], SignOffs]
"""Says which roles have signed a matter."""


def lack_all(matter: SignOffMatter, obstacle: str) -> SignOffs:
    """The sign-offs of a matter of which no signature counts, and why."""
    return SignOffs(missing=dict.fromkeys(matter.roles, "nobody has signed"), obstacle=obstacle)


def lack_signatures(matter: SignOffMatter) -> SignOffs:
    """The sign-offs of a matter that nobody has signed yet."""
    return SignOffs(missing=dict.fromkeys(matter.roles, "nobody has signed"))
