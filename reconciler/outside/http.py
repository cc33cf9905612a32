"""The one client for HTTP: every request ends in time, takes a bounded answer, and is made once.

To read something again is harmless, to order something again is not: so a failure says whether the service may have
had the request. Who wants a request repeated says so at its place.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import json
import ssl
import zlib
from collections.abc import Coroutine, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import SplitResult, urlsplit

if TYPE_CHECKING:
    import httpx

SIZE_LIMIT = 2**25
"""Bytes of an answer's body, decoded, that a client takes when nothing else is said."""

CONNECT = 5.0
"""Seconds after which an address counts as one that cannot be reached."""

_BEGUN = ("http11.send_request_headers.started", "http2.send_request_headers.started")
_Result = TypeVar("_Result")


class NotSent(Exception):
    """The service certainly did not have the request: there was no connection."""


class NoAnswer(Exception):
    """The service may have had the request; nothing usable came back."""


class TooLarge(NoAnswer):
    """The answer is larger than was to be taken; another request would have the same one."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the headers by name in lower case, and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def read_json(self) -> Any:
        """The body as JSON.

        Raises:
            NoAnswer: it is not JSON; it is a gateway's page, for example.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            found = "a page of HTML" if self.body.lstrip()[:1] == b"<" else "something else"
            raise NoAnswer(f"{found} came back (status {self.status}) where JSON was due") from error

    def find_detail(self, key: str = "detail") -> str | None:
        """The service's own word, under `key`, in the answer to a request that it refused; None if there is none."""
        try:
            detail = json.loads(self.body)[key]
        except (ValueError, RecursionError, TypeError, KeyError):
            return None
        return str(detail)[:300]

    @property
    def pause(self) -> float | None:
        """For how many seconds the service asks to be left alone (Retry-After); None where it does not."""
        told = self.headers.get("retry-after", "").strip()
        if told.isascii() and told.isdecimal():
            return float(told[:9])
        until = _read_date(told)
        return None if until is None else max(0.0, (until - (self.time or datetime.now(UTC))).total_seconds())

    @property
    def time(self) -> datetime | None:
        """The service's clock, in whole seconds."""
        return _read_date(self.headers.get("date", ""))


def _read_date(text: str) -> datetime | None:
    try:
        told = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return told if told.tzinfo is not None else told.replace(tzinfo=UTC)


