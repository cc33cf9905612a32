"""Evidence: the statements in the repository, with their signatures and revocations. File names prove nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

from schemas.files.tree import Tree

STATEMENT, SIGNATURE, REVOCATION = ".json", ".sig", ".revoked.json"


@dataclass(frozen=True, slots=True)
class Evidence:
    """A statement, its signature and its revocations. `statement` is None if only revocations are left."""

    file: str
    statement: bytes | None
    signature: bytes | None
    revocations: tuple[tuple[bytes, bytes | None], ...] = ()

    @property
    def digest(self) -> str:
        """The sha256 of the statement's bytes."""
        return hashlib.sha256(self.statement or b"").hexdigest()


def collect_evidence(tree: Tree, folder: str) -> Iterator[Evidence]:
    """The statements below a folder, each with its signature and revocations; also revocations without a statement."""
    for file in sorted(tree):
        if not file.startswith(f"{folder}/") or not file.endswith(STATEMENT):
            continue
        named = file.removesuffix(REVOCATION) + STATEMENT if file.endswith(REVOCATION) else file
        if named != file and named in tree:
            continue
        revocation = name_revocation(named)
        beside = ((tree[revocation], tree.get(f"{revocation}{SIGNATURE}")),) if revocation in tree else ()
        yield Evidence(named, tree.get(named), tree.get(f"{named}{SIGNATURE}"), beside)


def name_statement(folder: str, digest: str, role: str, principal: str) -> str:
    """The file name of a statement. Its signature has the same name with `.sig` at the end."""
    return f"{folder}/{digest[:16]}/{role}.{principal}{STATEMENT}"


def name_revocation(file: str) -> str:
    """The file that revokes the statement in `file`."""
    return file.removesuffix(STATEMENT) + REVOCATION
