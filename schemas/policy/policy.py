"""The policy (roles, keys and revocations) and the trust root that a reconciler pins."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from schemas.files.canonical import digest
from schemas.files.tree import Tree
from schemas.findings.finding import Finding, Place
from schemas.json_schema.validation import load_schema, validate
from schemas.policy.retention import RETENTION
from schemas.policy.roles import Roles, check_days, check_roles, read_roles
from schemas.policy.signers import Signer, read_revoked, read_signers
from schemas.policy.validation import VALIDATIONS
from schemas.yaml.document import Document, read_yaml

ROLES = "productions/roles.yaml"
SIGNERS = "productions/allowed_signers"
REVOKED = "productions/revoked_keys"
SITES = "productions/sites"


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may sign what, with which key.

    `digest` covers roles and keys; statements name it. `root` is the digest of all that a reconciler pins: the files of
    roles, keys and revocations, those of `sites`, because a site's commands and folders decide what runs with whose
    rights, those of `validations`, because who may change the criteria decides what passes, and the retention, because it
    decides what goes. If a new root changes only revocations, sites, validations, retention, version or expiry, `digest` stays the same, and so approvals stay valid.
    """

    roles: Roles
    signers: Mapping[str, Signer]
    revoked: frozenset[bytes]
    digest: str
    sites: Mapping[str, str]
    root: str

    def find_principal(self, key: bytes) -> str | None:
        """The owner of a key, or None."""
        return next((name for name, signer in self.signers.items() if signer.key == key), None)

    def is_expired(self, now: datetime) -> bool:
        """Whether the root's expiry date has passed."""
        return now.date() > self.roles.expires


def select_root(tree: Tree) -> dict[str, bytes]:
    """The files of a repository that form its trust root."""
    return {
        file: content
        for file, content in sorted(tree.items())
        if file in (ROLES, SIGNERS, REVOKED, RETENTION) or file.startswith((f"{SITES}/", f"{VALIDATIONS}/"))
    }


def read_policy(tree: Tree) -> tuple[Policy | None, tuple[Finding, ...]]:
    """The policy of a repository and the findings; None without findings if the repository has no policy."""
    if not {ROLES, SIGNERS, REVOKED} & set(tree):
        return None, ()
    findings = [
        Finding(Place(file), "BP305", f"{file} is missing", "add it; a comment alone is enough")
        for file in (ROLES, SIGNERS, REVOKED)
        if file not in tree
    ]
    signers, wrong_signers = read_signers(SIGNERS, tree.get(SIGNERS, b""))
    revoked, wrong_revoked = read_revoked(REVOKED, tree.get(REVOKED, b""))
    document, wrong_roles = _read_roles(tree.get(ROLES))
    findings += (*wrong_signers, *wrong_revoked, *wrong_roles)
    if document is not None:
        findings += check_roles(document, read_roles(document), frozenset(signers))
    if document is None or findings:
        return None, tuple(sorted(findings))
    said = {key: value for key, value in document.data.items() if key not in ("version", "expires")}
    files = {file: hashlib.sha256(content).hexdigest() for file, content in select_root(tree).items()}
    return Policy(
        roles=read_roles(document),
        signers=signers,
        revoked=revoked,
        digest=digest({"roles": said, "signers": [signer.describe() for signer in signers.values()]}),
        sites={file: value for file, value in files.items() if file.startswith(f"{SITES}/")},
        root=digest(files),
    ), ()


def _read_roles(content: bytes | None) -> tuple[Document | None, tuple[Finding, ...]]:
    if content is None:
        return None, ()
    document, findings = read_yaml(ROLES, content)
    if document is not None and not findings:
        findings = validate(document, load_schema("roles")) or check_days(document)
    return None if findings else document, findings
