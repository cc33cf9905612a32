"""DiracX: grid jobs through its HTTP API; each job has its own sandboxes for the files that it needs and leaves.

Names are not unique in the service, and it answers the same for a missing job and for another user's job. So jobs are
searched by name before they are adopted, and only a complete search proves that a job is absent. Measured with 0.7.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cached_property
from typing import Any

from reconciler.engines.attempt_folders import RESULT
from reconciler.engines.diracx.client import Busy, Client, Declined
from reconciler.engines.diracx.credentials import NoToken
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
    write_jdl,
)
from reconciler.engines.diracx.sandbox import LIMIT, Broken, pack, unpack
from reconciler.engines.diracx.settings import read_settings
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
"""The most jobs that one call may submit."""

_REFERENCE = re.compile(r"[1-9][0-9]{0,17}")


class DiracxEngine:
    """Submits to one service as one user; `seconds` limits each of its calls."""

    shared = False
    attached = False
    width = MOST
    visibility = timedelta(seconds=30)

    def __init__(self, site: Site, seconds: float = PROMPT) -> None:
        self._site, self._settings, self._seconds = site, read_settings(site), seconds
        self.slots = site.slots or 1000

    @property
    def renewal(self) -> str:
        """The command that logs in to DIRAC, if the credential is a file of tokens; else general advice."""
        settings = self._settings
        if not settings.token:
            return "renew the credential"
        return f"as {settings.user}, say `dirac login {settings.vo} --group {settings.group}`"

    def submit(self, batch: Batch) -> Sequence[Answer]:
        """Stores a sandbox for each attempt, and submits up to `MOST` per call; if one is refused, each in its own call.

        A failure before the submission is also Uncertain: Refused would count against attempts that did nothing
        wrong, and a search soon shows that their jobs do not exist.
        """
        deadline, storing = Deadline(self._seconds), Deadline(0.7 * self._seconds)
        answers: dict[str, Answer] = {}
        descriptions: dict[str, str] = {}
        for handle in batch.handles:
            try:
                descriptions[handle.name] = self._prepare(handle, storing)
            except NotSendable as error:
                answers[handle.name] = Refused(str(error), FailureClass.PERMANENT)
            except Declined as error:
                answers[handle.name] = _refuse(error)
            except Busy as error:  # it will not take the others either
                rest = [one.name for one in batch.handles if one.name not in {*answers, *descriptions}]
                answers |= dict.fromkeys(rest, Deferred(str(error), pause=error.pause))
                break
            except (NoToken, NotSent, NoAnswer) as error:
                answers[handle.name] = Uncertain(f"not ordered: {error}")
        prepared = list(descriptions.items())
        for start in range(0, len(prepared), MOST):
            answers |= self._order(dict(prepared[start : start + MOST]), deadline)
        return [answers[handle.name] for handle in batch.handles]

    def find(self, handles: Sequence[JobHandle]) -> Mapping[str, Sequence[str]]:
        """Searches the attempts by name, in one search."""
        found: dict[str, list[str]] = {handle.name: [] for handle in handles}
        if found:
            with _speaking():
                for row in self._client.search("JobName", sorted(found), Deadline(self._seconds)):
                    found[row["JobName"]].append(str(row["JobID"]))
        return found

    def query(self, handles: Sequence[JobHandle]) -> Mapping[str, Observation]:
        """Searches the attempts by id, and by name those that are not found."""
        if not handles:
            return {}
        with _speaking():
            deadline = Deadline(self._seconds)
            rows = self._search(handles, deadline)
            lacking = {
                one.name for one in handles if _is_reference(one.reference) and one.reference not in rows
            }
            # an empty answer may have another reason: a job is absent only if both searches do not find it
            again = self._client.search("JobName", sorted(lacking), deadline)
        named = {row["JobName"] for row in again}
        return {
            one.name: _judge(one, rows.get(one.reference or ""), named=one.name in named) for one in handles
        }

    def cancel(self, handles: Sequence[JobHandle]) -> None:
        """Ends jobs that are listed under their names and have not ended: any other job would make the call fail."""
        if not handles:
            return
        deadline = Deadline(self._seconds)
        with _speaking():
            rows = self._search(handles, deadline)
            found = (_find_row(rows, handle) for handle in handles)
            live = [int(row["JobID"]) for row in found if row and observe(row).sighting is not Sighting.ENDED]
            if live:
                self._kill(live, deadline)

    def fetch(self, handle: JobHandle) -> None:
        """Brings the output sandboxes, without the result if the job is Done but its application failed."""
        deadline = Deadline(self._seconds)
        with _speaking():
            client = self._client
            row = _find_row(self._search([handle], deadline), handle)
            if row is None:
                raise EngineUnavailable(f"DiracX does not list job {handle.reference} as {handle.name}")
            try:
                try:
                    for name in client.list_outputs(int(row["JobID"]), deadline):
                        content = client.load(name, deadline)
                        unpack(content, handle.folder, RESULT, without_last=withholds(row))
                    _join_logs(handle)
                except Broken as error:
                    if observe(row).failure is None:
                        write_failure(handle, str(error))
            except OSError as error:
                raise EngineUnavailable(f"{handle.folder} cannot be written: {error.strerror}") from error

    def list_names(self, prefix: str) -> Mapping[str, str]:
        """Searches all jobs of the user."""
        with _speaking():
            rows = self._client.list_begun(prefix, LIVE, Deadline(self._seconds))
        return {str(row["JobName"]): str(row["JobID"]) for row in rows}

    def lifetime(self) -> timedelta | None:
        """How long tokens can be renewed without a person."""
        with _speaking():
            return self._client.credentials.find_lifetime(self._seconds)

    def examine(self) -> Sequence[Complaint]:
        """Checks that there is a token, and that it may search."""
        try:
            deadline = Deadline(self._seconds)
            self._client.credentials.find_access(deadline.left(0.5))
            self._client.search("JobID", [0], deadline)
        except NoToken as error:
            return [Complaint(str(error), "renew or correct the credential, as the message says")]
        except Declined as error:
            group = f"{self._settings.vo}/{self._settings.group}"
            return [Complaint(str(error), f"ask the grid's administrators what the group {group} may do")]
        except (NotSent, NoAnswer) as error:
            remedy = "compare `diracx.url` of the site's file with the grid's documentation"
            return [Complaint(str(error), remedy)]
        return []

    @cached_property
    def _client(self) -> Client:
        return Client(self._settings)

    def _prepare(self, handle: JobHandle, deadline: Deadline) -> str:
        """Stores the sandbox of an attempt's job, and returns the job's description."""
        if len(handle.name) > NAME_LENGTH:
            raise NotSendable(f"{handle.name} has {len(handle.name)} characters; DIRAC keeps {NAME_LENGTH}")
        files, job = read_files(handle, mounted=self._settings.mounted)
        archive = pack(files)
        if len(archive) > LIMIT:
            raise NotSendable(f"its files take {len(archive)} bytes; a sandbox has {LIMIT} at most")
        write_jdl(describe(handle, job, "none", self._site))  # fails before the sandbox is stored
        return write_jdl(describe(handle, job, self._client.store(archive, deadline), self._site))

    def _order(self, descriptions: Mapping[str, str], deadline: Deadline) -> dict[str, Answer]:
        """Submits jobs; the answers by name. The service refuses all jobs if one is bad: then each is submitted alone."""
        try:
            answer = self._client.ask("POST", "jobs/jdl", deadline, list(descriptions.values()))
            numbers = _read_numbers(answer.read_json(), len(descriptions))
        except Declined as error:
            if error.status != 400 or len(descriptions) == 1:
                return dict.fromkeys(descriptions, _refuse(error))
            alone = (self._order({name: one}, deadline) for name, one in descriptions.items())
            return {name: answered for answers in alone for name, answered in answers.items()}
        except (NoToken, NotSent) as error:
            return dict.fromkeys(descriptions, Uncertain(f"not ordered: {error}"))
        except NoAnswer as error:
            busy = isinstance(error, Busy)
            return dict.fromkeys(descriptions, Uncertain(str(error), busy, getattr(error, "pause", None)))
        return {name: Accepted(str(number)) for name, number in zip(descriptions, numbers, strict=True)}

    def _search(self, handles: Sequence[JobHandle], deadline: Deadline) -> dict[str, Mapping[str, Any]]:
        numbers = {int(one.reference or 0) for one in handles if _is_reference(one.reference)}
        rows = self._client.search("JobID", sorted(numbers), deadline) if numbers else []
        return {str(row["JobID"]): row for row in rows}

    def _kill(self, numbers: Sequence[int], deadline: Deadline) -> None:
        """Ends jobs. The service ignores a change with an older time than the last one: so its clock counts, too."""
        client = self._client
        clock = client.ask("GET", "health/ready", deadline).time or datetime.now(UTC)
        stamp = (max(clock, datetime.now(UTC)) + timedelta(seconds=1)).isoformat()
        status = {"Status": "Killed", "MinorStatus": "Marked for termination", "Source": "b2prod"}
        try:
            client.ask("PATCH", "jobs/status", deadline, {str(number): {stamp: status} for number in numbers})
        except Declined as error:
            why = "a job that is gone, or belongs to another user, stops the whole call"
            raise EngineUnavailable(f"{error}; {why}") from error


def _is_reference(reference: str | None) -> bool:
    return _REFERENCE.fullmatch(reference or "") is not None


def _find_row(rows: Mapping[str, Mapping[str, Any]], handle: JobHandle) -> Mapping[str, Any] | None:
    """The row of the handle's job; None if there is none, or its id belongs to a job of another name."""
    row = rows.get(handle.reference or "")
    return row if row is not None and row["JobName"] == handle.name else None


