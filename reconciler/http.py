"""Reading JSON over HTTP from a service that may be slow, moved, broken or away.

Whatever is not a whole answer is `SourceUnavailable`. Waiting is bounded in total, not only between two bytes.
"""

from __future__ import annotations

import ipaddress
import json
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NoReturn
from urllib.parse import SplitResult, urljoin, urlsplit

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError

from reconciler.ledger.database import SourceUnavailable

REDIRECTS = 5
SIZE_LIMIT = 512 * 2**20
_REPEATED = (429, 500, 502, 503, 504)
"""States of a service that may pass."""
_CHUNK = 2**16


@dataclass(frozen=True, slots=True)
class Answer:
    """What a service answered: the address that answered in the end, the status, and the JSON (None with status 404)."""

    url: str
    status: int
    data: Any


class _MayPass(Exception):
    """An attempt failed in a way that another may not."""


class _NoConnection(_MayPass):
    """Nothing that speaks this protocol is there."""


class HttpReader:
    """Reads below one base address.

    Args:
        base: the address; with `http` https is tried first, unless the base is on this machine.
        headers: sent with every request.
        token: sent as a bearer token to the base's host over https only (or on this machine).
        authorization: the header that the token is sent in.
        timeout: seconds for one attempt, from first to last byte.
        attempts: how often a request is made before the service counts as away.
        backoff: seconds before the second attempt; doubled for each further one, and up to as much again at random.
        pause: what waits.

    Raises:
        SourceUnavailable: the base is no http address, or carries a password; the token is none that a header may
            hold; or only plain http is left for a token.
    """

    def __init__(
        self,
        base: str,
        headers: Mapping[str, str],
        token: str | None = None,
        *,
        authorization: str = "X-Authorization",
        timeout: float = 60.0,
        attempts: int = 4,
        backoff: float = 1.0,
        pause: Callable[[float], None] = time.sleep,
    ) -> None:
        parts = split_address(base)
        if parts.username or parts.password:
            raise SourceUnavailable("the address has a user name or password in it; give a token instead")
        if token is not None and not (token.isascii() and token.isprintable() and " " not in token and token):
            raise SourceUnavailable("the token has characters in it that no token has")
        self.base = base
        self._headers = {**headers, "Accept-Encoding": "gzip"}
        self._token, self._authorization = token, authorization
        self._timeout, self._attempts, self._backoff, self._pause = timeout, attempts, backoff, pause
        self._pool = urllib3.PoolManager(retries=False)
        self._bases = [base]
        if parts.scheme == "http" and not is_here(parts):
            secure = parts._replace(scheme="https").geturl()
            self._bases = [secure] if token else [secure, base]

    def __repr__(self) -> str:
        return f"HttpReader({self.base!r})"

    def get(self, path: str, *, absent_is_fine: bool = False) -> Answer:
        """The JSON at a path below the base; with `absent_is_fine`, an answer for 404 too.

        Raises:
            SourceUnavailable: there was no whole answer after all attempts, or it was an error, or not JSON.
        """
        reason: Exception | None = None
        for attempt in range(self._attempts):
            if attempt:
                wait = self._backoff * 2 ** (attempt - 1)
                self._pause(wait * (1 + random.random()))  # noqa: S311 -- spreads clients, keeps no secret
            for base in tuple(self._bases):
                try:
                    answer = self._follow(base + path)
                except _NoConnection as error:
                    reason = error
                    continue
                except _MayPass as error:
                    reason = error
                    break
                self._bases = [base]
                return self._accept(answer, absent_is_fine=absent_is_fine)
        raise SourceUnavailable(
            f"{self.base}{path} does not answer after {self._attempts} attempts: {reason}"
        )

    def _accept(self, answer: tuple[str, int, str, bytes], *, absent_is_fine: bool) -> Answer:
        url, status, kind, body = answer
        if status == 404 and absent_is_fine:
            return Answer(url, status, None)
        if status != 200:
            raise SourceUnavailable(f"{url} answers {status}{_find_message(body)}")
        try:
            return Answer(url, status, json.loads(body.decode("utf-8"), parse_constant=_refuse_constant))
        except (ValueError, RecursionError) as error:
            found = "HTML" if body.lstrip()[:1] == b"<" else "something else"
            raise SourceUnavailable(f"{url} answers with {found} ({kind}) where JSON was due") from error

    def _follow(self, url: str) -> tuple[str, int, str, bytes]:
        """The final answer to a request, after redirects."""
        deadline = time.monotonic() + self._timeout
        for _ in range(REDIRECTS + 1):
            status, headers, body = self._read(url, deadline)
            if status in _REPEATED:
                raise _MayPass(f"it answers {status}{_find_message(body)}")
            if status not in (301, 302, 303, 307, 308):
                return url, status, headers.get("content-type", "of no stated type"), body
            target = _join(url, headers.get("location", ""))
            before, after = urlsplit(url), split_address(target)
            if before.scheme == "https" and after.scheme != "https":
                raise SourceUnavailable(f"{url} leads from https to plain {after.scheme}: {target}")
            if after.username or after.password:
                raise SourceUnavailable(f"{url} leads to an address with a password in it")
            url = target
        raise SourceUnavailable(f"{url} is the end of {REDIRECTS} redirects, and leads on")

    def _read(self, url: str, deadline: float) -> tuple[int, Mapping[str, str], bytes]:
        """Status, headers and body of one request."""
        left = max(deadline - time.monotonic(), 0.001)
        try:
            response = self._pool.request(
                "GET",
                url,
                headers=self._choose_headers(url),
                timeout=urllib3.Timeout(total=left),
                redirect=False,
                preload_content=False,
            )
            try:
                body = bytearray()
                # read1, not read: what comes in drops must not wait for a whole chunk
                while chunk := response.read1(_CHUNK, decode_content=True):
                    body += chunk
                    if len(body) > SIZE_LIMIT:
                        raise SourceUnavailable(f"{url} answers with more than {SIZE_LIMIT // 2**20} MiB")
                    if time.monotonic() > deadline:
                        raise _MayPass(f"the answer is not complete after {self._timeout:g} s")
                return (
                    response.status,
                    {key.lower(): value for key, value in response.headers.items()},
                    bytes(body),
                )
            finally:
                response.close()
        except (SSLError, NewConnectionError, ConnectTimeoutError) as error:
            raise _NoConnection(describe_failure(error)) from error
        except (HTTPError, OSError) as error:
            raise _MayPass(describe_failure(error)) from error

    def _choose_headers(self, url: str) -> dict[str, str]:
        here, base = urlsplit(url), urlsplit(self.base)
        safe = here.scheme == "https" or is_here(here)
        if self._token and safe and here.hostname == base.hostname and (here.port == base.port):
            return {**self._headers, self._authorization: f"Bearer {self._token}"}
        return self._headers


def split_address(url: str) -> SplitResult:
    """The parts of an http(s) address."""
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        shown = url[:200] if "@" not in url else "what was given"
        raise SourceUnavailable(f"{shown!r} is no http address")
    return parts


def _join(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return location


def is_here(parts: SplitResult) -> bool:
    """Whether an address is on this machine, so that nothing sent there leaves it."""
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


def _find_message(body: bytes) -> str:
    """The service's own message in the body of an error, where it gives one."""
    try:
        message = json.loads(body)["message"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return ""
    return f": {message[:200]}" if isinstance(message, str) else ""


def describe_failure(error: Exception) -> str:
    text = str(error)
    _, _, plain = text.rpartition("): ")  # urllib3 begins with the repr of its pool
    return plain or text or type(error).__name__


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON")
