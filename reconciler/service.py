"""Requests to a service over HTTP that are made once: bounded in time, and never repeated by themselves.

Reading something again is harmless, ordering something again is not: so an answer says whether the service may have
had the request.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import urllib3
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError, SSLError

from reconciler.http import describe_failure, is_here, split_address

_CHUNK = 2**16


class NotSent(Exception):
    """The service certainly did not have the request."""


class NoAnswer(Exception):
    """The service may have had the request; nothing usable came back."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What came back: the status, the headers in lower case, and the whole body."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def read_json(self) -> Any:
        """The body as JSON.

        Raises:
            NoAnswer: it is none; a gateway's page, for example.
        """
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError) as error:
            found = "a page of HTML" if self.body.lstrip()[:1] == b"<" else "something else"
            raise NoAnswer(f"{found} came back (status {self.status}) where JSON was due") from error

    def find_detail(self) -> str | None:
        """The service's own word in the answer to a request that it refused; None where it has none."""
        try:
            detail = json.loads(self.body)["detail"]
        except (ValueError, RecursionError, TypeError, KeyError):
            return None
        return str(detail)[:300]

    @property
    def time(self) -> datetime | None:
        """The service's clock, in whole seconds."""
        try:
            return parsedate_to_datetime(self.headers["date"])
        except (KeyError, ValueError):
            return None


class Service:
    """Sends single requests to addresses. Redirects are answers: none is followed."""

    def __init__(self, size_limit: int = 2**28) -> None:
        self._pool = urllib3.PoolManager(retries=False)
        self._size_limit = size_limit

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

        Raises:
            NotSent: there was no connection.
            NoAnswer: anything else that is no whole answer within `seconds`.
        """
        if method not in {"GET", "POST", "PATCH"}:
            raise ValueError(f"{method} is not sent from here")
        body: bytes | None = None
        sent = dict(headers or {})
        fields: dict[str, Any] | None = None
        if files is not None:
            fields = {**(form or {}), **files}
        elif form is not None:
            fields = dict(form)
        elif data is not None:
            body = json.dumps(data).encode()
            sent["Content-Type"] = "application/json"
        deadline = time.monotonic() + seconds
        try:
            response = self._pool.request(
                method,
                url,
                headers=sent,
                redirect=False,
                preload_content=False,
                timeout=urllib3.Timeout(connect=min(5.0, seconds), total=seconds),
                **_content(body, fields, multipart=files is not None),
            )
            try:
                return Answer(
                    response.status,
                    {name.lower(): value for name, value in response.headers.items()},
                    self._read(response, deadline),
                )
            finally:
                response.close()
        except (NewConnectionError, ConnectTimeoutError, SSLError) as error:
            raise NotSent(f"{_place(url)} cannot be reached: {describe_failure(error)}") from error
        except (HTTPError, OSError) as error:
            raise NoAnswer(f"{_place(url)} gave no whole answer: {describe_failure(error)}") from error

    def _read(self, response: urllib3.BaseHTTPResponse, deadline: float) -> bytes:
        body = bytearray()
        while chunk := response.read1(_CHUNK, decode_content=True):
            body += chunk
            if len(body) > self._size_limit:
                raise NoAnswer(f"the answer is larger than {self._size_limit // 2**20} MiB")
            if time.monotonic() > deadline:
                raise NoAnswer("the answer was not complete in time")
        stated = response.headers.get("content-length")
        plain = stated and stated.isdecimal() and not response.headers.get("content-encoding")
        if stated and plain and len(body) < int(stated):
            raise NoAnswer(f"the answer broke off after {len(body)} of {stated} bytes")
        return bytes(body)


def _content(body: bytes | None, fields: dict[str, Any] | None, *, multipart: bool) -> dict[str, Any]:
    if fields is not None:
        return {"fields": fields, "encode_multipart": multipart}
    return {} if body is None else {"body": body}


def is_safe(url: str) -> bool:
    """Whether a secret may be sent to an address: encrypted, or not leaving this machine."""
    parts = split_address(url)
    return parts.scheme == "https" or is_here(parts)


def _place(url: str) -> str:
    """An address without its query, in which signatures are."""
    return url.partition("?")[0]
