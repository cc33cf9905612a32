"""Talks to a Rucio server: REST over HTTP, with a limit for every wait; its exceptions are told apart by name."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeVar

from tenacity import wait_exponential

from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.http import Answer, HttpClient, NoAnswer, NotSent
from reconciler.outside.retries import MayPass, retry

TIMEOUT = 60.0
"""Seconds for one request; a server needs 3.5 s for 2,500 replicas."""

_ATTEMPTS = 3
_PAUSE = 1.0

Thing = TypeVar("Thing")

MOST = 500
"""Files, or datasets, in one request; the server accepts a thousand."""


class RucioRefused(Exception):
    """The server refuses a request; `kind` is the name of its exception."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(f"{kind}: {message}")
        self.kind = kind


class RucioFailed(SourceUnavailable):
    """The server failed (status 5xx) at each attempt of a request."""


@dataclass(frozen=True, slots=True)
class RucioCredentials:
    """Our credentials for the server: a user with a password, or the file of a proxy certificate."""

    user: str | None = None
    password: str | None = field(default=None, repr=False)
    proxy: str | None = None


def read_credentials(kind: str, environment: Mapping[str, str]) -> RucioCredentials:
    """The credentials in the environment; `kind` is `userpass` or `x509_proxy`.

    Raises:
        SourceUnavailable: there are none.
    """
    if kind == "userpass":
        user, password = environment.get("B2PROD_RUCIO_USER"), environment.get("B2PROD_RUCIO_PASSWORD")
        if not user or not password:
            wanted = "B2PROD_RUCIO_USER and B2PROD_RUCIO_PASSWORD"
            raise SourceUnavailable(f"Rucio wants {wanted} in the environment")
        return RucioCredentials(user=user, password=password)
    proxy = environment.get("X509_USER_PROXY", f"/tmp/x509up_u{os.getuid()}")  # noqa: S108 -- the usual place of proxies
    if not os.path.isfile(proxy):
        raise SourceUnavailable(
            f"there is no proxy certificate {proxy} for Rucio; make one with voms-proxy-init"
        )
    return RucioCredentials(proxy=proxy)


class _ServerFailed(MayPass):
    """The server says that it failed."""


class RucioServer:
    """One server and account. A request that fails is repeated; this is safe for all requests here."""

    def __init__(
        self,
        url: str,
        account: str,
        credentials: RucioCredentials,
        *,
        timeout: float = TIMEOUT,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        self.url = url.rstrip("/")
        self._account = account
        self._credentials = credentials
        self._timeout = timeout
        self._pause = pause
        self._token: str | None = None
        try:
            self._client = HttpClient(proxy=credentials.proxy)
        except OSError as error:
            raise SourceUnavailable(
                f"the proxy certificate {credentials.proxy} cannot be used: {error}"
            ) from error

    def call(self, method: str, path: str, data: Any = None) -> list[Any]:
        """Sends a request. Returns the JSON values of the answer, one for each line.

        Raises:
            RucioRefused: the request is refused.
            RucioFailed: the server failed at each attempt.
            SourceUnavailable: the server does not answer, or refuses the credentials.
        """
        ask = retry(_ATTEMPTS, wait_exponential(multiplier=_PAUSE), self._pause, self._ask)
        try:
            return ask(method, path, data)
        except MayPass as error:
            kind = RucioFailed if isinstance(error, _ServerFailed) else SourceUnavailable
            raise kind(f"Rucio at {self.url} does not answer ({method} {path}): {error}") from error

    def _ask(self, method: str, path: str, data: Any) -> list[Any]:
        answer = self._send(method, path, data)
        if answer.status == 401 and answer.headers.get("exceptionclass", "") in ("CannotAuthenticate", ""):
            self._token = None  # tokens last for an hour
            answer = self._send(method, path, data)
        if answer.status < 300:
            return _read_lines(answer.body)
        kind, message = (answer.headers.get(f"exception{end}", "") for end in ("class", "message"))
        if answer.status < 500:
            raise RucioRefused(kind or f"status {answer.status}", " ".join(message.split())[:500])
        raise _ServerFailed(f"{kind or answer.status}: {' '.join(message.split())[:300]}")

    def _send(self, method: str, path: str, data: Any) -> Answer:
        return self._once(method, path, {"X-Rucio-Auth-Token": self._authenticate()}, data)

    def _once(self, method: str, path: str, headers: Mapping[str, str], data: Any) -> Answer:
        try:
            return self._client.send(method, self.url + path, self._timeout, headers=headers, data=data)
        except (NotSent, NoAnswer) as error:
            raise MayPass(str(error)) from error

    def _authenticate(self) -> str:
        if self._token is not None:
            return self._token
        mine = self._credentials
        headers = {"X-Rucio-Account": self._account}
        way = "x509_proxy" if mine.user is None else "userpass"
        if mine.user is not None:
            headers |= {"X-Rucio-Username": mine.user, "X-Rucio-Password": mine.password or ""}
        answer = self._once("GET", f"/auth/{way}", headers, None)
        token = answer.headers.get("x-rucio-auth-token")
        if answer.status != 200 or not token:
            said = answer.headers.get("exceptionmessage", f"status {answer.status}")
            raise SourceUnavailable(f"Rucio at {self.url} does not let {self._account} in: {said}")
        self._token = token
        return token


def _read_lines(body: bytes) -> list[Any]:
    found = []
    for line in body.decode("utf-8", "replace").splitlines():
        if line.strip():
            try:
                found.append(json.loads(line))
            except (ValueError, RecursionError):
                found.append(line)  # plain text, such as `Created`
    return found


def read_rows(
    rows: Sequence[Any], count: int | None = None, **due: type | tuple[type, ...]
) -> list[Mapping[str, Any]]:
    """Checks the rows of an answer: `count` rows (any number if None), each with a value of the right type for every key in `due`.

    Raises:
        SourceUnavailable: the rows are different; the answer was cut, or comes from another server.
    """
    for row in rows:
        if not isinstance(row, dict) or not all(
            key in row and isinstance(row[key], kind) and (kind is bool or type(row[key]) is not bool)
            for key, kind in due.items()
        ):
            raise SourceUnavailable(f"Rucio answered something else than was asked for: {str(row)[:200]}")
    if count not in (None, len(rows)):
        raise SourceUnavailable(f"Rucio answered {len(rows)} things where {count} are due")
    return list(rows)


def divide(things: Sequence[Thing]) -> Iterator[Sequence[Thing]]:
    """The things in parts, each as large as one request may be."""
    return (things[start : start + MOST] for start in range(0, len(things), MOST))
