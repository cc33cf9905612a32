"""The grid's production system, through its commands (`gb2_prod_…`) in a clean environment.

A batch is one production, whose name holds a digest of the batch's name. Names of productions are unique for ever: a second
registration is refused, and the first one is found. Ids are read only from the status table. A production may stay at
`Done 400/402` for ever, so the outputs of a run decide whether that run has ended.
"""

from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import TypeVar

from reconciler.engines.arrays import Notation, observe_each
from reconciler.engines.attempt_folders import RESULT
from reconciler.engines.gb2.outputs import Download, list_folders
from reconciler.engines.gb2.replies import (
    CANCELLED,
    DONE,
    EARLY,
    RUNNING,
    Production,
    UnreadableReply,
    read_files,
    read_proxy,
    read_status,
)
from reconciler.engines.gb2.requests import GridRequest, NotReady, find_order, read_job, write_order
from reconciler.ledger.writing.lease import PROMPT
from reconciler.model.engine import (
    Accepted,
    Answer,
    Batch,
    Complaint,
    EngineUnavailable,
    JobHandle,
    Observation,
    Refused,
    Sighting,
    Uncertain,
)
from reconciler.model.states import FailureClass
from reconciler.outside.command import Deadline, Reply, call
from renderer.jobs.requests import read_gb2_settings
from schemas.policy.site import Site

COMMANDS = ("register", "uploadFile", "approve", "status", "cancel")
JOBS = Notation(re.compile(r"([1-9][0-9]{0,9})_([0-9]{1,7})"), "{}_{}")
_Read = TypeVar("_Read")
NEARLY = 0.9
"""From this share of finished tasks on, the outputs of single runs are checked."""


