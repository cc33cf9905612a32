"""Where readers are told of an edition: a release on a forge, and circles of people by mail and chat."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from ci.cli.exits import WrongUse
from ci.reports.notifications import Recipients, Send, send
from ci.review.forges import Forge
from reconciler.monitoring.notices import Message
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from schemas.manifest.dataset import DatasetName

AnswerT = TypeVar("AnswerT")


def name_tag(edition: DatasetName) -> str:
    """The tag of the release of an edition.

    >>> name_tag(DatasetName("preproc8", "cdst@adc0", "cdst", 2))
    'datasets/preproc8/cdst.adc0/cdst/2'
    """
    return f"datasets/{edition.dataset.replace('@', '.')}/{edition.edition}"


@dataclass(frozen=True, slots=True)
class ForgeRelease:
    """The release of an edition in a project of a forge. It can be looked for."""

    forge: Forge
    tag: str
    branch: str
    title: str
    text: str
    answers: bool = True

    @property
    def name(self) -> str:
        """The project."""
        return f"{self.forge.place.project} at {self.forge.place.address}"

    def find(self) -> str | None:
        """Its address; None if there is none."""
        return _refusing(lambda: self.forge.find_release(self.tag, self.text))

    def tell(self) -> str:
        """Opens it."""
        return _refusing(lambda: self.forge.open_release(self.tag, self.title, self.text, self.branch))


@dataclass(frozen=True, slots=True)
class PeopleToTell:
    """A circle of people, who get a mail or a message of a chat. Nobody can look whether they got it."""

    recipients: Recipients
    message: Message
    send: Send = send
    answers: bool = False

    @property
    def name(self) -> str:
        """The circle."""
        return f"the circle {self.recipients.circle.name}"

    def find(self) -> str | None:
        """None: it is not known."""
        return None

    def tell(self) -> str:
        """Sends it."""
        if not _refusing(lambda: self.send(self.recipients.urls, self.message)):
            raise SourceUnavailable(f"it did not arrive everywhere in {self.name}")
        return self.name


def _refusing(work: Callable[[], AnswerT]) -> AnswerT:
    """What `work` returns; if it is refused, nothing was done."""
    try:
        return work()
    except WrongUse as error:
        raise GuardRefused(str(error)) from error
