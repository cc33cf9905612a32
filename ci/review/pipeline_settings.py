"""What a forge's settings let pipelines do on the production host: the questions, and how their answers are judged.

Each question is asked by itself: what a token may not see is unknown, and says nothing of the others. Values of variables,
which the forge sends along, are dropped unread.
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
"""Variables that say what a pipeline does, and give no right."""

State = Literal["fine", "note", "wrong", "unknown"]

DOCS = "docs/service.md, pipeline mode"
OURS = "B2PROD_"
OF_REPOSITORY = (
    "the pipeline file is one of the repository itself: whoever merges a change of it runs what they like on the production"
    " host, as the runner's user"
)


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting of a forge: what was looked at, how it is, and, where it is not fine, what is wrong and what to do."""

    looked_at: str
    state: State
    what: str = ""
    remedy: str = ""


Question = Callable[[str], list[Setting]]
"""What finds the settings of which something is to be said; it gets what is looked at, in words."""

_FAULTS = (Answered, NotSent, NoAnswer, LookupError, TypeError, AttributeError, ValueError)
"""How a forge refuses a question, or answers with something that is not of its API."""


class SettingsCheck(ABC):
    """The settings of one project."""

    def __init__(self, forge: Forge) -> None:
        self.forge = forge

    def look(self) -> tuple[Setting, ...]:
        """All settings, in the order of docs/service.md.

        Raises:
            WrongUse: the forge refuses the token, or has no such project.
            SourceUnavailable: it does not answer, or not sensibly.
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
        """The answer to a question about the project; None where there is no such thing.

        With `absent`, that is so only where the forge says exactly this.
        """
        try:
            return self.forge.ask("GET", f"{self.forge.path}{path}").read_json()
        except Answered as answer:
            if answer.status == 404 and absent in (None, answer.said):
                return None
            raise

    @abstractmethod
    def questions(self, project: Mapping[str, Any], branch: str) -> Mapping[str, Question]:
        """What is looked at in a project with this default branch, in words → what looks at it."""


def judge(looked_at: str, *objections: tuple[bool, State, str, str]) -> list[Setting]:
    """The objections that hold, each with its state, what is wrong and what to do; one that says `fine` where none does."""
    found = [Setting(looked_at, state, what, remedy) for holds, state, what, remedy in objections if holds]
    return found or [Setting(looked_at, "fine")]


def hide(looked_at: str, why: str) -> Setting:
    """A setting of which nothing is known, and why."""
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
