"""Tokens of DiracX: where they come from, and how long they are valid. No message shows a token.

They come from a file that `dirac login` wrote, or from an API key of a service account. The tokens of a file are renewed
in place, under the lock of DIRAC's own commands: if a refresh token is used twice, the service revokes all tokens.
"""

from __future__ import annotations

import base64
import fcntl
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, TextIO
from urllib.parse import urlencode

from reconciler.engines.diracx.settings import DiracxSettings
from reconciler.outside.http import Answer, HttpClient, NoAnswer, is_safe, is_token

CLIENT = "myDIRACClientID"
"""The name under which DIRAC's public clients are known to its services."""

MARGIN = 60.0
"""A token counts as expired so many seconds before its end."""

LAST = 2.0**36
"""No token ends later than this, in seconds since 1970: some 2,000 years."""

PATIENCE = 5.0
"""Seconds to wait for a file of tokens that another process has locked."""


class NoToken(Exception):
    """There is no token; the text says why and what to do, and shows no secret."""


@dataclass(frozen=True, slots=True, repr=False)
class Tokens:
    """An access token, and when it and its refresh token (if any) end, in seconds since 1970."""

    access: str
    ends: float
    refresh_ends: float | None


class Credentials:
    """Access tokens of one user in one group, which the site's file names.

    Raises:
        NoToken: tokens would leave this machine unencrypted.
    """

    def __init__(
        self, settings: DiracxSettings, service: HttpClient, clock: Callable[[], float] = time.time
    ) -> None:
        if not is_safe(settings.url):
            raise NoToken(f"tokens are not sent to {settings.url}: it is not https")
        self._settings, self._service, self._clock = settings, service, clock
        self._tokens: Tokens | None = None
        self._refused: str | None = None

    def forget(self) -> None:
        """Notes that the service refuses the token, so that `find_access` returns another one."""
        if self._tokens is not None:
            self._refused, self._tokens = self._tokens.access, None

    def find_access(self, seconds: float) -> str:
        """A token that is valid for at least `MARGIN` seconds.

        Raises:
            NoToken: there is no token.
            NotSent, NoAnswer: the service cannot give one now.
        """
        if self._tokens is None or self._tokens.ends - self._clock() < MARGIN:
            self._tokens = self._exchange(seconds) if self._settings.key else self._read_file(seconds)
        return self._tokens.access

    def find_lifetime(self, seconds: float) -> timedelta | None:
        """How long tokens can be renewed without a person; None if there is no end, as with an API key.

        Raises:
            NoToken, NotSent, NoAnswer: as for `find_access`.
        """
        self.find_access(seconds)
        assert self._tokens is not None
        if self._settings.key:
            return None
        ends = self._tokens.ends if self._tokens.refresh_ends is None else self._tokens.refresh_ends
        return timedelta(seconds=max(0.0, ends - self._clock()))

    def _exchange(self, seconds: float) -> Tokens:
        settings = self._settings
        assert settings.key is not None
        with _secret_file(Path(settings.key)) as stream:
            key = stream.read().strip()
        if not is_token(key):
            raise NoToken(f"{settings.key} does not hold an API key")
        scope = f"vo:{settings.vo} group:{settings.group}"
        query = urlencode({"preferred_username": settings.user, "scope": scope})
        answer = self._service.send(
            "GET",
            f"{settings.url}/api/auth/legacy-exchange?{query}",
            seconds,
            headers={"Authorization": f"Bearer {key}"},
        )
        return self._accept(answer, f"the API key in {settings.key}")[0]

    def _read_file(self, seconds: float) -> Tokens:
        settings = self._settings
        assert settings.token is not None
        advice = f"run `dirac login {settings.vo} --group {settings.group}` as {settings.user}"
        with _secret_file(Path(settings.token), advice) as stream:
            try:
                data = json.load(stream)
                access, ends = str(data["access_token"]), _read_seconds(data["expires_on"])
                refresh = data.get("refresh_token")
            except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
                raise NoToken(f"{settings.token} does not hold DIRAC's tokens; {advice}") from error
            if ends - self._clock() >= MARGIN and access != self._refused:
                self._check_owner(access)
                return Tokens(access, ends, _read_end(refresh))
            if not isinstance(refresh, str) or (_read_end(refresh) or 0.0) <= self._clock():
                raise NoToken(f"the tokens in {settings.token} have run out; {advice}")
            form = {"grant_type": "refresh_token", "refresh_token": refresh, "client_id": CLIENT}
            answer = self._service.send("POST", f"{settings.url}/api/auth/token", seconds, form=form)
            tokens, reply = self._accept(answer, f"the tokens in {settings.token}")
            renewed = {
                "access_token": tokens.access,
                "refresh_token": reply.get("refresh_token") or refresh,
                "expires_on": int(tokens.ends),
            }
            _rewrite(stream, json.dumps(renewed))
            return tokens

    def _accept(self, answer: Answer, whence: str) -> tuple[Tokens, Mapping[str, Any]]:
        if answer.status >= 500 or answer.status in {408, 429}:
            raise NoAnswer(f"no token can be had now: the service answers {answer.status}")
        if answer.status != 200:
            said = answer.find_detail() or f"status {answer.status}"
            raise NoToken(f"the service does not take {whence} for {self._settings.user}: {said}")
        reply = answer.read_json()
        try:
            access, seconds = str(reply["access_token"]), _read_seconds(reply["expires_in"])
        except (LookupError, TypeError, ValueError, OverflowError) as error:
            raise NoAnswer("the service's answer holds no token") from error
        if not is_token(access):
            raise NoAnswer("the service's answer holds a token that no header may hold")
        self._check_owner(access)
        return Tokens(access, self._clock() + seconds, _read_end(reply.get("refresh_token"))), reply

    def _check_owner(self, access: str) -> None:
        """Refuses a token of another user: with it, all our jobs would seem to be absent."""
        settings = self._settings
        claims = _read_claims(access)
        is_of = claims.get("preferred_username"), claims.get("vo"), claims.get("dirac_group")
        wanted = settings.user, settings.vo, settings.group
        if is_of != wanted:
            shown = "/".join(str(word)[:40] for word in is_of)
            raise NoToken(f"the token is of {shown}; the site's file says {'/'.join(wanted)}")


