"""What a forge's settings allow pipelines to do on the production host: the questions, and how answers are judged.

The questions are independent: if the token cannot see one setting, only that setting is unknown. The forge also sends values
of variables, which are dropped unread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from ci.cli.exits import WrongUse
from ci.review.forges import Answered, Forge
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.http import NoAnswer, NotSent
from schemas.yaml.scalars import show

RUNNER = "b2prod-production"
"""The tag or group of the runner on the production host."""
ENVIRONMENT = "production"
SWITCHES = ("B2PROD_LAUNCH", "B2PROD_COMMENTS")
"""Variables that control what a pipeline does, and give no rights."""

State = Literal["fine", "note", "wrong", "unknown"]

DOCS = "docs/service.md, pipeline mode"
OURS = "B2PROD_"
OF_REPOSITORY = (
    "the pipeline file is one of the repository itself: whoever merges a change of it runs what they like on the production"
    " host, as the runner's user"
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a forge: what was checked, its state, and, if it is not fine, what is wrong and what to do."""

    looked_at: str
    state: State
    what: str = ""
    remedy: str = ""


Question = Callable[[str], list[Setting]]
"""Checks one thing. It gets the words for what it checks, and returns the settings to report."""

_FAULTS = (Answered, NotSent, NoAnswer, LookupError, TypeError, AttributeError, ValueError)
"""The errors if a forge refuses a question, or answers with something that is not of its API."""


class SettingsCheck(ABC):
    """The settings of one project."""

    def __init__(self, forge: Forge) -> None:
        self.forge = forge

    def look(self) -> tuple[Setting, ...]:
        """All settings, in the order of docs/service.md.

        Raises:
            WrongUse: the forge refuses the token, or has no such project.
            SourceUnavailable: the forge does not answer, or not as its API says.
        """
        project = self._read_project()
        found: list[Setting] = []
        for looked_at, question in self.questions(project, str(project["default_branch"])).items():
            try:
                found += question(looked_at) or [Setting(looked_at, "fine")]
            except _FAULTS as error:
                found.append(hide(looked_at, tell_why(error)))
        return tuple(found)

    def _read_project(self) -> Mapping[str, Any]:
        where = f"{self.forge.place.project} at {self.forge.place.address}"
        try:
            project = self.forge.ask("GET", self.forge.path).read_json()
            str(project["default_branch"])
        except _FAULTS as error:
            status = error.status if isinstance(error, Answered) else 0
            if status == 401:
                raise WrongUse(f"{where}: the forge does not take the token") from error
            if status in (403, 404):
                raise WrongUse(f"there is no {where}, or the token may not see it") from error
            raise SourceUnavailable(f"{where}: {tell_why(error)}") from error
        assert isinstance(project, Mapping)
        return project

    def read(self, path: str, absent: str | None = None) -> Any:
        """The answer to a question about the project, or None if the forge answers 404.

        With `absent`, the result is None only if the forge's message is exactly this text.
        """
        try:
            return self.forge.ask("GET", f"{self.forge.path}{path}").read_json()
        except Answered as answer:
            if answer.status == 404 and absent in (None, answer.said):
                return None
            raise

    @abstractmethod
    def questions(self, project: Mapping[str, Any], branch: str) -> Mapping[str, Question]:
        """The checks of a project with this default branch: what is checked, in words → the function that checks it."""


def judge(looked_at: str, *objections: tuple[bool, State, str, str]) -> list[Setting]:
    """The settings of the objections that hold (holds, state, what is wrong, what to do), or one `fine` setting."""
    found = [Setting(looked_at, state, what, remedy) for holds, state, what, remedy in objections if holds]
    return found or [Setting(looked_at, "fine")]


def hide(looked_at: str, why: str) -> Setting:
    """An unknown setting, and why it is unknown."""
    return Setting(looked_at, "unknown", why, f"look yourself: {DOCS}")


def tell_why(error: Exception) -> str:
    """Why a question has no answer."""
    if isinstance(error, NotSent | NoAnswer):
        return f"the forge does not answer: {error}"
    if not isinstance(error, Answered):
        return "the forge answers with something else than its API"
    if error.status in (401, 403, 404):
        return f"the token may not see it ({error.status})"
    return f"the forge answered {error.status}: {show(' '.join(error.said.split()))}"
