"""Statements: what one person declares in one role, with the digest of what they saw. They are in-toto Statements, version 1.

A signature covers the bytes of the file, which must be in canonical form.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from datetime import datetime
from typing import Any

from schemas.files.canonical import canonical_json
from schemas.files.times import format_time, read_time
from schemas.json_schema.validation import load_schema, validate_json
from schemas.json_schema.values import read_value
from schemas.manifest.campaign import Limits
from schemas.policy.wire import Malformed

PRODUCE, RESTATE, RETIRE, REVOKE, TRUST = "produce", "restate", "retire", "revoke", "trust"
SIGN_OFF = "sign-off"
"""The actions of a statement: launch a campaign, restate beyond its limit, retire data; take a statement back; change
the trust root; let a gate or a canary open with the evidence as it is.
"""

STATEMENT_LIMIT = 64 * 1024
"""The largest size of a statement in bytes."""

_SAID = ("repository", "environment", "action", "role", "principal", "generation", "comment", "of")
"""The fields that have the same name in the file."""
_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://b2prod.example.org/approval/1"


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Upper limits that a signer sets; None means only the limits of the decision itself.

    `max_actions` is how many units one plan may submit and restate.
    """

    max_units: int | None = None
    max_restate: int | None = None
    max_actions: int | None = None

    def describe(self) -> dict[str, int]:
        """The limits that are set, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


NO_CEILINGS = Ceilings()


def bound(limits: Limits, actions: int | None) -> Ceilings:
    """The ceilings from a campaign's limits; `actions` is how many units one plan may submit and restate."""
    names = {field.name for field in fields(Ceilings)}
    found = {name: value for name, value in limits.describe().items() if name in names}
    return Ceilings(**found, max_actions=actions)


@dataclass(frozen=True, slots=True)
class Statement:
    """What one person declares. `subject` is `campaign/proc8`, `retirement/proc6`, `gate/proc8/calibrate` or the like.

    `digest` is the subject's: of a scope, a retirement's actions, evidence, a revoked statement or a trust root. `policy` is the
    digest of roles and keys that the signer saw; `plan` is the digest of an exact plan, if one is meant. `of` is the person
    whose statements in the role a revocation takes back.
    """

    subject: str
    digest: str
    action: str
    role: str
    principal: str
    repository: str
    environment: str
    policy: str
    not_before: datetime
    not_after: datetime
    generation: int | None = None
    ceilings: Ceilings = NO_CEILINGS
    plan: str | None = None
    comment: str | None = None
    of: str | None = None

    def content(self) -> dict[str, Any]:
        """The statement as JSON data, without values that are not set."""
        predicate = {
            **{name: getattr(self, name) for name in _SAID},
            "policy_digest": self.policy,
            "plan_digest": self.plan,
            "limits": self.ceilings.describe() or None,
            "not_before": format_time(self.not_before),
            "not_after": format_time(self.not_after),
        }
        return {
            "_type": _TYPE,
            "subject": [{"name": self.subject, "digest": {"sha256": self.digest}}],
            "predicateType": _PREDICATE,
            "predicate": {key: value for key, value in predicate.items() if value is not None},
        }

    def data(self) -> bytes:
        """The bytes of its file, which are signed."""
        return canonical_json(self.content())


def read_statement(data: bytes) -> Statement:
    """The statement in `data`, the bytes of a file.

    Raises:
        Malformed: the bytes are not a statement, or not in canonical form.
    """
    if len(data) > STATEMENT_LIMIT:
        raise Malformed(f"a statement has at most {STATEMENT_LIMIT} bytes")
    try:
        content = json.loads(data)
        canonical = canonical_json(content)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"no JSON: {error}") from None
    if problems := validate_json(content, load_schema("statement")):
        raise Malformed(problems[0])
    if canonical != data:
        raise Malformed("the file is not its own canonical form")
    (subject,) = content["subject"]
    said = content["predicate"]
    try:
        times = read_time(said["not_before"]), read_time(said["not_after"])
    except ValueError as error:
        raise Malformed(str(error)) from None
    return read_value(
        Statement,
        said,
        subject=subject["name"],
        digest=subject["digest"]["sha256"],
        policy=said["policy_digest"],
        not_before=times[0],
        not_after=times[1],
        ceilings=Ceilings(**said.get("limits", {})),
        plan=said.get("plan_digest"),
    )
