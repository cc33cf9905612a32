"""Exports of the state: one signed file of the reconciler, from which others can plan and do nothing else.

It is a ZIP archive with a copy of the database, a description with the copy's digest, and the signature of the
description. The copy is opened only after its digest was compared with the signed one.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
import tempfile
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from ci.changes.gates import RECONCILER
from ci.cli.exits import WrongUse
from ci.ssh.signature import BadSignature, read_signature, verify_signature
from ci.ssh.signing import call_signer, decode_key
from reconciler.ledger.reading.observation import Identity
from reconciler.ledger.store.database import State, reading
from reconciler.ledger.upkeep.export import ABOUT, COPY, SIGNATURE, unpack_copy, write_copy
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from schemas.files.canonical import canonical_json
from schemas.files.times import format_time, read_time
from schemas.files.tree import Tree
from schemas.policy.signers import fingerprint

NAMESPACE = "b2prod-state"
"""The purpose of these signatures. An approval has another one, so neither is accepted as the other."""

STALE = timedelta(hours=24)
"""A plan warns if the state from which it was made is older than this."""


@dataclass(frozen=True, slots=True)
class Origin:
    """The export from which a plan was made. `signer` is the fingerprint of the key, or None if it is not known."""

    ledger: str
    serial: int
    created: datetime
    age: timedelta
    signer: str | None

    @property
    def is_stale(self) -> bool:
        """Whether it is so old that a warning is needed, or from the future."""
        return not timedelta(minutes=-5) < self.age < STALE

    def data(self) -> dict[str, Any]:
        """The origin as JSON data."""
        return {"created": format_time(self.created), "stale": self.is_stale, "signed_by": self.signer}

    def describe(self) -> str:
        """One sentence that says which state this is."""
        hours, minutes = divmod(int(self.age.total_seconds()) // 60, 60)
        age = f"{hours} h {minutes} min" if hours else f"{minutes} min"
        signer = self.signer or f"nobody known ({RECONCILER} is missing)"
        old = ": OLD, what was produced since is not in it" if self.is_stale else ""
        return f"state of {format_time(self.created)}, {age} old{old}; ledger {self.ledger[:8]} serial {self.serial}, signed by {signer}"


def write_export(state: State, file: Path, key: Path | None, now: datetime) -> Identity:
    """Writes a signed copy of the state to `file`, and renames it into place. Returns the identity of the ledger.

    Raises:
        SourceUnavailable: the state cannot be read, or the file cannot be written.
        WrongUse: the key cannot sign.
    """
    with tempfile.TemporaryDirectory(prefix="b2prod-export-") as folder:
        copy = Path(folder, COPY)
        with reading(state) as connection:
            made = write_copy(connection, copy)
        with copy.open("rb") as stream:
            digest = hashlib.file_digest(stream, "sha256").hexdigest()
        identity = made.identity
        serials = {"serial": identity.serial, "catalogue_serial": identity.catalogue_serial}
        described = {
            "schema": "export/1",
            "ledger": {"id": identity.ledger, **serials},
            "created": format_time(now),
            "version": made.version,
            "folder": str(state.folder.absolute()),
            "size": copy.stat().st_size,
            "sha256": digest,
        }
        about = canonical_json(described)
        part = file.with_name(f".{file.name}.part")
        try:
            with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
                archive.writestr(ABOUT, about)
                if key is not None:
                    archive.writestr(SIGNATURE, _sign(about, key))
                archive.write(copy, COPY)
            os.replace(part, file)
        except OSError as error:
            raise SourceUnavailable(f"{file} cannot be written: {error.strerror}") from error
        finally:
            part.unlink(missing_ok=True)
    return identity


@contextlib.contextmanager
def reading_export(file: Path, policy: Tree, now: datetime) -> Iterator[tuple[State, Origin]]:
    """The state in an export, which can only be read, and its origin. `policy` are the files that have the trusted key.

    Raises:
        SourceUnavailable: the file is missing, is not an export, or is damaged.
        GuardRefused: it was not signed with the key that the policy names.
    """
    with tempfile.TemporaryDirectory(prefix="b2prod-export-") as folder:
        copy = Path(folder, COPY)
        told, signer = unpack_copy(
            file, copy, lambda about, signature: _verify(file, about, signature, policy)
        )
        created = read_time(told["created"])
        origin = Origin(told["ledger"]["id"], told["ledger"]["serial"], created, now - created, signer)
        yield State(Path(told["folder"]), copy=copy), origin


def _verify(file: Path, about: bytes, signature: bytes | None, policy: Tree) -> str | None:
    """The fingerprint of the key that signed, or None if the policy names no key."""
    if RECONCILER not in policy:
        return None
    key = decode_key(policy[RECONCILER])
    try:
        verify_signature(read_signature(signature or b""), about, key, NAMESPACE)
    except BadSignature as error:
        why = "it is not signed" if signature is None else str(error)
        raise GuardRefused(f"{file} was not signed by the reconciler ({RECONCILER}): {why}") from error
    return fingerprint(key)


def _sign(data: bytes, key: Path) -> bytes:
    made = call_signer(data, NAMESPACE, str(key), stderr=subprocess.PIPE)
    if made.returncode != 0:
        said = made.stderr.decode("utf-8", "replace").strip().splitlines()
        raise WrongUse(f"{key} does not sign: {said[-1] if said else 'ssh-keygen failed'}")
    return made.stdout
