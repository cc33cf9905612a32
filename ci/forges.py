"""Comments on merge requests of GitLab and pull requests of GitHub: one of ours, found by its first line, edited in place."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar
from urllib.parse import quote

from ci.exits import WrongUse
from reconciler.ledger.database import SourceUnavailable

SECONDS = 30
"""How long one answer of a forge is waited for."""
ATTEMPTS = 4
GITHUB_ROBOT = "github-actions[bot]"
"""Who a pipeline's own token is; it may not ask for its name."""

_Result = TypeVar("_Result")


@dataclass(frozen=True, slots=True)
class Place:
    """Where a comment goes: the forge's address, the project (an id or a path), and the number of the request."""

    address: str
    project: str
    number: int


class Forge(Protocol):
    """One forge."""

    def post(self, text: str, marker: str) -> str:
        """Puts the text there, in place of our comment that begins with `marker` if there is one; `edited` or `posted`.

        Raises:
            WrongUse: the forge refuses the token, or has no such request.
            SourceUnavailable: it does not answer, or not sensibly.
        """


class GitLab:
    """A merge request of GitLab."""

    def __init__(self, place: Place, token: str, pause: Callable[[float], None] = time.sleep) -> None:
        self._place, self._pause = place, pause
        self._gitlab = _import("gitlab")
        self._client = self._gitlab.Gitlab(
            place.address, private_token=token, timeout=SECONDS, retry_transient_errors=False
        )

    def post(self, text: str, marker: str) -> str:
        """As of `Forge`."""
        return _repeat(lambda: self._post(text, marker), self._judged, self._pause)

    def _post(self, text: str, marker: str) -> str:
        client, once = self._client, {"obey_rate_limit": False}  # waiting is done here, and is bounded
        project = quote(self._place.project, safe="")
        notes = f"/projects/{project}/merge_requests/{self._place.number}/notes"
        me = client.http_get("/user", **once)["username"]
        query = {"per_page": 100, "sort": "asc", "order_by": "created_at"}
        for note in client.http_list(notes, query, iterator=True, **once):
            if note["body"].startswith(marker) and note["author"]["username"] == me:
                if note["body"] != text:
                    client.http_put(f"{notes}/{int(note['id'])}", post_data={"body": text}, **once)
                return "edited"
        client.http_post(notes, post_data={"body": text}, **once)
        return "posted"

    @contextlib.contextmanager
    def _judged(self) -> Iterator[None]:
        with _judge(self._place, "merge request"):
            try:
                yield
            except self._gitlab.exceptions.GitlabHttpError as error:
                raise _Answered(error.response_code, str(error.error_message)) from error
            except self._gitlab.exceptions.GitlabError as error:
                raise _Answered(error.response_code, str(error.error_message)) from error


class GitHub:
    """A pull request of GitHub."""

    def __init__(self, place: Place, token: str, pause: Callable[[float], None] = time.sleep) -> None:
        self._place, self._pause = place, pause
        self._github = _import("github")
        self._client = self._github.Github(
            auth=self._github.Auth.Token(token),
            base_url=place.address,
            timeout=SECONDS,
            retry=None,
            per_page=100,
            lazy=True,
        )

    def post(self, text: str, marker: str) -> str:
        """As of `Forge`."""
        return _repeat(lambda: self._post(text, marker), self._judged, self._pause)

    def _post(self, text: str, marker: str) -> str:
        me = self._find_name()
        issue = self._client.get_repo(self._place.project).get_issue(self._place.number)
        for comment in issue.get_comments():
            if (comment.body or "").startswith(marker) and comment.user.login == me:
                if comment.body != text:
                    comment.edit(text)
                return "edited"
        issue.create_comment(text)
        return "posted"

    def _find_name(self) -> str:
        try:
            return str(self._client.get_user().login)
        except self._github.GithubException as error:
            if error.status != 403:
                raise
            return GITHUB_ROBOT

    @contextlib.contextmanager
    def _judged(self) -> Iterator[None]:
        with _judge(self._place, "pull request"):
            try:
                yield
            except self._github.GithubException as error:
                raise _Answered(error.status, str(error.data)) from error


class _Answered(Exception):
    """A forge answered with an error; `status` is None where it did not answer in HTTP."""

    def __init__(self, status: int | None, said: str) -> None:
        super().__init__(said)
        self.status, self.said = status, said


class _MayPass(Exception):
    """What another attempt may not meet."""


@contextlib.contextmanager
def _judge(place: Place, what: str) -> Iterator[None]:
    where = f"{what} {place.number} of {place.project} at {place.address}"
    try:
        yield
    except _Answered as answer:
        said = " ".join(answer.said.split())[:200]
        if answer.status in (401, 403):
            raise WrongUse(f"the token may not comment on {where} ({answer.status}): {said}") from answer
        if answer.status == 404:
            raise WrongUse(f"there is no {where}, or the token may not see it") from answer
        if answer.status is not None and 400 <= answer.status < 500 and answer.status != 429:
            raise WrongUse(f"{where} was refused ({answer.status}): {said}") from answer
        raise _MayPass(f"{where}: the forge answered {answer.status}: {said}") from answer
    except (OSError, ValueError) as error:  # no connection, a time-out, or what is no JSON
        raise _MayPass(f"{where}: the forge does not answer: {error}") from error


def _repeat(
    work: Callable[[], _Result],
    judged: Callable[[], contextlib.AbstractContextManager[None]],
    pause: Callable[[float], None],
) -> _Result:
    """Does it, again where that may help: a comment that was written though its answer was lost is found and edited."""
    reason: Exception | None = None
    for attempt in range(ATTEMPTS):
        if attempt:
            pause(2.0**attempt)
        try:
            with judged():
                return work()
        except _MayPass as error:
            reason = error
    raise SourceUnavailable(str(reason)) from reason


def _import(name: str) -> Any:
    try:
        return __import__(name)
    except ModuleNotFoundError as error:
        raise WrongUse("comments need the forges' libraries: install `b2prod[forges]`") from error
