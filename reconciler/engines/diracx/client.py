"""A client of DiracX's HTTP API: requests with a token, searches whose answers are complete, and sandboxes."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import quote

from reconciler.engines.diracx.credentials import Credentials
from reconciler.engines.diracx.sandbox import LIMIT
from reconciler.engines.diracx.settings import DiracxSettings
from reconciler.outside.command import Deadline
from reconciler.outside.http import Answer, HttpClient, NoAnswer

PAGE = 10_000
"""The most rows on one page of a search."""

COLUMNS = ("JobID", "JobName", "Status", "MinorStatus", "ApplicationStatus")

COLUMNS_DUE = frozenset(COLUMNS[:3])
"""The columns in which every job has a value."""

_PFN = re.compile(
    r"(?:SB:[A-Za-z]+\|)?/S3/[a-z0-9.-]{3,63}(?:/[^/|\s]+){3}/sha256:([0-9a-f]{64})\.[a-z0-9.]+"
)
_RANGE = re.compile(r"jobs (\d{1,12})-(\d{1,12})/(\d{1,12})")


class Declined(Exception):
    """The service itself refused a request, and did nothing; `status` is the HTTP status, the text is the service's."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(f"DiracX answers {status}: {detail}")
        self.status = status


class Busy(NoAnswer):
    """The service takes no requests now, and did not take this one; `pause` as in `Deferred`."""

    def __init__(self, status: int, detail: str | None, pause: float | None) -> None:
        said = f": {detail}" if detail else ""
        super().__init__(f"DiracX takes no requests now (status {status}){said}")
        self.pause = pause