class Gb2Engine:
    """Submits productions of one group of users; `seconds` limits each call."""

    shared = False
    attached = False
    visibility = timedelta(minutes=10)

    def __init__(self, site: Site, seconds: float = PROMPT) -> None:
        self._site, self._seconds = site, seconds
        settings = read_gb2_settings(site)
        self._wrapper, self._group = settings.wrapper, settings.group
        self.slots = site.slots or 10_000
        # merged outputs do not show from which run they are
        width = min(site.batch.width, site.runs_per_request or site.batch.width)
        self.width = width if settings.by_run else 1

    @property
    def renewal(self) -> str:
        """The command that makes a proxy for a week."""
        return f"say `gb2_proxy_init -g {self._group or 'belle_dataprod'} -v 168:00`"

    def submit(self, batch: Batch) -> Sequence[Answer]:
        """Registers the production, uploads its files, and approves it; a later `query` repeats steps that fail."""
        return JOBS.name_members(self._submit(batch), batch.handles)

    def _submit(self, batch: Batch) -> Answer:
        deadline = Deadline(self._seconds)
        try:
            order = write_order(batch)
        except NotReady as error:
            return Refused(str(error), FailureClass.PERMANENT)
        reply = self._call(["gb2_prod_register", str(order.file)], deadline.left(0.5), str(order.folder))
        if reply.missing:
            return Refused(reply.describe())
        try:
            found = self._list(order.group, [order.name], deadline)
        except EngineUnavailable as error:
            return Uncertain(f"{reply.describe()}; {error}")
        if len(found) != 1:
            seen = f"the status shows {len(found)} productions called {order.name}"
            return Uncertain(f"{reply.describe()}; {seen}")
        self._advance(found[0], order, deadline)
        return Accepted(str(found[0].number))

    def find(self, handles: Sequence[JobHandle]) -> Mapping[str, Sequence[str]]:
        """Searches by the production's name; an attempt without a written order was never registered."""
        deadline = Deadline(self._seconds)
        orders = {handle: order for handle in handles if (order := find_order(handle)) is not None}
        names: dict[str, set[str]] = defaultdict(set)
        for order in orders.values():
            names[order.group].add(order.name)
        numbers: dict[str, set[int]] = defaultdict(set)
        for group, some in sorted(names.items()):
            for production in self._list(group, sorted(some), deadline):
                numbers[production.name].add(production.number)
        found: dict[str, list[str]] = {handle.name: [] for handle in handles}
        for handle, order in orders.items():
            found[handle.name] = [JOBS.write(str(one), handle.index) for one in sorted(numbers[order.name])]
        return found

    def query(self, handles: Sequence[JobHandle]) -> Mapping[str, Observation]:
        """Asks for the status of all productions; for those that are nearly done, also for the outputs of each run."""
        seen, known = observe_each(handles, JOBS.doubt)
        if not known:
            return seen
        deadline = Deadline(self._seconds)
        numbers = {handle: _read_number(handle) for handle in known}
        orders = {handle: find_order(handle) for handle in handles}
        due = [order.name for order in orders.values() if order is not None]
        listed = self._ask_numbers(sorted(set(numbers.values())), deadline, due)
        missing = {
            number: order
            for handle, number in numbers.items()
            if number not in listed and (order := orders[handle]) is not None
        }
        unlisted = self._list_unlisted(missing, deadline)
        unread = "its request is not there, and the production system does not list it"
        advanced: set[int] = set()
        for handle, number in numbers.items():
            order, production = orders[handle], listed.get(number)
            if production is None:
                seen[handle.name] = unlisted.get(number) or Observation(Sighting.UNKNOWN, unread)
            elif order is None or production.name != order.name:
                words = f"production {production.number} is called {production.name}"
                seen[handle.name] = Observation(Sighting.UNKNOWN, words)
            else:
                if number not in advanced:
                    advanced.add(number)
                    self._advance(production, order, deadline)
                seen[handle.name] = self._observe(handle, order, production, deadline)
        return seen

    def cancel(self, handles: Sequence[JobHandle]) -> None:
        """Cancels whole productions only; raises `EngineUnavailable` if only some units of one are to be cancelled."""
        deadline = Deadline(self._seconds)
        orders: dict[int, GridRequest] = {}
        members: dict[int, set[int]] = defaultdict(set)
        for handle in handles:
            order = find_order(handle)
            if order is not None and JOBS.read(handle) is not None:
                orders[_read_number(handle)] = order
                members[_read_number(handle)].add(handle.index)
        if not members:
            return
        listed = self._ask_numbers(list(members), deadline)
        partly = []
        for number, order in orders.items():
            found, count = listed.get(number), len(members[number])
            if found is None or found.name != order.name or found.state in {DONE, *CANCELLED}:
                continue
            if count < order.members:
                partly.append(
                    f"production {number} makes {order.members} units, and {count} are to be cancelled"
                )
                continue
            command = ["gb2_prod_cancel", "-p", str(number), "--comment", "cancelled by b2prod"]
            self._demand(command, deadline.left())
        if partly:
            raise EngineUnavailable(f"{'; '.join(partly)}: a production is cancelled as a whole")

    def fetch(self, handle: JobHandle) -> None:
        """Downloads the run's outputs in a separate process, over several calls; result.json is written last."""
        deadline = Deadline(self._seconds)
        order = find_order(handle)
        if order is None or JOBS.read(handle) is None:
            raise EngineUnavailable(f"{handle.folder} does not say which production it was made by")
        if (handle.folder / RESULT).exists():
            return
        download = Download(handle, self._wrapper, self._environment())
        try:
            download.check()
            files = {
                output: [file for folder in places for file in self._list_files(folder, deadline)]
                for output, places in list_folders(order, _read_number(handle), handle)
            }
            download.take(files)
        except OSError as error:
            raise EngineUnavailable(f"{handle.folder} cannot be written: {error.strerror}") from error

    def lifetime(self) -> timedelta:
        """How long the proxy is still valid, by `gb2_proxy_info`: the exit status of `gb2_proxy_init` proves nothing."""
        left, group = self._read_proxy()
        if self._group is not None and group not in {None, self._group}:
            raise EngineUnavailable(f"the proxy is of the group {group}; the site's file says {self._group}")
        return left

    def examine(self) -> Sequence[Complaint]:
        """Checks that the commands can be called, and that there is a proxy of the right group."""
        try:
            left, group = self._read_proxy()
        except EngineUnavailable as error:
            advice = "write into `gb2.wrapper` the command that sets gbasf2's environment and calls the rest"
            return [Complaint(str(error), advice)]
        if left <= timedelta(0):
            return [Complaint("there is no valid proxy", self.renewal)]
        if self._group is not None and group != self._group:
            return [Complaint(f"the proxy is of the group {group}, not {self._group}", self.renewal)]
        return []

    def _observe(
        self, handle: JobHandle, order: GridRequest, production: Production, deadline: Deadline
    ) -> Observation:
        reason = f"production {production.number}: {production.text}"
        state = production.state
        if state in EARLY:
            return Observation(Sighting.PENDING, reason)
        if state in CANCELLED:
            return Observation(Sighting.ENDED, reason, FailureClass.TRANSIENT)
        if state == DONE and not production.is_short:
            return Observation(Sighting.ENDED, reason)
        if not (production.done and production.total and production.done >= NEARLY * production.total):
            return Observation(Sighting.RUNNING if state == RUNNING else Sighting.UNKNOWN, reason)
        wanted = len(read_job(handle)["inputs"])
        try:
            counts = [
                sum(len(self._list_files(folder, deadline)) for folder in folders)
                for _, folders in list_folders(order, production.number, handle)
            ]
        except EngineUnavailable as error:
            return Observation(Sighting.UNKNOWN, f"{reason}; {error}")
        if min(counts) >= wanted:
            return Observation(Sighting.ENDED, f"{reason}; the outputs of this run are all there")
        there = f"{min(counts)} of {wanted} files of this run are there"
        return Observation(Sighting.RUNNING, f"{reason}; {there}")

    def _list_unlisted(
        self, missing: Mapping[int, GridRequest], deadline: Deadline
    ) -> dict[int, Observation]:
        """Observations of productions that were asked for and are not in the table, by number.

        A table may be cut short. A production is absent only if a second table, of all productions of the group, lacks it
        too and has other productions.
        """
        told: dict[int, Observation] = {}
        for group in sorted({order.group for order in missing.values()}):
            try:
                due = [order.name for order in missing.values()]
                known = {one.number for one in self._ask_group(group, deadline, due)}
                trouble = None if known else "a table without any production proves nothing"
            except EngineUnavailable as error:
                known, trouble = set(), str(error)
            for number, order in missing.items():
                if order.group != group:
                    continue
                if number in known:
                    trouble = "one table of the production system has it, another has not"
                words = trouble or "the production system does not list it"
                told[number] = Observation(Sighting.UNKNOWN if trouble else Sighting.ABSENT, words)
        return told

    def _advance(self, production: Production, order: GridRequest, deadline: Deadline) -> None:
        """Uploads the files of a registered production, then approves it; a later `query` repeats what fails here."""
        number = str(production.number)
        state = production.state
        if state in {"Initialized", "Registered"}:
            reply = self._call(["gb2_prod_uploadFile", "-p", number], deadline.left(0.5), str(order.folder))
            state = "ToApprove" if reply.status == 0 else state
        if state == "ToApprove":
            self._call(["gb2_prod_approve", "-p", number], deadline.left(0.5))

    def _list(self, group: str, names: Sequence[str], deadline: Deadline) -> list[Production]:
        return [row for row in self._ask_group(group, deadline, names) if row.name in names]

    def _ask_group(self, group: str, deadline: Deadline, due: Sequence[str]) -> list[Production]:
        command = ["gb2_prod_status", "-g", group, "-s", "all", "--date", "1y"]
        return self._ask(command, deadline.left(0.8), due)

    def _ask_numbers(
        self, numbers: Sequence[int], deadline: Deadline, due: Sequence[str] = ()
    ) -> dict[int, Production]:
        """The productions of those numbers that are listed."""
        command = ["gb2_prod_status", "-p", *map(str, numbers)]
        return {one.number: one for one in self._ask(command, deadline.left(0.5), due)}

    def _ask(self, command: Sequence[str], seconds: float, due: Sequence[str] = ()) -> list[Production]:
        return self._read(command, seconds, lambda reply: read_status(reply.out, reply.error, due))

    def _list_files(self, folder: str, deadline: Deadline) -> list[str]:
        command = ["gb2_ds_list", f"{folder}/sub*/*.root"]
        return self._read(
            command, deadline.left(0.5), lambda reply: read_files(reply.out, folder, reply.error)
        )

    def _read_proxy(self) -> tuple[timedelta, str | None]:
        return read_proxy(self._demand(["gb2_proxy_info"], self._seconds).out)

    def _read(self, command: Sequence[str], seconds: float, read: Callable[[Reply], _Read]) -> _Read:
        try:
            return read(self._demand(command, seconds))
        except UnreadableReply as error:
            raise EngineUnavailable(f"`{command[0]}` cannot be understood: {error}") from error

    def _demand(self, command: Sequence[str], seconds: float) -> Reply:
        """The reply of a command that ended well."""
        reply = self._call(command, seconds)
        if reply.status != 0:
            raise EngineUnavailable(reply.describe())
        return reply

    def _call(self, command: Sequence[str], seconds: float, folder: str | None = None) -> Reply:
        return call([*self._wrapper, *command], seconds, self._environment(), folder=folder)

    def _environment(self) -> dict[str, str]:
        """A clean environment: with basf2's variables gbasf2's commands do not work."""
        kept = ("HOME", "USER", "X509_USER_PROXY", "X509_CERT_DIR", *self._site.environment)
        clean = {name: os.environ[name] for name in kept if name in os.environ}
        return {**clean, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


def _read_number(handle: JobHandle) -> int:
    """The production that the handle's reference names; 0 if it names none, or another place in the batch."""
    key = JOBS.read(handle)
    return int(key[0]) if key is not None else 0
