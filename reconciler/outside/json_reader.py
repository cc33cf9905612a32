"""Reading JSON over HTTP from a service that may answer slowly, redirect, answer nonsense, or not answer at all.

Everything but a whole answer raises `SourceUnavailable`. The total time is limited, not only the time between two bytes.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, urljoin, urlsplit

from tenacity import RetryCallState

from reconciler.outside import http
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.http import (
    Answer,
    HttpClient,
    NoAnswer,
    NotSent,
    TooLarge,
    is_here,
    is_safe,
    is_token,
)
from reconciler.outside.retries import MayPass, retry
from schemas.files.strict_json import parse_json

REDIRECTS = 5
SIZE_LIMIT = 512 * 2**20
_REPEATED = (429, 500, 502, 503, 504)
"""HTTP status codes after which a request is sent again."""


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """What a service answered: the address that answered in the end, the status, and the JSON (None with status 404)."""

    url: str
    status: int
    data: Any


class JsonReader:
    """Reads below one base address.

    Args:
        base: the address; with `http` https is tried first, unless the base is on this machine.
        headers: sent with every request.
        token: sent as a bearer token to the base's host over https only (or on this machine).
        authorization: the header that the token is sent in.
        timeout: seconds for one attempt, from first to last byte.
        attempts: how often a request is sent before the service counts as unavailable.
        backoff: seconds before the second attempt; doubled for each further one, plus a random part up to the same size.
        pause: the function that waits.

    Raises:
        SourceUnavailable: the base is not an http address, or carries a password; a header cannot hold
            the token; or only plain http is left for a token.
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
        if token is not None and not is_token(token):
            raise SourceUnavailable("the token has characters in it that no token has")
        self.base = base
        self._headers = dict(headers)
        self._token, self._authorization = token, authorization
        self._timeout, self._attempts, self._backoff, self._pause = timeout, attempts, backoff, pause
        self._client = HttpClient(SIZE_LIMIT)
        self._bases = [base]
        if parts.scheme == "http" and not is_here(parts):
            secure = parts._replace(scheme="https").geturl()
            self._bases = [secure] if token else [secure, base]

    def get(self, path: str, *, absent_is_fine: bool = False) -> JsonAnswer:
        """The JSON at a path below the base; with `absent_is_fine`, a status 404 is an answer and no error.

        Raises:
            SourceUnavailable: there was no whole answer after all attempts, or it was an error, or not JSON.
        """
        ask = retry(self._attempts, self._choose_wait, self._pause, self._try_bases)
        try:
            url, answer = ask(path)
        except MayPass as error:
            what = f"does not answer after {self._attempts} attempts"
            raise SourceUnavailable(f"{self.base}{path} {what}: {error}") from error
        status, body = answer.status, answer.body
        if status == 404 and absent_is_fine:
            return JsonAnswer(url, status, None)
        if status != 200:
            raise SourceUnavailable(f"{url} {_tell(answer)}")
        try:
            return JsonAnswer(url, status, parse_json(body.decode("utf-8")))
        except ValueError as error:
            found = "HTML" if body.lstrip()[:1] == b"<" else "something else"
            kind = answer.headers.get("content-type", "of no stated type")
            what = f"{found} ({kind}) where JSON was due"
            raise SourceUnavailable(f"{url} answers with {what}: {error}") from error

    def _choose_wait(self, state: RetryCallState) -> float:
        spread = 1 + random.random()  # noqa: S311 -- it spreads clients, it protects no secret
        return self._backoff * 2.0 ** (state.attempt_number - 1) * spread

    def _try_bases(self, path: str) -> tuple[str, Answer]:
        """The answer of the first base that can be reached; later requests use this base only."""
        reason: NotSent | None = None
        for base in tuple(self._bases):
            try:
                answer = self._follow(base + path)
            except NotSent as error:
                reason = error
            else:
                self._bases = [base]
                return answer
        raise MayPass(str(reason)) from reason

    def _follow(self, url: str) -> tuple[str, Answer]:
        """The final answer to a request, after redirects, and the address that gave it."""
        deadline = time.monotonic() + self._timeout
        for _ in range(REDIRECTS + 1):
            answer = self._read(url, deadline)
            if answer.status in _REPEATED:
                raise MayPass(f"it {_tell(answer)}")
            if answer.status not in (301, 302, 303, 307, 308):
                return url, answer
            target = _join(url, answer.headers.get("location", ""))
            before, after = urlsplit(url), split_address(target)
            if before.scheme == "https" and after.scheme != "https":
                raise SourceUnavailable(f"{url} leads from https to plain {after.scheme}: {target}")
            if after.username or after.password:
                raise SourceUnavailable(f"{url} leads to an address with a password in it")
            url = target
        raise SourceUnavailable(f"{url} is the end of {REDIRECTS} redirects, and leads on")

    def _read(self, url: str, deadline: float) -> Answer:
        """The answer to one request."""
        left = max(deadline - time.monotonic(), 0.001)
        try:
            return self._client.send("GET", url, left, headers=self._choose_headers(url))
        except TooLarge as error:
            raise SourceUnavailable(f"{url}: {error}") from error
        except NoAnswer as error:
            raise MayPass(str(error)) from error

    def _choose_headers(self, url: str) -> dict[str, str]:
        here, base = urlsplit(url), urlsplit(self.base)
        if self._token and is_safe(url) and here.hostname == base.hostname and (here.port == base.port):
            return {**self._headers, self._authorization: f"Bearer {self._token}"}
        return self._headers


def split_address(url: str) -> SplitResult:
    """The parts of an http(s) address.

    Raises:
        SourceUnavailable: it is not an http(s) address.
    """
    try:
        return http.split_address(url)
    except ValueError as error:
        raise SourceUnavailable(str(error)) from error


def _join(url: str, location: str) -> str:
    try:
        return urljoin(url, location)
    except ValueError:
        return location


def _tell(answer: Answer) -> str:
    said = answer.find_detail("message")
    return f"answers {answer.status}" + (f": {said}" if said else "")