class Client:
    """One service, as one user.

    Every method may raise `NoToken`, `NotSent` and `NoAnswer`. No method repeats a request that may have had an effect.
    """

    def __init__(self, settings: DiracxSettings) -> None:
        self._url = settings.url
        self._service = HttpClient(LIMIT)
        self.credentials = Credentials(settings, self._service)

    def ask(self, method: str, path: str, deadline: Deadline, data: Any = None) -> Answer:
        """The answer to a request; if the service refuses the token (401), the request is sent again with a new token.

        Raises:
            Declined: the service itself refused the request; a page of a gateway is not a refusal.
            Busy: the service did not take the request, and may take it later.
        """
        for last in (False, True):
            token = self.credentials.find_access(deadline.left(0.4))
            answer = self._service.send(
                method,
                f"{self._url}/api/{path}",
                deadline.left(),
                headers={"Authorization": f"Bearer {token}"},
                data=data,
            )
            if answer.status != 401 or last or answer.find_detail() is None:
                break
            self.credentials.forget()
        if 200 <= answer.status < 300:
            return answer
        detail = answer.find_detail()
        if answer.status == 429 or (answer.status == 503 and answer.pause is not None):
            raise Busy(answer.status, detail, answer.pause)
        if detail is not None and 400 <= answer.status < 500 and answer.status not in {408, 429}:
            raise Declined(answer.status, detail)
        raise NoAnswer(f"status {answer.status} came back" + (f": {detail}" if detail else ""))

    def search(self, parameter: str, values: Sequence[object], deadline: Deadline) -> list[Mapping[str, Any]]:
        """All our jobs that have one of the values, in the order in which the service took them; the list is complete.

        Raises:
            Declined: the search is not allowed.
        """
        rows: list[Mapping[str, Any]] = []
        for start in range(0, len(values), PAGE):
            some = values[start : start + PAGE]
            condition = {"parameter": parameter, "operator": "in", "values": some}
            rows += self._search([condition], parameter, frozenset(map(str, some)), deadline)
        if len({row["JobID"] for row in rows}) != len(rows):
            raise NoAnswer("a search answered one job twice: it changed meanwhile")
        return sorted(rows, key=lambda row: row["JobID"])

    def list_begun(self, prefix: str, states: Sequence[str], deadline: Deadline) -> list[Mapping[str, Any]]:
        """All our jobs in those states whose names begin with `prefix`; the list is complete."""
        conditions: list[Mapping[str, Any]] = [
            {"parameter": "JobName", "operator": "like", "value": f"{prefix}%"},
            {"parameter": "Status", "operator": "in", "values": list(states)},
        ]
        rows = self._search(conditions, "Status", frozenset(states), deadline)
        return [row for row in rows if str(row["JobName"]).startswith(prefix)]

    def _search(
        self,
        conditions: Sequence[Mapping[str, Any]],
        parameter: str,
        expected: frozenset[str],
        deadline: Deadline,
    ) -> list[Mapping[str, Any]]:
        query = {
            "parameters": list(COLUMNS),
            "search": list(conditions),
            "sort": [{"parameter": "JobID", "direction": "asc"}],
        }
        rows: list[Mapping[str, Any]] = []
        total = None
        for page in range(1, 1000):
            answer = self.ask("POST", f"jobs/search?page={page}&per_page={PAGE}", deadline, query)
            here = _read_rows(answer, parameter, expected)
            rows += here
            if answer.status == 200 and page == 1:
                return rows
            stated = _RANGE.fullmatch(answer.headers.get("content-range", ""))
            if answer.status != 206 or stated is None or not here:
                raise NoAnswer(f"page {page} of a search came back with status {answer.status} and no range")
            first, after, count = (int(number) for number in stated.groups())
            if (first, after + 1) != (len(rows) - len(here), len(rows)) or total not in {None, count}:
                raise NoAnswer(f"the pages of a search do not fit together: {stated[0]}")
            total = count
            if len(rows) == total:
                return rows
        raise NoAnswer("a search has no end")

    def store(self, archive: bytes, deadline: Deadline) -> str:
        """Puts a sandbox into the store, unless the store has it already; returns its name.

        Raises:
            Declined: the store does not take it.
        """
        checksum = hashlib.sha256(archive).hexdigest()
        what = {
            "checksum_algorithm": "sha256",
            "checksum": checksum,
            "size": len(archive),
            "format": "tar.zst",
        }
        reply = self.ask("POST", "jobs/sandbox", deadline, what).read_json()
        try:
            name, url, fields = reply["pfn"], reply.get("url"), dict(reply.get("fields") or {})
            found = _PFN.fullmatch(name)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            raise NoAnswer("the store of sandboxes answers something strange") from error
        if found is None or found[1] != checksum:
            raise NoAnswer(f"the store of sandboxes gave a strange name: {str(name)[:200]!r}")
        if url is not None:
            # the address is signed, so no token is sent there
            sent = self._service.send(
                "POST",
                str(url),
                deadline.left(),
                form={str(key): str(value) for key, value in fields.items()},
                files={"file": ("file", archive)},
            )
            if not 200 <= sent.status < 300:
                raise NoAnswer(f"the store of sandboxes answers {sent.status}")
        return str(name)

    def list_outputs(self, job: int, deadline: Deadline) -> list[str]:
        """The sandboxes that a job left, in their order.

        Raises:
            Declined: there is no such job, or it is not ours; the service does not say which.
        """
        names = self.ask("GET", f"jobs/{job}/sandbox/output", deadline).read_json()
        if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
            raise NoAnswer("the list of sandboxes is something strange")
        return [one for one in names if one]

    def load(self, name: str, deadline: Deadline) -> bytes:
        """The bytes of a sandbox; their checksum is the one in its name.

        Raises:
            Declined: we may not read it.
        """
        found = _PFN.fullmatch(name)
        if found is None:
            raise NoAnswer(f"a sandbox has a strange name: {name[:200]!r}")
        place = self.ask("GET", f"jobs/sandbox?pfn={quote(name, safe='')}", deadline).read_json()
        try:
            url = str(place["url"])
        except (LookupError, TypeError) as error:
            raise NoAnswer("the place of a sandbox is something strange") from error
        answer = self._service.send("GET", url, deadline.left())
        if answer.status != 200:
            raise NoAnswer(f"the store of sandboxes answers {answer.status}")
        if hashlib.sha256(answer.body).hexdigest() != found[1]:
            raise NoAnswer("a sandbox is not what its name says: it was cut short or changed")
        return answer.body


def _read_rows(answer: Answer, parameter: str, expected: frozenset[str]) -> list[Mapping[str, Any]]:
    """The rows of a page; each must have one of the expected values of the parameter."""
    kind = answer.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if not kind.endswith("json"):
        raise NoAnswer(f"a search answered {kind[:100]!r}, and no JSON")
    rows = answer.read_json()
    if not isinstance(rows, list):
        raise NoAnswer("a search answered no list")
    for row in rows:
        if (
            not isinstance(row, dict)
            or type(row.get("JobID")) is not int
            or not all(isinstance(row.get(word), str | None) for word in COLUMNS[1:])
            or not row.keys() >= COLUMNS_DUE
            or str(row.get(parameter)) not in expected
        ):
            raise NoAnswer(f"a search answered something else than was asked for: {str(row)[:200]}")
    return rows