def _judge(handle: JobHandle, row: Mapping[str, Any] | None, *, named: bool) -> Observation:
    """What a job's row says of an attempt; `named`: DiracX has a job of its name."""
    if not _is_reference(handle.reference):
        return doubt_reference(handle)
    if row is not None:
        words = f"job {handle.reference} is called {row['JobName']}"
        return observe(row) if row["JobName"] == handle.name else Observation(Sighting.UNKNOWN, words)
    if named:
        words = f"DiracX has a job of this name, but not with the id {handle.reference}"
        return Observation(Sighting.UNKNOWN, words)
    return Observation(Sighting.ABSENT, "DiracX does not list it")


def _read_numbers(reply: Any, count: int) -> list[int]:
    """The ids of jobs that were taken."""
    try:
        numbers = [row["JobID"] for row in reply]
    except (LookupError, TypeError) as error:
        raise NoAnswer("something strange came back instead of ids") from error
    if not all(type(number) is int and _is_reference(str(number)) for number in numbers):
        raise NoAnswer(f"what came back are not ids: {str(numbers)[:100]}")
    if len(set(numbers)) != count or len(numbers) != count:
        raise NoAnswer(f"{len(numbers)} ids came back for {count} jobs")
    return numbers


def _refuse(error: Declined) -> Answer:
    """The answer for attempts that the service declined: Refused only if it cannot accept their description."""
    if error.status in {400, 413, 422}:
        return Refused(str(error), FailureClass.PERMANENT)
    return Uncertain(f"not ordered: {error}")


def _join_logs(handle: JobHandle) -> None:
    """Appends the job's error stream to its log."""
    errors = handle.folder / ERRORS
    if errors.exists():
        with (handle.folder / LOG).open("ab") as log:
            log.write(errors.read_bytes())
        errors.unlink()


@contextmanager
def _speaking() -> Iterator[None]:
    """Turns every error of the service into `EngineUnavailable`."""
    try:
        yield
    except (NoToken, NotSent, NoAnswer, Declined) as error:
        raise EngineUnavailable(str(error), getattr(error, "pause", None)) from error
