"""The conditions database, with tags whose payloads a test uploads; `tests.support.services.loopback` serves it."""

from __future__ import annotations

from typing import Any

Uploaded = tuple[str, str, int]
"""Name of a payload, its md5, and the first run of experiment 3 that it is for; 0: for all that is."""


class ConditionsService:
    """Tags by their names, each with its payloads. A payload's revision is its number among those of its name in the tag."""

    def __init__(self, state: str = "RUNNING", **tags: list[Uploaded]) -> None:
        self.tags, self.state, self.id = tags, state, 7
        self.answers: dict[str, Any] = {}
        self.seen: list[Any] = []

    def find(self, path: str, _query: object) -> tuple[int, Any]:
        name, _, rest = path.removeprefix("/rest/v2/globalTag/").partition("/")
        if path.endswith("globalTagStatus"):
            return 200, []
        if name not in self.tags:
            return 404, {"message": "no such tag"}
        payloads = self.tags[name]
        if not rest:
            status = {"name": self.state}
            about = {"globalTagId": self.id, "name": name, "payloadCount": len(payloads)}
            return 200, {**about, "globalTagStatus": status, "dtmMod": "x"}
        named: list[str] = []
        items = []
        for number, (payload, checksum, first) in enumerate(payloads):
            named.append(payload)
            about = {"payloadId": number, "basf2Module": {"name": payload}, "checksum": checksum}
            iov = {"expStart": first and 3, "runStart": first, "expEnd": -1, "runEnd": -1}
            items.append({"payloadId": {**about, "revision": named.count(payload)}, "payloadIovs": [iov]})
        return 200, items
