"""Describes all changes of a trust root, and what a merge does under it. Nothing is left out, since people sign this."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Sequence
from typing import Any

from schemas.files.times import format_time
from schemas.files.tree import Tree
from schemas.policy.policy import REVOKED, ROLES, SIGNERS, SITES
from schemas.policy.retention import RETENTION
from schemas.policy.roles import MERGE, Exemption, Roles
from schemas.policy.signers import Signer, fingerprint, read_revoked, read_signers
from schemas.policy.site import load_engines
from schemas.policy.validation import VALIDATIONS
from schemas.policy.wire import Malformed, read_key
from schemas.yaml.document import read_yaml

_PEOPLE = ("people", "default", "retirements", "roles")
"""Lists of `roles.yaml` whose order has no meaning: only added and removed names are told."""


def describe_changes(old: Tree, new: Tree) -> list[str]:
    """All differences between two roots, one line each, by file. No line can control a terminal.

    They cover people, roles and thresholds, keys by their fingerprints, revocations, and each value of sites: commands,
    addresses, folders, environments, of the criteria of validations, and of the retention. Other files are told by their digest.
    """
    lines = []
    for file in sorted({*old, *new}, key=_rank):
        before, after = old.get(file), new.get(file)
        if before != after:
            told = [*_describe_file(file, before, after)] or ["only its layout or comments"]
            lines += [_quote(file), *(f"  {line}" for line in told)]
    return lines


def describe_merges(roles: Roles) -> list[str]:
    """What a merge launches without a signature under this root; empty if everything must be signed."""
    if roles.mode == MERGE:
        told = f"nobody signs: whoever can merge to {roles.branch} launches campaigns, at every site of this root"
        return [f"{told}, as the reconciler's user there"]
    return [_describe_exemption(one) for one in roles.exemptions]


def _describe_exemption(one: Exemption) -> str:
    if one.roles:
        return f"at the site {one.site}, in {_quote(one.area)}, a campaign needs only {', '.join(one.roles)}: {_quote(one.reason)}"
    traits = load_engines().get(one.engine)
    where = (
        "on this machine, as the user of the reconciler, who can read and write its ledger, its keys and tokens"
        if traits is not None and traits.attached
        else f"in {one.engine}, as the reconciler's user there"
    )
    return (
        f"at the site {one.site}, in {_quote(one.area)}, nobody signs: whoever can merge a campaign for it starts as many jobs as"
        f" the campaign itself allows, {where}; with any release, template, skim, override and input that the repository has,"
        f" and fills {_quote(one.area)}. The reason that was given: {_quote(one.reason)}"
    )


def _rank(file: str) -> tuple[int, str]:
    known = (ROLES, SIGNERS, REVOKED)
    return (known.index(file) if file in known else len(known), file)


def _describe_file(file: str, before: bytes | None, after: bytes | None) -> Iterator[str]:
    if file == SIGNERS:
        yield from _compare_keys(before or b"", after or b"")
    elif file == REVOKED:
        yield from _compare_revoked(before or b"", after or b"")
    elif file in (ROLES, RETENTION) or (
        file.startswith((f"{SITES}/", f"{VALIDATIONS}/")) and file.endswith(".yaml")
    ):
        one, other = _read(file, before), _read(file, after)
        if (before is not None and one is None) or (after is not None and other is None):
            yield _compare_bytes(before, after)
            return
        if before is None or after is None:
            yield "A NEW FILE" if before is None else "IT IS GONE"
        yield from _compare("", one or {}, other or {}, people=file == ROLES)
    else:
        yield _compare_bytes(before, after)


def _read(file: str, content: bytes | None) -> Any:
    if content is None:
        return None
    document, findings = read_yaml(file, content)
    return None if document is None or findings else document.data


def _compare(path: str, old: Any, new: Any, *, people: bool) -> Iterator[str]:
    """The differences between two values of YAML. With `people`, added and removed names of lists are told.

    Other lists of a site are shown completely, since the order of a command's words matters.
    """
    if old == new and json.dumps(old) == json.dumps(new):
        return
    one, other = ({} if value is None else value for value in (old, new))
    if isinstance(one, dict) and isinstance(other, dict) and (one or other):
        for key in one | other:
            inner = f"{path}.{key}" if path else str(key)
            if key not in one:
                yield from _tell_one_side(inner, other[key], "new")
            elif key not in other:
                yield from _tell_one_side(inner, one[key], "it is gone")
            else:
                yield from _compare(inner, one[key], other[key], people=people)
        return
    if people and path.rpartition(".")[2] in _PEOPLE and isinstance(old, list) and isinstance(new, list):
        came, went = _list_missing(old, new), _list_missing(new, old)
        if came or went:
            yield f"{_plain(path)}: {', '.join([*(f'+ {one}' for one in came), *(f'- {one}' for one in went)])}"
            return
    yield f"{_plain(path)}: {_show(old)} → {_show(new)}"


def _tell_one_side(path: str, value: Any, word: str) -> Iterator[str]:
    """A value that only one of the two has, with everything in it."""
    if isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _tell_one_side(f"{path}.{key}", inner, word)
    else:
        yield f"{_plain(path)}: {_show(value)} ({word})"


def _list_missing(here: Sequence[Any], there: Sequence[Any]) -> list[str]:
    return [_plain(one) if isinstance(one, str) else _show(one) for one in there if one not in here]


def _compare_keys(before: bytes, after: bytes) -> Iterator[str]:
    old, new = read_signers(SIGNERS, before)[0], read_signers(SIGNERS, after)[0]
    for person in sorted({*old, *new}):
        if person not in old:
            yield f"{person} gets a key: {_describe_key(new[person])}"
        elif person not in new:
            yield f"{person} has no key any more; it was {_describe_key(old[person])}"
        elif old[person] != new[person]:
            yield f"ANOTHER KEY of {person}: {_describe_key(old[person])} → {_describe_key(new[person])}"


def _describe_key(signer: Signer) -> str:
    ends = (("from", signer.after), ("until", signer.before))
    times = [f"{word} {format_time(moment)}" for word, moment in ends if moment is not None]
    return " ".join([_name_key(signer.key), *times])


def _compare_revoked(before: bytes, after: bytes) -> Iterator[str]:
    old, new = read_revoked(REVOKED, before)[0], read_revoked(REVOKED, after)[0]
    for key in sorted(new - old):
        yield f"revokes the key {_name_key(key)}"
    for key in sorted(old - new):
        yield f"REVOKES NO LONGER the key {_name_key(key)}"


def _name_key(key: bytes) -> str:
    try:
        kind = read_key(key).type
    except Malformed:
        kind = f"unknown ({base64.b64encode(key[:12]).decode()}…)"
    return f"{fingerprint(key)} ({kind})"


def _compare_bytes(before: bytes | None, after: bytes | None) -> str:
    return f"{_digest(before)} → {_digest(after)}"


def _digest(content: bytes | None) -> str:
    if content is None:
        return "nothing"
    return f"{len(content):,} bytes, sha256 {hashlib.sha256(content).hexdigest()}"


def _show(value: Any) -> str:
    """A value on one line of ASCII. Other characters become numbers, since they can mislead or control a terminal."""
    return json.dumps(value)


def _plain(text: str) -> str:
    """A name; in quotes if it has blanks or special characters."""
    return json.dumps(text) if " " in text else _quote(text)


def _quote(text: str) -> str:
    return text if text.isascii() and text.isprintable() else json.dumps(text)
