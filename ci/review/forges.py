"""Access to GitLab and GitHub by their APIs: our comment on a request, which is edited in place, issues and releases."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar
from urllib.parse import quote, urlsplit

from tenacity import wait_exponential

from ci.cli.exits import WrongUse
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.http import Answer, HttpClient, NoAnswer, NotSent, is_safe
from reconciler.outside.retries import MayPass, retry

SECONDS = 30.0
"""The longest time, in seconds, that one answer of a forge may take."""
ATTEMPTS = 4
PAGES = 200
"""The largest number of pages of a list that are read. A page has a hundred entries."""

_NEXT = re.compile(r'<([^<>]+)>;[^,]*rel="next"')


@dataclass(frozen=True, slots=True)
class ForgePlace:
    """A project of a forge, by the forge's address and its id or path. `number` is that of a request in it (0: none)."""

    address: str
    project: str
    number: int = 0


class Answered(Exception):
    """A forge answered with an error."""

    def __init__(self, status: int, said: str) -> None:
        super().__init__(said)
        self.status, self.said = status, said


class Forge:
    """One project of one forge, or a request in it. Subclasses state the details of a forge's API.

    Requests without a token are anonymous.

    Raises:
        WrongUse: the token would be sent unencrypted to another machine.
    """

    request: str
    """The forge's word for a request."""
    prefix: str
    """The path of the API below the forge's address."""
    edit: str
    """The HTTP method that changes a comment."""
    headers: ClassVar[Mapping[str, str]]
    """The headers that carry the token."""
    author: str
    """The key of a comment's author."""
    name: str
    """The key of a person's name."""
    robot: str | None = None
    """The name to use if a pipeline's own token must not ask for it."""
    projects: str
    """The path of the projects."""
    safe: str
    """The characters that are not quoted when the project stands in a path."""
    comments: str
    """The path of a request's comments, below its project's."""
    comment: str
    """The path of one comment."""
    text: str
    """The key of an issue's text."""
    page: str
    """The key of an issue's address for people."""
    release: str
    """The path of the release of a tag, below its project's."""
    commit: str
    """The key that says of what a new release makes its tag."""

    def __init__(self, place: ForgePlace, token: str, pause: Callable[[float], None] = time.sleep) -> None:
        try:
            safe = is_safe(place.address)
        except ValueError as error:
            raise WrongUse(str(error)) from error
        if not safe:
            raise WrongUse(f"a token is not sent to {place.address}: it is not https")
        self.place = place
        self._token, self._pause = token, pause
        self._client = HttpClient()

    def post(self, text: str, marker: str) -> str:
        """Posts a comment, or edits our comment that begins with `marker`. Returns `posted` or `edited`.

        It is tried again if that may help. If a comment was written and the answer was lost, it is found and edited.

        Raises:
            WrongUse: the forge refuses the token, or has no such request.
            SourceUnavailable: the forge does not answer, or not as its API says.
        """
        where = f"{self.request} {self.place.number} of {self.place.project} at {self.place.address}"
        return self._insist(where, "comment on", lambda: self._write(text, marker))

    def open_issue(self, title: str, text: str, marker: str) -> str:
        """Opens an issue, unless one of ours has the text that begins with `marker`. Returns its address for people.

        It is tried again if that may help. If an issue was opened and the answer was lost, it is found.

        Raises:
            WrongUse: the forge refuses the token, or has no such project.
            SourceUnavailable: the forge does not answer, or not as its API says.
        """
        where = f"the project {self.place.project} at {self.place.address}"
        return self._insist(where, "open issues in", lambda: self._find_or_open(title, text, marker))

    def find_release(self, tag: str, text: str) -> str | None:
        """The address for people of the release of a tag, which has this text; None if the tag has none.

        Raises:
            WrongUse: the release has another text, or the forge refuses the token.
            SourceUnavailable: the forge does not answer, or not as its API says.
        """
        return self._insist(self._where(tag), "read", lambda: self._find_release(tag, text)) or None

    def open_release(self, tag: str, title: str, text: str, branch: str) -> str:
        """Opens a release of a tag, which is made of a branch if it is not there. Returns its address for people.

        It is tried again if that may help. If it was opened and the answer was lost, it is found.

        Raises:
            WrongUse: the release has another text, or the forge refuses the token, or has no such project or branch.
            SourceUnavailable: the forge does not answer, or not as its API says.
        """

        def work() -> str:
            about = {"tag_name": tag, "name": title, self.text: text, self.commit: branch}
            if not (found := self._find_release(tag, text)):
                self.ask("POST", f"{self.path}/releases", about)
                found = self._find_release(tag, text)
            return found

        found = self._insist(self._where(tag), "open", work)
        if not found:
            raise SourceUnavailable(f"{self.place.address} took the release {tag}, and does not show it")
        return found

    def _where(self, tag: str) -> str:
        return f"the release {tag} of {self.place.project} at {self.place.address}"

    def _find_release(self, tag: str, text: str) -> str:
        """The address of a release; empty if there is none. Forges change blanks and ends of lines of a text."""
        try:
            found = self.ask("GET", self.path + self.release.format(tag=quote(tag, safe=""))).read_json()
        except Answered as answer:
            if answer.status != 404:
                raise
            return ""
        if str(found[self.text] or "").split() != text.split():
            raise WrongUse(f"{self._where(tag)} has another text; it stays as it is")
        return str(found[self.page] if self.page in found else found["_links"]["self"])

    def _insist(self, where: str, may: str, work: Callable[[], str]) -> str:
        """What `work` returns, tried again where that may help; `may` says what the token must be allowed to do."""
        insist = retry(ATTEMPTS, wait_exponential(multiplier=2), self._pause, self._try)
        try:
            return insist(where, may, work)
        except MayPass as error:
            raise SourceUnavailable(str(error)) from error

    def _try(self, where: str, may: str, work: Callable[[], str]) -> str:
        try:
            return work()
        except Answered as answer:
            said = " ".join(answer.said.split())[:200]
            if answer.status in (401, 403):
                raise WrongUse(f"the token may not {may} {where} ({answer.status}): {said}") from answer
            if answer.status == 404:
                raise WrongUse(f"there is no {where}, or the token may not see it") from answer
            if 400 <= answer.status < 500 and answer.status != 429:
                raise WrongUse(f"{where} was refused ({answer.status}): {said}") from answer
            raise MayPass(f"{where}: the forge answered {answer.status}: {said}") from answer
        except (NotSent, NoAnswer) as error:
            raise MayPass(f"{where}: the forge does not answer: {error}") from error
        except (LookupError, TypeError, AttributeError) as error:
            raise MayPass(f"{where}: the forge answers with something else than its API") from error

    def _write(self, text: str, marker: str) -> str:
        me = self._find_name()
        comments = self.path + self.comments.format(number=self.place.number)
        for one in self.list_all(comments):
            if str(one["body"] or "").startswith(marker) and one[self.author][self.name] == me:
                if one["body"] != text:
                    comment = self.path + self.comment.format(number=self.place.number, id=int(one["id"]))
                    self.ask(self.edit, comment, {"body": text})
                return "edited"
        self.ask("POST", comments, {"body": text})
        return "posted"

    def _find_or_open(self, title: str, text: str, marker: str) -> str:
        me = self._find_name()
        issues = f"{self.path}/issues"
        for one in self.list_all(f"{issues}?state=all"):
            if str(one[self.text] or "").startswith(marker) and one[self.author][self.name] == me:
                return str(one[self.page])
        opened = self.ask("POST", issues, {"title": title, self.text: text}).read_json()
        return str(opened[self.page])

    def list_all(self, path: str, key: str | None = None) -> Iterator[Mapping[str, Any]]:
        """The entries of all pages of a list. `key` is where a page has its entries; None: the page is the list.

        Raises:
            Answered: the forge refuses it.
            NoAnswer, NotSent: the forge does not answer, or the list has no end.
        """
        url = f"{path}{'&' if '?' in path else '?'}per_page=100"
        for _ in range(PAGES):
            answer = self.ask("GET", url)
            page = answer.read_json()
            yield from page if key is None else page[key]
            following = _NEXT.search(answer.headers.get("link", ""))
            if following is None:
                return
            url = following[1]
            if urlsplit(url)[:2] != urlsplit(self.place.address)[:2]:
                raise NoAnswer("the next page is at another address, where no token is sent")
        raise NoAnswer(f"there are more than {PAGES * 100} of them")

    def ask(self, method: str, url: str, data: Any = None) -> Answer:
        """The answer to one request. `url` is complete, or a path below the API.

        Raises:
            Answered: the forge refuses it.
            NoAnswer, NotSent: the forge does not answer.
        """
        if url.startswith("/"):
            url = f"{self.place.address.rstrip('/')}{self.prefix}{url}"
        token = self._token
        headers = {name: value.format(token=token) for name, value in self.headers.items()} if token else None
        answer = self._client.send(method, url, SECONDS, headers=headers, data=data)
        if not 200 <= answer.status < 300:
            raise Answered(answer.status, _find_message(answer))
        return answer

    def _find_name(self) -> str:
        """The name of the token's owner at the forge."""
        try:
            return str(self.ask("GET", "/user").read_json()[self.name])
        except Answered as answer:
            if answer.status != 403 or self.robot is None:
                raise
            return self.robot

    @property
    def path(self) -> str:
        """The path of the project in the API."""
        return f"{self.projects}/{quote(self.place.project, safe=self.safe)}"


