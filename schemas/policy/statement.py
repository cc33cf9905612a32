"""Statements: what one person declares in one role, bound to the digest of what they saw. An in-toto Statement, version 1.

The bytes that are signed are the file's bytes, and the file must equal its own canonical form.
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
"""What a statement is for: launching a campaign, restating beyond its ceiling, retiring data; taking a statement back;
moving the trust root."""

STATEMENT_LIMIT = 64 * 1024
"""Bytes of a statement."""

_SAID = ("repository", "environment", "action", "role", "principal", "generation", "comment", "of")
"""The fields of a statement that its file has under the same names."""
_TYPE = "https://in-toto.io/Statement/v1"
_PREDICATE = "https://b2prod.example.org/approval/1"


@dataclass(frozen=True, slots=True)
class Ceilings:
    """Upper limits under which a signer agreed; None: only those of the decision itself.

    `max_actions` is how many units one plan may submit and restate.
    """

    max_units: int | None = None
    max_restate: int | None = None
    max_actions: int | None = None

    def describe(self) -> dict[str, int]:
        """Those that there are, by name."""
        return {name: value for name, value in asdict(self).items() if value is not None}


NO_CEILINGS = Ceilings()


def bound(limits: Limits, actions: int | None) -> Ceilings:
    """The ceilings that a campaign's limits are, and of the units that one plan may submit and restate."""
    names = {field.name for field in fields(Ceilings)}
    found = {name: value for name, value in limits.describe().items() if name in names}
    return Ceilings(**found, max_actions=actions)


@dataclass(frozen=True, slots=True)
class Statement:
    """One person's word. `subject` is `campaign/proc8`, `retirement/proc6`, or what else is signed.

    `digest` is the subject's: of a scope, of a retirement's actions, of a statement that is revoked, of a trust root.
    `policy` is the digest of roles and keys that the signer saw; `plan` that of an exact plan, where one is meant. `of` is
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
        """The statement as JSON data; what is not said is left out."""
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
        """The bytes of its file, which are those that are signed."""
        return canonical_json(self.content())


def read_statement(data: bytes) -> Statement:
    """The statement that `data`, the bytes of a file, are.

    Raises:
        Malformed: they are none, or are not their own canonical form.
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
