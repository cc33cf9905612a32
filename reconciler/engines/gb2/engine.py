"""The grid's production system, driven by its commands (`gb2_prod_…`) in a clean environment.

A batch is one production, whose name holds a digest of the batch's name. Names of productions are unique for ever: a second
registration is refused, and the first one is found. Ids are read from the status table alone. A production may stay at
`Done 400/402` for ever, so the outputs of a run decide whether that run has ended.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from datetime import timedelta

from reconciler.engines.gb2.outputs import Download, has_left, list_folders
from reconciler.engines.gb2.replies import (
    CANCELLED,
    DONE,
    EARLY,
    RUNNING,
    Production,
    read_files,
    read_proxy,
    read_status,
)
from reconciler.engines.gb2.requests import GridRequest, NotReady, find_order, write_order
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
    doubt_reference,
)
from reconciler.model.states import FailureClass
from reconciler.outside.command import Deadline, Reply, UnreadableReply, call
from renderer.jobs.gb2_settings import read_gb2_settings
from schemas.policy.site import Site

COMMANDS = ("register", "uploadFile", "approve", "status", "cancel")
_REFERENCE = re.compile(r"([1-9][0-9]{0,9})_([0-9]{1,7})")
NEARLY = 0.9
"""The share of tasks done from which the outputs of single runs are looked at."""


class Gb2Engine:
    """Productions of one group of users; `seconds` is what any call may take."""

    shared = False
    attached = False
    visibility = timedelta(minutes=10)

    def __init__(self, site: Site, seconds: float = PROMPT) -> None:
        self._site, self._seconds = site, seconds
        settings = read_gb2_settings(site)
        self._wrapper, self._group = settings.wrapper, settings.group
        self.slots = site.slots or 10_000
        # outputs that are merged tell nobody which run they are of
        width = min(site.batch.width, site.runs_per_request or site.batch.width)
        self.width = width if settings.by_run else 1

    @property
    def renewal(self) -> str:
        """A new proxy for a week."""
        return f"say `gb2_proxy_init -g {self._group or 'belle_dataprod'} -v 168:00`"

    def submit(self, batch: Batch) -> Sequence[Answer]:
        """Registers the production; its files are uploaded and it is approved then, or by a later `query`."""
        deadline = Deadline(self._seconds)
        try:
            order = write_order(batch)
        except NotReady as error:
            return [Refused(str(error), FailureClass.PERMANENT)] * len(batch.handles)
        reply = self._call(["gb2_prod_register", str(order.file)], deadline.left(0.5), str(order.folder))
        if reply.missing:
            return [Refused(reply.describe())] * len(batch.handles)
        try:
            found = self._list(order.group, [order.name], deadline)
        except EngineUnavailable as error:
            return [Uncertain(f"{reply.describe()}; {error}")] * len(batch.handles)
        if len(found) != 1:
            seen = f"the status shows {len(found)} productions called {order.name}"
            return [Uncertain(f"{reply.describe()}; {seen}")] * len(batch.handles)
        self._advance(found[0], order, deadline)
        return [Accepted(f"{found[0].number}_{handle.index}") for handle in batch.handles]

    def find(self, handles: Sequence[JobHandle]) -> Mapping[str, Sequence[str]]:
        """By the production's name."""
        deadline = Deadline(self._seconds)
        orders = {handle.name: find_order(handle) for handle in handles}
        found: dict[str, set[int]] = {}
        for group in sorted({order.group for order in orders.values() if order is not None}):
            names = sorted(
                {order.name for order in orders.values() if order is not None and order.group == group}
            )
            for production in self._list(group, names, deadline):
                found.setdefault(production.name, set()).add(production.number)
        return {
            handle.name: [f"{number}_{handle.index}" for number in sorted(found.get(order.name, ()))]
            if (order := orders[handle.name]) is not None
            else []  # it was never written down, so it was never registered
            for handle in handles
        }

    def query(self, handles: Sequence[JobHandle]) -> Mapping[str, Observation]:
        """One status for all productions; for those that are nearly done, also the outputs of each run."""
        numbers = sorted({number for handle in handles if (number := _read_number(handle)) is not None})
        if not numbers:
            return {handle.name: doubt_reference(handle) for handle in handles}
        deadline = Deadline(self._seconds)
        due = [order.name for handle in handles if (order := find_order(handle)) is not None]
        reply = self._ask(["gb2_prod_status", "-p", *map(str, numbers)], deadline.left(0.5), due)
        productions = {one.number: one for one in reply}
        seen: dict[str, Observation] = {}
        advanced: set[int] = set()
        unlisted = self._list_unlisted(handles, productions, deadline)
        for handle in handles:
            order, number = find_order(handle), _read_number(handle)
            production = productions.get(number or 0)
            if number is None:
                seen[handle.name] = doubt_reference(handle)
            elif production is None:
                seen[handle.name] = unlisted[number]
            elif order is None or production.name != order.name:
                words = f"production {production.number} is called {production.name}"
                seen[handle.name] = Observation(Sighting.UNKNOWN, words)
            else:
                if production.number not in advanced:
                    advanced.add(production.number)
                    self._advance(production, order, deadline)
                seen[handle.name] = self._observe(handle, order, production, deadline)
        return seen

    def cancel(self, handles: Sequence[JobHandle]) -> None:
        """Whole productions only: a production goes on if only some of its units are to be cancelled."""
        deadline = Deadline(self._seconds)
        members: dict[int, set[int]] = {}
        sizes: dict[int, tuple[int, str]] = {}
        for handle in handles:
            order, number = find_order(handle), _read_number(handle)
            if order is not None and number is not None:
                members.setdefault(number, set()).add(handle.index)
                sizes[number] = order.members, order.name
        if not members:
            return
        listed = {
            one.number: one
            for one in self._ask(["gb2_prod_status", "-p", *map(str, members)], deadline.left(0.5))
        }
        partly = []
        for number, indices in members.items():
            size, name = sizes[number]
            found = listed.get(number)
            if found is None or found.name != name or found.state in {DONE, *CANCELLED}:
                continue
            if len(indices) < size:
                partly.append(
                    f"production {number} makes {size} units, and {len(indices)} are to be cancelled"
                )
                continue
            reply = self._call(
                ["gb2_prod_cancel", "-p", str(number), "--comment", "cancelled by b2prod"], deadline.left()
            )
            if reply.status != 0:
                raise EngineUnavailable(reply.describe())
        if partly:
            raise EngineUnavailable(f"{'; '.join(partly)}: a production is cancelled as a whole")

    def fetch(self, handle: JobHandle) -> None:
        """Downloads the run's outputs in a process of its own, over several calls; result.json is written at last."""
        deadline = Deadline(self._seconds)
        order, number = find_order(handle), _read_number(handle)
        if order is None or number is None:
            raise EngineUnavailable(f"{handle.folder} does not say which production it was made by")
        if has_left(handle):
            return
        download = Download(handle, self._wrapper, self._environment())
        try:
            download.check()
            folders = list_folders(order, number, handle)
            download.take(
                {
                    output: [file for folder in places for file in self._list_files(folder, deadline)]
                    for output, places in folders
                }
            )
        except OSError as error:
            raise EngineUnavailable(f"{handle.folder} cannot be written: {error.strerror}") from error

    def lifetime(self) -> timedelta:
        """How long the proxy is still valid, by `gb2_proxy_info`: the exit status of `gb2_proxy_init` proves nothing."""
        left, group = self._read_proxy()
        if self._group is not None and group not in {None, self._group}:
            raise EngineUnavailable(f"the proxy is of the group {group}; the site's file says {self._group}")
        return left

    def examine(self) -> Sequence[Complaint]:
        """Whether the commands can be called, and whether there is a proxy of the right group."""
        advice = (
            "write into `gb2.wrapper` the command that sets gbasf2's environment and calls what follows it"
        )
        try:
            left, group = self._read_proxy()
        except EngineUnavailable as error:
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
        wanted = len(order.inputs(handle))
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
        self, handles: Sequence[JobHandle], listed: Mapping[int, Production], deadline: Deadline
    ) -> dict[int, Observation]:
        """Observations of productions that were asked for and are not in the table, by number.

        A table may be cut short. A production is absent only if a second table, of all productions of the group, lacks it
        too and has other productions.
        """
        missing = {
            number: order
            for handle in handles
            if (number := _read_number(handle)) is not None
            and number not in listed
            and (order := find_order(handle)) is not None
        }
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
        unread = Observation(
            Sighting.UNKNOWN, "its request is not there, and the production system does not list it"
        )
        return {
            number: told.get(number, unread) for one in handles if (number := _read_number(one)) is not None
        }

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
        """The productions of those names."""
        return [row for row in self._ask_group(group, deadline, names) if row.name in names]

    def _ask_group(self, group: str, deadline: Deadline, due: Sequence[str]) -> list[Production]:
        command = ["gb2_prod_status", "-g", group, "-s", "all", "--date", "1y"]
        return self._ask(command, deadline.left(0.8), due)

    def _ask(self, command: Sequence[str], seconds: float, due: Sequence[str] = ()) -> list[Production]:
        reply = self._call(command, seconds)
        if reply.status != 0:
            raise EngineUnavailable(reply.describe())
        try:
            return read_status(reply.out, reply.error, due)
        except UnreadableReply as error:
            raise EngineUnavailable(f"`{command[0]}` cannot be understood: {error}") from error

    def _list_files(self, folder: str, deadline: Deadline) -> list[str]:
        reply = self._call(["gb2_ds_list", f"{folder}/sub*/*.root"], deadline.left(0.5))
        if reply.status != 0:
            raise EngineUnavailable(reply.describe())
        try:
            return read_files(reply.out, folder, reply.error)
        except UnreadableReply as error:
            raise EngineUnavailable(f"`gb2_ds_list` cannot be understood: {error}") from error

    def _read_proxy(self) -> tuple[timedelta, str | None]:
        reply = self._call(["gb2_proxy_info"], self._seconds)
        if reply.status != 0:
            raise EngineUnavailable(reply.describe())
        return read_proxy(reply.out)

    def _call(self, command: Sequence[str], seconds: float, folder: str | None = None) -> Reply:
        return call([*self._wrapper, *command], seconds, self._environment(), folder=folder)

    def _environment(self) -> dict[str, str]:
        """An environment without basf2's variables, with which gbasf2's commands do not work."""
        kept = ("HOME", "USER", "X509_USER_PROXY", "X509_CERT_DIR", *self._site.environment)
        clean = {name: os.environ[name] for name in kept if name in os.environ}
        return {**clean, "PATH": "/usr/bin:/bin", "LANG": "C.UTF-8"}


def _read_number(handle: JobHandle) -> int | None:
    """The production that the handle's reference names; None if it names none, or another place in the batch."""
    found = _REFERENCE.fullmatch(handle.reference or "")
    return int(found[1]) if found and int(found[2]) == handle.index else None