@contextmanager
def _secret_file(file: Path, advice: str = "write it there") -> Iterator[TextIO]:
    """A file of tokens, open and locked; only its owner may be able to read it."""
    try:
        with file.open("r+", encoding="utf-8") as stream:
            mode = os.fstat(stream.fileno()).st_mode & 0o077
            if mode:
                raise NoToken(f"others can read {file}; say `chmod 600 {file}`, and renew what is in it")
            _lock(stream)
            yield stream
    except OSError as error:
        raise NoToken(f"{file} cannot be read: {error.strerror}; {advice}") from error
    except UnicodeDecodeError as error:
        raise NoToken(f"{file} is not text; {advice}") from error


def _lock(stream: TextIO) -> None:
    deadline = time.monotonic() + PATIENCE
    while True:
        try:
            return fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                what = f"has been locked by another process for {PATIENCE:g} s"
                raise NoAnswer(f"{stream.name} {what}") from None
            time.sleep(0.05)


def _rewrite(stream: TextIO, text: str) -> None:
    """Replaces the content of the locked file in place: after a rename the lock would be on the old file."""
    stream.seek(0)
    stream.truncate()
    stream.write(text)
    stream.flush()
    os.fsync(stream.fileno())


def _read_claims(token: object) -> Mapping[str, Any]:
    """The claims of a token, unverified: the service checks them, and we read the token's end and owner."""
    try:
        part = str(token).split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (IndexError, ValueError, RecursionError):
        return {}
    return claims if isinstance(claims, dict) else {}


def _read_end(token: object) -> float | None:
    try:
        return _read_seconds(_read_claims(token).get("exp"))
    except (TypeError, ValueError, OverflowError):
        return None


def _read_seconds(told: Any) -> float:
    """A number of seconds from 0 to `LAST`; raises TypeError, ValueError or OverflowError for anything else."""
    seconds = float(told)
    if not 0 <= seconds <= LAST:
        raise ValueError(f"{seconds} is no such time")
    return seconds
