"""The only client for HTTP: every request ends in time, takes an answer of limited size, and is sent once.

To read twice is harmless, to order twice is not. So an error says whether the service may have received the request,
and the caller decides whether to repeat it.
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
"""The default limit for the bytes of a decoded body."""

CONNECT = 5.0
"""Seconds after which an address counts as not reachable."""

_BEGUN = ("http11.send_request_headers.started", "http2.send_request_headers.started")
_Result = TypeVar("_Result")


class NotSent(Exception):
    """The service certainly did not receive the request: there was no connection, or the request is not valid."""


class NoAnswer(Exception):
    """The service may have received the request; no usable answer came back."""


class TooLarge(NoAnswer):
    """The answer is larger than the limit; another request would get the same answer."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the headers by name in lower case, and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def read_json(self) -> Any:
        """The body as JSON.

        Raises:
            NoAnswer: the body is not JSON, but for example a page of a gateway.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            found = "a page of HTML" if self.body.lstrip()[:1] == b"<" else "something else"
            raise NoAnswer(f"{found} came back (status {self.status}) where JSON was due") from error

    def find_detail(self, key: str = "detail") -> str | None:
        """The service's own message, under `key` in a JSON body, at most 300 characters; None if there is none."""
        try:
            detail = json.loads(self.body)[key]
        except (ValueError, RecursionError, TypeError, KeyError):
            return None
        return str(detail)[:300]

    @property
    def pause(self) -> float | None:
        """Seconds for which the service asks for no requests (Retry-After); None if it does not ask."""
        told = self.headers.get("retry-after", "").strip()
        if told.isascii() and told.isdecimal():
            return float(told[:9])
        until = _read_date(told)
        return None if until is None else max(0.0, (until - (self.time or datetime.now(UTC))).total_seconds())

    @property
    def time(self) -> datetime | None:
        """The service's clock, in whole seconds; None if the answer does not tell."""
        return _read_date(self.headers.get("date", ""))


def _read_date(text: str) -> datetime | None:
    try:
        told = parsedate_to_datetime(text)
    except (ValueError, OverflowError):
        return None
    return told if told.tzinfo is not None else told.replace(tzinfo=UTC)


class HttpClient:
    """Sends single requests. Redirects are answers and are not followed. A connection is closed after its request.

    Args:
        size_limit: the most bytes of a decoded body; a larger answer is an error.
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
        """The whole answer to one request; `data` is sent as JSON, `form` as a form, with `files` as a multipart form.

        `seconds` limits all of it: to find and reach the address, to send, and to read to the last byte.

        Raises:
            NotSent: there was no connection, or a header is not valid.
            NoAnswer: no whole answer within the size limit came within `seconds`.
        """
        import httpx  # noqa: PLC0415 -- it takes 0.1 s, and many commands send nothing

        for name, value in (headers or {}).items():
            # the library's error would show the value, which may be a secret
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
            UnicodeError,  # the host's name is not valid
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
        # Decoded here: the library would expand 64 kB to 64 MB before their number can be checked.
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
        ValueError: it is not an http(s) address.
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
    """An address without its query, which may hold signatures."""
    return url.partition("?")[0]


def is_token(text: str) -> bool:
    """Whether a text can be sent as a token in a header."""
    return bool(text) and text.isascii() and text.isprintable() and " " not in text


@cache
def _trust_system() -> ssl.SSLContext:
    return ssl.create_default_context()


def _show_certificate(proxy: str) -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.load_cert_chain(proxy)
    return context


def _run(work: Coroutine[Any, Any, _Result]) -> _Result:
    """The result of the work. Unlike `asyncio.run`, it does not wait for a name look-up that hangs."""
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
