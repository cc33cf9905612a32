"""DiracX: grid jobs over its HTTP API, each with a sandbox of its own that brings what it needs and what it leaves.

The service keeps no name unique, and does not tell a job that is not there from another's: so jobs are searched by
name before they are adopted, and only a search that is complete says that one is absent. Measured on 0.7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from reconciler.engines.diracx.client import Busy, Client, Declined
from reconciler.engines.diracx.credentials import NoToken
from reconciler.engines.diracx.jdl import UnwritableJdl, write_jdl
from reconciler.engines.diracx.jobs import (
    ERRORS,
    LIVE,
    LOG,
    NAME_LENGTH,
    NotSendable,
    describe,
    observe,
    read_files,
    withholds,
    write_failure,
)
from reconciler.engines.diracx.sandbox import LIMIT, Broken, pack, unpack
from reconciler.engines.diracx.settings import read_settings
from reconciler.engines.results import RESULT
from reconciler.ledger.writing.lease import PROMPT
from reconciler.model.engine import (
    Accepted,
    Answer,
    Batch,
    Complaint,
    Deferred,
    EngineUnavailable,
    JobHandle,
    Observation,
    Refused,
    Sighting,
    Uncertain,
    doubt_reference,
)
from reconciler.model.states import FailureClass
from reconciler.outside.command import Deadline
from reconciler.outside.http import NoAnswer, NotSent
from schemas.policy.site import Site

MOST = 20
"""Jobs that one call may submit."""

_REFERENCE = re.compile(r"[1-9][0-9]{0,17}")


class DiracxEngine:
    """Submits to one service as one user; `seconds` is what any of its calls may take."""

    shared = False
    attached = False
    width = MOST
    visibility = timedelta(seconds=30)

    def __init__(self, site: Site, seconds: float = PROMPT) -> None:
        self._site, self._settings, self._seconds = site, read_settings(site), seconds
        self.slots = site.slots or 1000
        self._client: Client | None = None

    @property
    def renewal(self) -> str:
        """The login of DIRAC, where the credential is a file of tokens."""
        settings = self._settings
        if not settings.token:
            return "renew the credential"
        return f"as {settings.user}, say `dirac login {settings.vo} --group {settings.group}`"

    def __repr__(self) -> str:
        return f"DiracxEngine({self._settings.url!r})"

    def submit(self, batch: Batch) -> Sequence[Answer]:
        """A sandbox for each, and one call for all; where that is refused for one of them, one call for each.

        What fails before anything was ordered is uncertain too: a refusal would count against attempts that did
        nothing wrong, and a search will soon tell that they are not there.
        """
        deadline, storing = Deadline(self._seconds), Deadline(0.7 * self._seconds)
        answers: dict[str, Answer] = {}
        descriptions: dict[str, str] = {}
        for handle in batch.handles:
            try:
                descriptions[handle.name] = self._prepare(handle, storing)
            except (NotSendable, UnwritableJdl) as error:
                answers[handle.name] = Refused(str(error), FailureClass.PERMANENT)
            except Declined as error:
                answers[handle.name] = _refuse(error)
            except Busy as error:  # nor will it take the others
                rest = [one.name for one in batch.handles if one.name not in {*answers, *descriptions}]
                answers |= dict.fromkeys(rest, Deferred(str(error), pause=error.pause))
                break
            except (NoToken, NotSent, NoAnswer) as error:
                answers[handle.name] = Uncertain(f"not ordered: {error}")
        answers |= self._order(descriptions, deadline)
        return [answers[handle.name] for handle in batch.handles]

    def find(self, handles: Sequence[JobHandle]) -> Mapping[str, Sequence[str]]:
        """By their names, in one search."""
        found: dict[str, list[str]] = {handle.name: [] for handle in handles}
        if found:
            with _speaking():
                for row in self._reach().search("JobName", sorted(found), Deadline(self._seconds)):
                    found[row["JobName"]].append(str(row["JobID"]))
        return found

    def query(self, handles: Sequence[JobHandle]) -> Mapping[str, Observation]:
        """By their ids, in one search."""
        if not handles:
            return {}
        with _speaking():
            deadline = Deadline(self._seconds)
            rows = self._search(handles, deadline)
            lacking = {
                one.name for one in handles if _is_reference(one.reference) and one.reference not in rows
            }
            # an answer that is empty for another reason is whole, too: two questions have to say the same
            named = {
                str(row["JobName"]) for row in self._reach().search("JobName", sorted(lacking), deadline)
            }
        seen = {}
        for handle in handles:
            row = rows.get(handle.reference or "")
            if not _is_reference(handle.reference):
                seen[handle.name] = doubt_reference(handle)
            elif row is None and handle.name in named:
                words = f"DiracX has a job of this name, and none of the id {handle.reference}"
                seen[handle.name] = Observation(Sighting.UNKNOWN, words)
            elif row is None:
                seen[handle.name] = Observation(Sighting.ABSENT, "DiracX does not list it")
            elif row["JobName"] != handle.name:
                words = f"job {handle.reference} is called {row['JobName']}"
                seen[handle.name] = Observation(Sighting.UNKNOWN, words)
            else:
                seen[handle.name] = observe(row)
        return seen

    def cancel(self, handles: Sequence[JobHandle]) -> None:
        """Asks for those that are listed under their names and have not ended: one that is not would stop the call."""
        if not handles:
            return
        deadline = Deadline(self._seconds)
        with _speaking():
            rows = self._search(handles, deadline)
            live = [
                int(row["JobID"])
                for handle in handles
                if (row := rows.get(handle.reference or "")) is not None
                and row["JobName"] == handle.name
                and observe(row).sighting is not Sighting.ENDED
            ]
            if live:
                self._kill(live, deadline)

    def fetch(self, handle: JobHandle) -> None:
        """Brings the output sandbox; not the result of a job that is Done while its application failed."""
        deadline = Deadline(self._seconds)
        with _speaking():
            client = self._reach()
            row = self._search([handle], deadline).get(handle.reference or "")
            if row is None or row["JobName"] != handle.name:
                raise EngineUnavailable(f"DiracX does not list job {handle.reference} as {handle.name}")
            try:
                try:
                    for name in client.list_outputs(int(row["JobID"]), deadline):
                        unpack(
                            client.load(name, deadline), handle.folder, RESULT, without_last=withholds(row)
                        )
                    _join_logs(handle)
                except Broken as error:
                    if observe(row).failure is None:
                        write_failure(handle, str(error))
            except OSError as error:
                raise EngineUnavailable(f"{handle.folder} cannot be written: {error.strerror}") from error

    def list_names(self, prefix: str) -> Mapping[str, str]:
        """Of all jobs of the user."""
        with _speaking():
            rows = self._reach().list_begun(prefix, LIVE, Deadline(self._seconds))
        return {str(row["JobName"]): str(row["JobID"]) for row in rows}

    def lifetime(self) -> timedelta | None:
        """How long tokens can be renewed without a person."""
        with _speaking():
            return self._reach().credentials.find_lifetime(self._seconds)

    def examine(self) -> Sequence[Complaint]:
        """Whether a token can be had, and whether it may search."""
        try:
            deadline = Deadline(self._seconds)
            self._reach().credentials.find_access(deadline.left(0.5))
            self._reach().search("JobID", [0], deadline)
        except NoToken as error:
            return [Complaint(str(error), "renew or correct the credential, as the message says")]
        except Declined as error:
            group = f"{self._settings.vo}/{self._settings.group}"
            return [Complaint(str(error), f"ask the grid's administrators what the group {group} may do")]
        except (NotSent, NoAnswer) as error:
            return [
                Complaint(str(error), "hold `diracx.url` of the site's file against the grid's documentation")
            ]
        return []

    def _reach(self) -> Client:
        if self._client is None:
            self._client = Client(self._settings)
        return self._client

    def _prepare(self, handle: JobHandle, deadline: Deadline) -> str:
        """The description of an attempt's job, once its sandbox is stored."""
        if len(handle.name) > NAME_LENGTH:
            raise NotSendable(f"{handle.name} has {len(handle.name)} characters; DIRAC keeps {NAME_LENGTH}")
        files, job = read_files(handle, mounted=self._settings.mounted)
        archive = pack(files)
        if len(archive.content) > LIMIT:
            raise NotSendable(f"its files take {len(archive.content)} bytes; a sandbox has {LIMIT} at most")
        write_jdl(describe(handle, job, "none", self._site))  # what cannot be described is not stored either
        return write_jdl(describe(handle, job, self._reach().store(archive, deadline), self._site))

    def _order(self, descriptions: Mapping[str, str], deadline: Deadline) -> dict[str, Answer]:
        names = list(descriptions)
        answers: dict[str, Answer] = {}
        for start in range(0, len(names), MOST):
            some = {name: descriptions[name] for name in names[start : start + MOST]}
            try:
                answers |= self._order_together(some, deadline)
            except Declined as error:
                if error.status != 400 or len(some) == 1:
                    answers |= dict.fromkeys(some, _refuse(error))
                    continue
                # none was taken: one of them is refused, and the message does not tell which
                for name, description in some.items():
                    try:
                        answers |= self._order_together({name: description}, deadline)
                    except Declined as single:
                        answers[name] = _refuse(single)
        return answers

    def _order_together(self, descriptions: Mapping[str, str], deadline: Deadline) -> dict[str, Answer]:
        """Raises Declined where the service refused them as a whole."""
        try:
            answer = self._reach().ask("POST", "jobs/jdl", deadline, list(descriptions.values()))
            numbers = _read_numbers(answer.read_json(), len(descriptions))
        except (NoToken, NotSent) as error:
            return dict.fromkeys(descriptions, Uncertain(f"not ordered: {error}"))
        except Busy as error:
            return dict.fromkeys(descriptions, Uncertain(str(error), busy=True, pause=error.pause))
        except NoAnswer as error:
            return dict.fromkeys(descriptions, Uncertain(str(error)))
        return {name: Accepted(str(number)) for name, number in zip(descriptions, numbers, strict=True)}

    def _search(self, handles: Sequence[JobHandle], deadline: Deadline) -> dict[str, Mapping[str, Any]]:
        numbers = {int(one.reference or 0) for one in handles if _is_reference(one.reference)}
        rows = self._reach().search("JobID", sorted(numbers), deadline) if numbers else []
        return {str(row["JobID"]): row for row in rows}

    def _kill(self, numbers: Sequence[int], deadline: Deadline) -> None:
        """A change that is stamped earlier than the last one is dropped in silence: so by the service's clock."""
        client = self._reach()
        clock = client.ask("GET", "health/ready", deadline).time or datetime.now(UTC)
        stamp = (max(clock, datetime.now(UTC)) + timedelta(seconds=1)).isoformat()
        status = {"Status": "Killed", "MinorStatus": "Marked for termination", "Source": "b2prod"}
        try:
            client.ask("PATCH", "jobs/status", deadline, {str(number): {stamp: status} for number in numbers})
        except Declined as error:
            raise EngineUnavailable(
                f"{error}; jobs that are another's, or gone, stop the whole call"
            ) from error


