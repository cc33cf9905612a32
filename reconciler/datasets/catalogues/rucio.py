"""The catalogue `rucio`: each output is a dataset with files, replicas and a rule, in a container of all runs.

Rucio's answers prove little: a replica that is added again with another size is accepted, and the first size stays; a
request for an unknown name gives an empty list. So everything is read back.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from types import NoneType
from typing import Any
from urllib.parse import quote, urlsplit

from reconciler.datasets.catalogues.port import Conflict, RegisteredDataset, RegisteredFile
from reconciler.datasets.catalogues.rucio_server import (
    RucioFailed,
    RucioRefused,
    RucioServer,
    Thing,
    divide,
    read_rows,
)
from reconciler.model.engine import Complaint
from reconciler.outside.errors import SourceUnavailable
from schemas.policy.site import CatalogueSettings

NAME_LENGTH = 250
EXISTS = (
    "DataIdentifierAlreadyExists",
    "FileAlreadyExists",
    "Duplicate",
    "DuplicateRule",
    "DuplicateContent",
)
CLOSED, ABSENT = "UnsupportedOperation", "DataIdentifierNotFound"


def name_address(settings: CatalogueSettings) -> str:
    """The name by which the ledger tells this catalogue from others."""
    return f"rucio {settings.url.rstrip('/')} {settings.scope} {settings.rse}"[:200]


class Rucio:
    """One scope and one storage element of one server, as in the settings."""

    algorithms: Sequence[str] = ("adler32",)

    def __init__(self, server: RucioServer, settings: CatalogueSettings) -> None:
        self.address = name_address(settings)
        self._server = server
        self._account = settings.account
        self._scope = settings.scope
        self._rse = settings.rse
        self._rule = settings.rule
        self._pfn = settings.pfn

    def examine(self) -> Sequence[Complaint]:
        """Checks that the server accepts the account, and that scope and storage element exist. Returns the complaints."""
        try:
            scopes = self._server.call("GET", "/scopes/")
            known = scopes[0] if scopes and isinstance(scopes[0], list) else scopes
            found = []
            if self._scope not in known:
                what = f"Rucio has no scope {self._scope}"
                found.append(Complaint(what, "make it, or name another in the site"))
            (element,) = read_rows(self._server.call("GET", f"/rses/{quote(self._rse)}"), count=1)
            if not element.get("availability_write", True):
                what = f"{self._rse} is closed for writing in Rucio"
                found.append(Complaint(what, "ask its managers", fatal=False))
            if not element.get("deterministic", True) and not self._pfn:
                remedy = "write `pfn`, the address of the storage there, into the site's catalogue"
                found.append(Complaint(f"{self._rse} does not derive places from names", remedy))
        except RucioRefused as error:
            remedy = "correct the site's catalogue settings, or ask for the right"
            return [Complaint(f"Rucio refuses: {error}", remedy)]
        except SourceUnavailable as error:
            remedy = "start it, or wait: what is published stays, and is registered later"
            return [Complaint(str(error), remedy)]
        return found

    def register(self, datasets: Sequence[RegisteredDataset]) -> Mapping[str, Conflict | None]:
        """Registers datasets as `Catalogue` says. Each step may have been done before; what is read back decides."""
        found: dict[str, Conflict | None] = {}
        left = list(datasets)

        def drop(conflicts: Mapping[str, Conflict]) -> None:
            found.update(conflicts)
            left[:] = [one for one in left if one.name not in conflicts]

        try:
            drop(_check_names(left))
            known = self._look(left)
            begun = [one for one in left if known[one.name] is not None]
            left, whole = begun, [one for one in left if known[one.name] is None]
            drop(self._make_datasets(left))
            drop(self._add_replicas(left))
            self._attach(left)
            self._add_rules(left)
            self._collect(left)
            for name, said in self._look(left).items():
                if isinstance(said, str) and self._read_did(name).get("open") is False:
                    drop({name: Conflict(f"{self._scope}:{name} is closed, and not whole: {said}")})
                elif isinstance(said, str):
                    raise SourceUnavailable(f"Rucio at {self._server.url} took it, but {said}")
                elif said is not None:
                    drop({name: said})
            left = [*whole, *left]
            self._close(left)
            self._replace(left)
        except RucioRefused as error:
            raise SourceUnavailable(f"Rucio at {self._server.url} refuses: {error}") from error
        return {**found, **dict.fromkeys((one.name for one in left), None)}

    def _make_datasets(self, datasets: Sequence[RegisteredDataset]) -> dict[str, Conflict]:
        """Makes the datasets. Returns conflicts: names that belong to a file or a container."""

        def make(some: Sequence[RegisteredDataset]) -> None:
            rows = [{**self._did(one.name), "type": "DATASET", "meta": _describe(one)} for one in some]
            self._server.call("POST", "/dids", rows)

        conflicts = {}
        for dataset in _do(datasets, make):
            kind = self._read_did(dataset.name).get("type")
            if kind not in ("DATASET", None):
                told = f"{self._scope}:{dataset.name} is a {kind}, and no dataset"
                conflicts[dataset.name] = Conflict(told)
        return conflicts

    def _add_replicas(self, datasets: Sequence[RegisteredDataset]) -> dict[str, Conflict]:
        """Adds missing replicas. Returns conflicts: files that are known with another content."""
        entries = [(dataset, entry) for dataset in datasets for entry in dataset.entries]
        known = self._read_replicas([entry.name for _, entry in entries])
        conflicts: dict[str, Conflict] = {}
        missing: list[tuple[RegisteredDataset, RegisteredFile]] = []
        for dataset, entry in entries:
            row = known.get(entry.name)
            if row is not None and (said := self._compare(entry, row)):
                conflicts[dataset.name] = Conflict(said)
            elif row is None or self._rse not in row["states"]:
                missing.append((dataset, entry))
        missing = [(dataset, entry) for dataset, entry in missing if dataset.name not in conflicts]
        for some in divide(missing):
            rows = [
                {
                    **self._did(entry.name),
                    "bytes": entry.size,
                    "adler32": entry.checksums["adler32"],
                    **({"meta": {"events": entry.events}} if entry.events is not None else {}),
                    **({"pfn": self._place(entry)} if self._pfn else {}),
                }
                for _, entry in some
            ]
            try:
                data = {"rse": self._rse, "files": rows, "ignore_availability": True}
                self._server.call("POST", "/replicas/", data)
            except RucioFailed:
                taken = {
                    dataset.name: Conflict(f"{self._scope}:{entry.name} is a {kind}, and no file")
                    for dataset, entry in some
                    if (kind := self._read_did(entry.name).get("type")) not in ("FILE", None)
                }
                if not taken:
                    raise
                conflicts |= taken
        return conflicts

    def _attach(self, datasets: Sequence[RegisteredDataset]) -> None:
        """Attaches the files; a closed dataset stays as it is, and is read back later."""
        pairs = [(dataset.name, entry.name) for dataset in datasets for entry in dataset.entries]
        for some in divide(pairs):
            held: defaultdict[str, list[dict[str, str]]] = defaultdict(list)
            for dataset, entry in some:
                held[dataset].append(self._did(entry))
            rows = [{**self._did(name), "dids": dids} for name, dids in held.items()]
            _do(rows, self._attach_rows, (*EXISTS, CLOSED))

    def _attach_rows(self, rows: Sequence[Mapping[str, Any]]) -> None:
        # otherwise one file that is attached already stops its whole batch
        self._server.call("POST", "/dids/attachments", {"attachments": rows, "ignore_duplicate": True})

    def _add_rules(self, datasets: Sequence[RegisteredDataset]) -> None:
        def add(some: Sequence[RegisteredDataset]) -> None:
            rule = {"rse_expression": self._rule, "copies": 1, "grouping": "DATASET", "comment": "b2prod"}
            dids = [self._did(one.name) for one in some]
            self._server.call("POST", "/rules/", {**rule, "account": self._account, "dids": dids})

        _do(datasets, add)

    def _collect(self, datasets: Sequence[RegisteredDataset]) -> None:
        """Puts the datasets into the containers of all runs."""
        for name, members in _gather(datasets).items():
            with allowing(*EXISTS):
                self._server.call("POST", "/dids", [{**self._did(name), "type": "CONTAINER"}])
            for some in divide(members):
                dids = [self._did(one.name) for one in some]
                self._attach_rows([{**self._did(name), "dids": dids}])

    def _look(self, datasets: Sequence[RegisteredDataset]) -> dict[str, Conflict | str | None]:
        """Reads back datasets: None if complete and correct, a text that says what is missing, or a conflict."""
        content: dict[str, dict[str, Mapping[str, Any]]] = {one.name: {} for one in datasets}
        ruled: set[str] = set()
        members = {name: {row["name"] for row in self._list_content(name)} for name in _gather(datasets)}
        for some in divide(datasets):
            dids = [self._did(one.name) for one in some]
            strange = False
            # with their parents, a thousand files would take the server many times longer
            for row in self._list_replicas(dids):
                mine = content.get(row["name"].rpartition("/")[0])
                if mine is None:
                    strange = True
                else:
                    mine[row["name"]] = row
            if strange:
                for one in some:
                    for row in self._list_content(one.name):
                        content[one.name].setdefault(row["name"], row)
            asked = {"dids": [{**one, "type": "dataset"} for one in dids]}
            locks = self._server.call("POST", "/locks/bulk_locks_for_dids", asked)
            rows = read_rows(locks, name=str, account=str)
            ruled |= {row["name"] for row in rows if row["account"] == self._account}
        found: dict[str, Conflict | str | None] = {}
        for one in datasets:
            found[one.name] = self._judge(one, content[one.name])
            if found[one.name] is None and one.name not in ruled:
                found[one.name] = f"{one.name} does not show its rule"
            elif found[one.name] is None and one.name not in members[one.collection]:
                found[one.name] = f"{one.collection} does not show {one.name}"
        return found

    def _list_content(self, name: str) -> list[Mapping[str, Any]]:
        """The content of a dataset or container; empty if it does not exist."""
        found: list[Mapping[str, Any]] = []
        with allowing(ABSENT):
            found += read_rows(self._server.call("GET", self._path(name, "/dids")), name=str)
        return found

    def _read_did(self, name: str) -> Mapping[str, Any]:
        """What the server knows under a name; empty if the name is not known."""
        found: Mapping[str, Any] = {}
        with allowing(ABSENT):
            (found,) = read_rows(self._server.call("GET", self._path(name)), count=1, type=str)
        return found

    def _judge(
        self, dataset: RegisteredDataset, content: Mapping[str, Mapping[str, Any]]
    ) -> Conflict | str | None:
        where = f"{self._scope}:{dataset.name}"
        entries = {entry.name: entry for entry in dataset.entries}
        if others := sorted(content.keys() - entries.keys()):
            return Conflict(f"{where} holds {others[0]}, which is none of its files")
        missing = ""
        for name, entry in entries.items():
            row = content.get(name)
            if row is None:
                missing = missing or f"{where} does not show {name}"
                continue
            if "bytes" in row and (said := self._compare(entry, row)):
                return Conflict(said)
            places = row.get("rses", {}).get(self._rse, ())
            if self._pfn and places and _point(self._place(entry)) not in map(_point, places):
                said = f"{self._scope}:{name} is known at {places[0]}, ours is at {self._place(entry)}"
                return Conflict(said)
            if row.get("states", {}).get(self._rse) != "AVAILABLE":
                missing = missing or f"{name} is not shown at {self._rse}"
        return missing or None

    def _close(self, datasets: Sequence[RegisteredDataset]) -> None:
        """Closes the open ones of the datasets: a version never changes."""
        for some in divide(datasets):
            dids = [self._did(one.name) for one in some]
            told = self._server.call("POST", "/dids/bulkmeta", {"dids": dids})
            rows = read_rows(told, name=str, is_open=bool)
            if {row["name"] for row in rows} != {one.name for one in some}:
                raise SourceUnavailable(f"Rucio at {self._server.url} does not tell which datasets are open")
            for name in (row["name"] for row in rows if row["is_open"]):
                with allowing(CLOSED):
                    self._server.call("PUT", self._path(name, "/status"), {"open": False})

    def _replace(self, datasets: Sequence[RegisteredDataset]) -> None:
        """Takes earlier versions out of the containers; this is the last step."""
        for dataset in datasets:
            for name in dataset.replaces:
                with allowing(ABSENT):
                    dids = [self._did(name)]
                    self._server.call("DELETE", self._path(dataset.collection, "/dids"), {"dids": dids})

    def _read_replicas(self, names: Sequence[str]) -> dict[str, Mapping[str, Any]]:
        """The replicas of files, by name; unknown files are left out."""
        # all states: a replica that is not available yet is known too
        return {
            row["name"]: row
            for some in divide(names)
            for row in self._list_replicas([self._did(name) for name in some])
        }

    def _list_replicas(self, dids: Sequence[Mapping[str, str]]) -> list[Mapping[str, Any]]:
        rows = self._server.call("POST", "/replicas/list", {"dids": dids, "all_states": True})
        return read_rows(rows, name=str, bytes=int, adler32=(str, NoneType), rses=dict, states=dict)

    def _compare(self, entry: RegisteredFile, row: Mapping[str, Any]) -> str:
        """What differs between a file and what is known under its name; empty if nothing differs."""
        ours = entry.size, entry.checksums["adler32"]
        theirs = row["bytes"], row["adler32"]
        if ours == theirs:
            return ""
        known, own = (f"{size} bytes and adler32 {checksum}" for size, checksum in (theirs, ours))
        return f"{self._scope}:{entry.name} is known with {known}, ours has {own}"

    def _place(self, entry: RegisteredFile) -> str:
        return f"{self._pfn}/{entry.path}"

    def _did(self, name: str) -> dict[str, str]:
        return {"scope": self._scope, "name": name}

    def _path(self, name: str, rest: str = "") -> str:
        return f"/dids/{quote(self._scope, safe='')}/{quote(name, safe='')}{rest}"


def _point(place: str) -> tuple[str, str | None, str]:
    """The part of an address that counts: servers write ports in different ways."""
    parts = urlsplit(place)
    return parts.scheme, parts.hostname, parts.path


def _check_names(datasets: Iterable[RegisteredDataset]) -> dict[str, Conflict]:
    found = {}
    for dataset in datasets:
        for name in (dataset.collection, dataset.name, *(entry.name for entry in dataset.entries)):
            if len(name) > NAME_LENGTH:
                found[dataset.name] = Conflict(f"the name {name} has {len(name)} of {NAME_LENGTH} characters")
    return found


def _describe(dataset: RegisteredDataset) -> dict[str, Any]:
    """A dataset's values for Rucio's own columns; its number of events comes from its files."""
    facts = dataset.facts
    return {"run_number": facts["run"], "datatype": facts["level"], "campaign": facts["campaign"]}


@contextmanager
def allowing(*kinds: str) -> Iterator[None]:
    """Ignores a refusal of the block's request for one of these reasons."""
    try:
        yield
    except RucioRefused as error:
        if error.kind not in kinds:
            raise


def _do(
    things: Sequence[Thing], act: Callable[[Sequence[Thing]], None], done: Sequence[str] = EXISTS
) -> list[Thing]:
    """Does something with many things at once, or one by one if it is already done for some. Returns those."""
    before = []
    for some in divide(things):
        try:
            act(some)
        except RucioRefused as error:
            if error.kind not in done:
                raise
            for one in some:
                try:
                    act([one])
                except RucioRefused as again:
                    if again.kind not in done:
                        raise
                    before.append(one)
    return before


def _gather(datasets: Iterable[RegisteredDataset]) -> dict[str, list[RegisteredDataset]]:
    found: dict[str, list[RegisteredDataset]] = {}
    for dataset in datasets:
        found.setdefault(dataset.collection, []).append(dataset)
    return found
