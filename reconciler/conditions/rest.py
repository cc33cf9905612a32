"""The conditions database's REST service, version 2, as a source of global tags.

Paths, fields and both shapes of the items are those that basf2 `framework/scripts/conditions_db/__init__.py` reads.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from reconciler.conditions.source import UnknownTag, refuse_contradictions
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.json_reader import JsonAnswer, JsonReader
from schemas.conditions.snapshot import Iov, Snapshot, freeze_tag, make_iov

DEFAULT_ADDRESS = "https://belle2db.sdcc.bnl.gov/b2s/rest/"
"""The collaboration's service. For an http address, https is tried first, and plain http if https cannot be reached."""

_PAIRS = (("payloadId", "payloadIovs"), ("payload", "payloadIov"))
"""The keys of an item's payload and IoVs: in a tag's list, and in a run's."""


@dataclass(frozen=True, slots=True)
class _About:
    """What the service says about a tag; two answers are compared to notice a change during reading."""

    id: int
    state: str
    payloads: int
    modified: str


class RestSource:
    """The tags of a REST service.

    `address` is the service's base, with or without `v2/`. A `token` is sent as `X-Authorization: Bearer`, and never to
    another host; over plain http only on this machine.
    """

    def __init__(self, address: str = DEFAULT_ADDRESS, token: str | None = None, **settings: Any) -> None:
        """`settings` are those of `JsonReader`: times in seconds, number of attempts."""
        base = address.rstrip("/")
        base = base if base.endswith("/v2") else f"{base}/v2"
        headers = {"Accept": "application/json", "Cache-Control": "no-cache"}
        self._http = JsonReader(f"{base}/", headers, token, **settings)

    def fetch(self, name: str) -> Snapshot:
        """The whole tag; the number of payloads must be as stated, and the tag must not change while it is read."""
        about = self._ask_about(name)
        answer = self._http.get(f"globalTag/{quote(name, safe='')}/globalTagPayloads")
        items = [_read_item(answer, item) for item in _expect(answer, list)]
        payloads = {number for number, _ in items}
        iovs = tuple(sorted(iov for _, some in items for iov in some))
        if len(payloads) != about.payloads:
            what = f"{len(payloads)} payloads, and {name} is said to have {about.payloads}"
            raise SourceUnavailable(f"{answer.url} lists {what}; try again")
        refuse_contradictions(answer.url, iovs)
        if self._ask_about(name) != about:
            raise SourceUnavailable(f"{name} was changed while it was read from {answer.url}; try again")
        return freeze_tag(name, about.state, iovs, tag_id=about.id, source=self._http.base)

    def _ask_about(self, name: str) -> _About:
        answer = self._http.get(f"globalTag/{quote(name, safe='')}", absent_is_fine=True)
        if answer.status == 404:
            # at a wrong address every path answers 404
            self._http.get("globalTagStatus")
            raise UnknownTag(f"{self._http.base} has no global tag {name}")
        data = _expect(answer, dict)
        stated = _take(answer, data, "name", str)
        if stated != name:
            raise SourceUnavailable(f"{answer.url} answers with the tag {stated[:120]!r}")
        state = _take(answer, _take(answer, data, "globalTagStatus", dict), "name", str)
        if not re.fullmatch(r"[A-Z]{1,20}", state, re.ASCII):
            raise SourceUnavailable(f"{answer.url} states {state[:40]!r} for a state")
        number, count = (_take(answer, data, key, int) for key in ("globalTagId", "payloadCount"))
        return _About(number, state, count, str(data.get("dtmMod")))


def _read_item(answer: JsonAnswer, item: Any) -> tuple[int, list[Iov]]:
    """The payload's number in the database, and its IoVs."""
    payload, listed = _split_item(answer, item)
    number: int = _take(answer, payload, "payloadId", int)
    name = _take(answer, _take(answer, payload, "basf2Module", dict), "name", str)
    revision = _take(answer, payload, "revision", int)
    checksum = _take(answer, payload, "checksum", str)
    iovs = []
    for iov in listed:
        if not isinstance(iov, dict):
            raise SourceUnavailable(f"{answer.url}: an IoV of {name[:120]!r} is not a JSON object")
        first = _take(answer, iov, "expStart", int), _take(answer, iov, "runStart", int)
        final = _take(answer, iov, "expEnd", int), _take(answer, iov, "runEnd", int)
        try:
            iovs.append(make_iov(name, str(revision), checksum, (*first, *final)))
        except ValueError as error:
            raise SourceUnavailable(f"{answer.url}: {name[:120]!r}: {error}") from error
    return number, iovs


def _split_item(answer: JsonAnswer, item: Any) -> tuple[dict[str, Any], list[Any]]:
    """The payload and the IoVs of an item in either shape."""
    for payload_key, iovs_key in _PAIRS:
        if isinstance(item, dict) and payload_key in item:
            payload, iovs = item[payload_key], item.get(iovs_key)
            listed = [iovs] if isinstance(iovs, dict) else iovs
            if isinstance(payload, dict) and isinstance(listed, list):
                return payload, listed
    raise SourceUnavailable(f"{answer.url}: an item is not a payload with its IoVs: {str(item)[:80]}")


def _expect(answer: JsonAnswer, kind: type) -> Any:
    if not isinstance(answer.data, kind):
        wanted = "list" if kind is list else "object"
        shown = str(answer.data)[:60]
        raise SourceUnavailable(f"{answer.url} answers with {shown!r}, not with a JSON {wanted}")
    return answer.data


def _take(answer: JsonAnswer, data: dict[str, Any], key: str, kind: type) -> Any:
    """The value of a key, of the type `kind`; True and False are refused."""
    value = data.get(key)
    if not isinstance(value, kind) or isinstance(value, bool):
        raise SourceUnavailable(f"{answer.url}: {key!r} is {str(value)[:60]!r}")
    return value