def _is_reference(reference: str | None) -> bool:
    return _REFERENCE.fullmatch(reference or "") is not None


def _read_numbers(reply: Any, count: int) -> list[int]:
    """The ids of jobs that were taken."""
    try:
        numbers = [row["JobID"] for row in reply]
    except (LookupError, TypeError) as error:
        raise NoAnswer("something strange came back instead of ids") from error
    if not all(type(number) is int and _is_reference(str(number)) for number in numbers):
        raise NoAnswer(f"ids came back that are none: {str(numbers)[:100]}")
    if len(set(numbers)) != count or len(numbers) != count:
        raise NoAnswer(f"{len(numbers)} ids came back for {count} jobs")
    return numbers


def _refuse(error: Declined) -> Answer:
    """What the service refused by its own word; only a description that it cannot read is the attempt's fault."""
    if error.status in {400, 413, 422}:
        return Refused(str(error), FailureClass.PERMANENT)
    return Uncertain(f"not ordered: {error}")


def _join_logs(handle: JobHandle) -> None:
    """What the job wrote to its two streams, as one log."""
    errors = handle.folder / ERRORS
    if errors.exists():
        with (handle.folder / LOG).open("ab") as log:
            log.write(errors.read_bytes())
        errors.unlink()


@contextmanager
def _speaking() -> Iterator[None]:
    """Whatever is not a whole answer is none."""
    try:
        yield
    except (NoToken, NotSent, NoAnswer, Declined) as error:
        raise EngineUnavailable(str(error), getattr(error, "pause", None)) from error
