"""Who owns which key: reads `allowed_signers` and `revoked_keys` in OpenSSH's formats, more strictly than OpenSSH.

OpenSSH skips lines that it cannot read, and accepts wildcards and keys for any purpose; here each of these is a finding.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from schemas.findings.finding import MOST, Finding, Place
from schemas.policy.weak_keys import find_weakness
from schemas.policy.wire import KEY_TYPES, Malformed, read_key
from schemas.yaml.scalars import code_points, show

NAMESPACE = "b2prod-approval"
"""The purpose of our signatures: keys are restricted to it, and signatures for another purpose do not count."""

PRINCIPAL = re.compile(r"[a-z0-9][a-z0-9._+-]{0,60}@[a-z0-9][a-z0-9.-]{0,60}", re.ASCII)
"""One person; only small letters, so that no two names differ by capitals alone."""

_KEY_HINT = "write type and key, as `ssh-keygen` wrote them"
_OPTION = re.compile(r'([a-z-]+)(?:="([^"]*)")?')
_TIME = re.compile(r"(\d{8})(\d{4}(?:\d{2})?)?Z", re.ASCII)


@dataclass(frozen=True, slots=True)
class Signer:
    """A person and their only valid key; `after` and `before` limit the time in which it counts, UTC."""

    principal: str
    key: bytes
    after: datetime | None = None
    before: datetime | None = None

    def describe(self) -> dict[str, str | None]:
        """The signer as JSON data."""
        return {
            "principal": self.principal,
            "key": base64.b64encode(self.key).decode(),
            "after": None if self.after is None else self.after.isoformat(),
            "before": None if self.before is None else self.before.isoformat(),
        }


def fingerprint(key: bytes) -> str:
    """The fingerprint `SHA256:…` of a key's bytes, as `ssh-keygen -l` writes it."""
    return "SHA256:" + base64.b64encode(hashlib.sha256(key).digest()).decode().rstrip("=")


def read_signers(file: str, content: bytes) -> tuple[dict[str, Signer], tuple[Finding, ...]]:
    """The signers by name in an `allowed_signers` file, and its findings."""
    signers: dict[str, Signer] = {}
    owners: dict[bytes, str] = {}

    def add(line: str) -> None:
        signer = _read_signer(line)
        if signer.principal in signers:
            message = f"{signer.principal} has a second key"
            raise _Wrong("BP804", message, "one key a person: take the other out")
        if signer.key in owners:
            message = f"the key of {signer.principal} is also that of {owners[signer.key]}"
            raise _Wrong("BP804", message, "one person a key: each needs their own")
        signers[signer.principal] = signer
        owners[signer.key] = signer.principal

    return signers, _read_lines(file, content, add)


def read_revoked(file: str, content: bytes) -> tuple[frozenset[bytes], tuple[Finding, ...]]:
    """The keys in a list of public keys, one per line, and its findings."""
    keys: set[bytes] = set()

    def add(line: str) -> None:
        kind, _, rest = line.partition(" ")
        keys.add(_read_blob(kind, rest.split(" ")[0], judged=False))

    findings = _read_lines(file, content, add)
    return frozenset(keys), findings


class _Wrong(Exception):
    def __init__(self, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.code, self.hint = code, hint


def _find_hidden(file: str, content: bytes) -> list[Finding]:
    """Findings on lines that some programs show differently: a lone carriage return can hide what follows it."""
    found: list[Finding] = []
    for number, line in enumerate(content.decode("utf-8", "replace").split("\n"), 1):
        plain = line.removesuffix("\r").replace("\t", " ")
        strange = next((character for character in plain if not character.isprintable()), None)
        if strange is not None and len(found) <= MOST:
            message = f"there is a character that cannot be seen, {code_points(strange)}"
            hint = "write it with plain blanks and line ends"
            found.append(Finding(Place(file, number), "BP111", message, hint))
    return found


def _read_lines(file: str, content: bytes, read: Callable[[str], None]) -> tuple[Finding, ...]:
    """Calls `read` for every line that is not a comment; returns the findings, up to a limit."""
    findings = _find_hidden(file, content)
    for number, line in enumerate(content.decode("utf-8", "replace").split("\n"), 1):
        if line.strip() and not line.lstrip().startswith("#"):
            try:
                read(line.rstrip("\r").strip())
            except _Wrong as wrong:
                findings.append(Finding(Place(file, number), wrong.code, str(wrong), wrong.hint))
                if len(findings) > MOST:
                    break
    return tuple(findings)


def _read_signer(line: str) -> Signer:
    words = line.split()
    principal = words[0]
    if PRINCIPAL.fullmatch(principal) is None:
        message = f"{show(principal)} is not exactly one person"
        raise _Wrong("BP802", message, "write one address, in small letters")
    options = words[1] if len(words) > 1 and words[1] not in KEY_TYPES else ""
    given = _read_options(options)
    if given.pop("namespaces", None) != NAMESPACE:
        message = f"the key of {principal} is not bound to our namespace alone"
        raise _Wrong("BP803", message, f'write {principal} namespaces="{NAMESPACE}" and the key')
    times = {name: _read_time(given.pop(name)) for name in ("valid-after", "valid-before") if name in given}
    if given:
        message = f"the option {show(next(iter(given)))} is not allowed"
        raise _Wrong("BP803", message, "only namespaces, valid-after and valid-before are")
    key = words[2:] if options else words[1:]
    if len(key) < 2:
        raise _Wrong("BP801", f"the line of {principal} has no key", _KEY_HINT)
    return Signer(principal, _read_blob(key[0], key[1]), times.get("valid-after"), times.get("valid-before"))


def _read_options(text: str) -> dict[str, str | None]:
    given: dict[str, str | None] = {}
    at = 0
    while at < len(text):
        match = _OPTION.match(text, at)
        end = match.end() if match else at
        if match is None or match[1] in given or text[end : end + 1] not in ("", ","):
            message = f"the options {show(text)} cannot be read"
            raise _Wrong("BP801", message, f'write namespaces="{NAMESPACE}"')
        given[match[1]] = match[2]
        at = end + 1
    return given


def _read_time(text: str | None) -> datetime:
    match = _TIME.fullmatch(text or "")
    try:
        if match is not None:
            digits = match[1] + (match[2] or "").ljust(6, "0")
            return datetime.strptime(digits, "%Y%m%d%H%M%S").replace(tzinfo=UTC)
    except ValueError:
        pass  # the day or the hour does not exist
    hint = "write it in UTC, as in 20190201000000Z: without the Z it is local time"
    raise _Wrong("BP801", f"{show(text or '')} is not a time", hint)


def _read_blob(kind: str, text: str, *, judged: bool = True) -> bytes:
    try:
        blob = base64.b64decode(text, validate=True)
        key = read_key(blob)
    except (Malformed, binascii.Error, ValueError) as error:
        raise _Wrong("BP801", f"this is not a key: {error}", _KEY_HINT) from None
    if key.type != kind or base64.b64encode(blob).decode() != text:
        raise _Wrong("BP801", f"this is not a key of type {show(kind)}", _KEY_HINT)
    # a list of revoked keys may contain weak keys
    if judged and (weakness := find_weakness(key)):
        raise _Wrong("BP801", weakness, "make another key: `ssh-keygen -t ed25519`")
    return blob