class GitLab(Forge):
    """A project of GitLab, or a merge request in it."""

    request, prefix, edit = "merge request", "/api/v4", "PUT"
    headers: ClassVar = {"PRIVATE-TOKEN": "{token}"}
    author, name = "author", "username"
    projects, safe = "/projects", ""
    comments = "/merge_requests/{number}/notes"
    comment = comments + "/{id}"
    text, page = "description", "web_url"
    release, commit = "/releases/{tag}", "ref"


class GitHub(Forge):
    """A repository of GitHub, or a pull request in it. The API treats its comments as those of an issue."""

    request, prefix, edit = "pull request", "", "PATCH"
    headers: ClassVar = {"Authorization": "Bearer {token}", "Accept": "application/vnd.github+json"}
    author, name = "user", "login"
    robot = "github-actions[bot]"
    projects, safe = "/repos", "/"
    comments, comment = "/issues/{number}/comments", "/issues/comments/{id}"
    text, page = "body", "html_url"
    release, commit = "/releases/tags/{tag}", "target_commitish"


def _find_message(answer: Answer) -> str:
    """The forge's message in an answer that is an error."""
    try:
        return str(answer.read_json()["message"])
    except (NoAnswer, LookupError, TypeError):
        return answer.body[:200].decode(errors="replace")
