"""What a forge's settings let pipelines do on the production host: the questions, and how their answers are judged.

Each question is asked by itself: what a token may not see is unknown, and says nothing of the others. Values of variables,
which the forge sends along, are dropped unread.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
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
    """One setting of a forge: what was looked at, how it is, and, where it is not fine, what is so and what to do."""

    looked_at: str
    state: State
    what: str = ""
    remedy: str = ""


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
        for looked_at, question in self.questions(project):
            try:
                found += question()
            except (Answered, NotSent, NoAnswer) as error:
                found.append(Setting(looked_at, "unknown", tell_why(error), f"look yourself: {DOCS}"))
            except (LookupError, TypeError, AttributeError, ValueError):
                what = "the forge answers with something else than its API"
                found.append(Setting(looked_at, "unknown", what, f"look yourself: {DOCS}"))
        return tuple(found)

    def _read_project(self) -> Mapping[str, Any]:
        where = f"{self.forge.place.project} at {self.forge.place.address}"
        try:
            project = self.forge.ask("GET", self.path()).read_json()
            str(project["default_branch"])
        except Answered as answer:
            if answer.status == 401:
                raise WrongUse(f"{where}: the forge does not take the token") from answer
            if answer.status in (403, 404):
                raise WrongUse(f"there is no {where}, or the token may not see it") from answer
            raise SourceUnavailable(f"{where}: {tell_why(answer)}") from answer
        except (NotSent, NoAnswer) as error:
            raise SourceUnavailable(f"{where}: {tell_why(error)}") from error
        except (LookupError, TypeError, AttributeError) as error:
            raise SourceUnavailable(f"{where}: the forge answers with something else than its API") from error
        assert isinstance(project, Mapping)
        return project

    def read(self, path: str) -> Any:
        """The answer to a question; None where there is no such thing."""
        try:
            return self.forge.ask("GET", path).read_json()
        except Answered as answer:
            if answer.status == 404:
                return None
            raise

    @abstractmethod
    def path(self) -> str:
        """The path of the project in the API."""

    @abstractmethod
    def questions(self, project: Mapping[str, Any]) -> Iterator[tuple[str, Callable[[], list[Setting]]]]:
        """What is looked at, each with what finds it."""


def judge(looked_at: str, *objections: tuple[bool, State, str, str]) -> list[Setting]:
    """The objections that hold, each with its state, what is so and what to do; one that says `fine` where none does."""
    found = [Setting(looked_at, state, what, remedy) for holds, state, what, remedy in objections if holds]
    return found or [Setting(looked_at, "fine")]


def tell_why(error: Exception) -> str:
    if not isinstance(error, Answered):
        return f"the forge does not answer: {error}"
    if error.status in (401, 403, 404):
        return f"the token may not see it ({error.status})"
    return f"the forge answered {error.status}: {show(' '.join(error.said.split()))}"