class HttpClient:
    """Sends single requests. Redirects are answers: none is followed. No connection outlives its request.

    Args:
        size_limit: bytes of a decoded body above which an answer counts as none.
        proxy: the file of a proxy certificate with its key, shown to servers that ask for one.

    Raises:
        OSError: the proxy certificate cannot be used.
    """

    def __init__(self, size_limit: int = SIZE_LIMIT, proxy: str | None = None) -> None:
        self._size_limit = size_limit
        self._trust = _trust_system() if proxy is None else _show_certificate(proxy)

    def send(
        self,
        method: str,
        url: str,
        seconds: float,
        *,
        headers: Mapping[str, str] | None = None,
        data: Any = None,
        form: Mapping[str, str] | None = None,
        files: Mapping[str, tuple[str, bytes]] | None = None,
    ) -> Answer:
        """The whole answer to one request, with `data` as JSON, `form` as a form, or `form` and `files` as one of parts.

        `seconds` bounds all of it: to find and reach the address, to send, and to read to the last byte.

        Raises:
            NotSent: there was no connection.
            NoAnswer: anything else that is not a whole answer of bounded size within `seconds`.
        """
        import httpx  # noqa: PLC0415 -- 0.1 s, which only those pay who go out

        for name, value in (headers or {}).items():
            # a library's complaint would show it, and it may be a secret
            if not (value.isascii() and value.isprintable()):
                raise NotSent(f"{hide_query(url)}: the header {name} has characters that none may have")
        begun: list[str] = []

        async def note(event: str, _: Any) -> None:
            if event in _BEGUN:
                begun.append(event)

        async def ask() -> Answer:
            timeout = httpx.Timeout(seconds, connect=min(CONNECT, seconds))
            async with (
                asyncio.timeout(seconds),
                httpx.AsyncClient(verify=self._trust, trust_env=False, timeout=timeout) as client,
                client.stream(
                    method,
                    url,
                    headers={"Accept-Encoding": "gzip", **(headers or {})},
                    json=data,
                    data=form,
                    files=files,
                    extensions={"trace": note},
                ) as response,
            ):
                return Answer(response.status_code, dict(response.headers), await self._read(response))

        try:
            return _run(ask())
        except (
            httpx.ConnectError,
            httpx.ConnectTimeout,
            httpx.UnsupportedProtocol,
            httpx.InvalidURL,
            UnicodeError,  # the host has a name that no host can have
        ) as error:
            raise NotSent(f"{hide_query(url)} cannot be reached: {_describe(error)}") from error
        except (httpx.HTTPError, OSError, TimeoutError, zlib.error, OverflowError, ExceptionGroup) as error:
            late = isinstance(error, TimeoutError | httpx.TimeoutException)
            said = f" within {seconds:.3g} s" if late else f": {_describe(error)}"
            if not begun:
                raise NotSent(f"{hide_query(url)} cannot be reached{said}") from error
            raise NoAnswer(f"{hide_query(url)} gave no whole answer{said}") from error

    async def _read(self, response: httpx.Response) -> bytes:
        coding = response.headers.get("content-encoding", "identity").strip().lower()
        if coding not in ("", "identity", "gzip", "x-gzip"):
            raise NoAnswer(f"the answer is coded as {coding[:40]!r}, which was not asked for")
        # Decoded here and not by the library, which makes 64 MB of 64 kB before anybody can count them.
        decoder = zlib.decompressobj(zlib.MAX_WBITS | 16) if coding.endswith("gzip") else None
        body = bytearray()
        async for chunk in response.aiter_raw():
            room = self._size_limit - len(body) + 1
            body += chunk if decoder is None else decoder.decompress(chunk, room)
            if len(body) > self._size_limit:
                raise TooLarge(f"the answer is larger than {self._size_limit / 2**20:g} MiB")
        if decoder is not None and response.num_bytes_downloaded and not decoder.eof:
            raise NoAnswer("the answer is compressed, and breaks off")
        return bytes(body)


def split_address(url: str) -> SplitResult:
    """The parts of an http(s) address.

    Raises:
        ValueError: it is not one.
    """
    try:
        parts = urlsplit(url)
        known = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        known = False
    if not known:
        shown = repr(url[:200]) if "@" not in url else "what was given"
        raise ValueError(f"{shown} is not an http address")
    return parts


def is_here(parts: SplitResult) -> bool:
    """Whether an address is on this machine, so that nothing sent there leaves it."""
    try:
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    except ValueError:
        return parts.hostname == "localhost"


def is_safe(url: str) -> bool:
    """Whether a secret may be sent to an address: encrypted, or not leaving this machine.

    Raises:
        ValueError: it is not an http address.
    """
    parts = split_address(url)
    return parts.scheme == "https" or is_here(parts)


def hide_query(url: str) -> str:
    """An address without its query, in which signatures are."""
    return url.partition("?")[0]


def is_token(text: str) -> bool:
    """Whether a header can hold a text as a token."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


@cache
def _trust_system() -> ssl.SSLContext:
    return ssl.create_default_context()


def _show_certificate(proxy: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_cert_chain(proxy)
    return context


def _run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """What the work returns. A look-up of names that hangs is left behind, not waited for as `asyncio.run` does."""
    loop = asyncio.new_event_loop()
    task = loop.create_task(work)
    try:
        return loop.run_until_complete(task)
    finally:
        if not task.done():  # an interrupt
            task.cancel()
            with contextlib.suppress(BaseException):
                loop.run_until_complete(task)
        loop.run_until_complete(loop.shutdown_asyncgens())
        loop.close()


def _describe(error: Exception) -> str:
    return " ".join(str(error).split())[:300] or type(error).__name__
