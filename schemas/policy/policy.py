"""The policy: roles, keys and revocations in one value, and the trust root that a reconciler pins."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from schemas.files.canonical import digest
from schemas.files.tree import Tree
from schemas.findings.finding import Finding, Place
from schemas.json_schema.validation import load_schema, validate
from schemas.policy.roles import Roles, check_days, check_roles, read_roles
from schemas.policy.signers import Signer, read_revoked, read_signers
from schemas.yaml.document import Document, read_yaml

ROLES = "productions/roles.yaml"
SIGNERS = "productions/allowed_signers"
REVOKED = "productions/revoked_keys"
SITES = "productions/sites"


@dataclass(frozen=True, slots=True)
class Policy:
    """Who may sign what, with which key.

    `digest` is that of roles and keys, which statements name. `root` is the digest of all that a reconciler pins: these, the
    revocations, and `sites`, file by file, since a site's commands and folders decide what is run with whose rights. A
    root that differs in revocations, sites, version or expiry alone has the same `digest`: approvals outlive the move.
    """

    roles: Roles
    signers: Mapping[str, Signer]
    revoked: frozenset[bytes]
    digest: str
    sites: Mapping[str, str]
    root: str

    def find_principal(self, key: bytes) -> str | None:
        """Whose key it is; None: nobody's."""
        return next((name for name, signer in self.signers.items() if signer.key == key), None)

    def is_expired(self, now: datetime) -> bool:
        """Whether the root is no longer to be trusted."""
        return now.date() > self.roles.expires


def select_root(tree: Tree) -> dict[str, bytes]:
    """The files of a repository that make its trust root."""
    return {
        file: content
        for file, content in sorted(tree.items())
        if file in (ROLES, SIGNERS, REVOKED) or file.startswith(f"{SITES}/")
    }


def read_policy(tree: Tree) -> tuple[Policy | None, tuple[Finding, ...]]:
    """The policy of a repository, and what is wrong with it; None without findings where it declares none."""
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
