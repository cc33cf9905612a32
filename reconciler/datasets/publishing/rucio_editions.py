"""Editions in Rucio: all files of one are in a closed dataset, in a container of the edition's own, which readers go by.

The container comes into being together with what is in it. The container of all runs, in which outputs are registered, goes on
following the newest ones. A dataset that is closed never gets another file; one that is withdrawn stays, and its container is
empty.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from reconciler.datasets.catalogues.port import Conflict
from reconciler.datasets.catalogues.rucio import ABSENT, CLOSED, EXISTS, NAME_LENGTH, Rucio, allowing
from reconciler.datasets.catalogues.rucio_server import RucioRefused, RucioServer, divide, read_rows
from reconciler.datasets.publishing.port import EditionToPublish, WithdrawalNote
from reconciler.outside.errors import SourceUnavailable
from schemas.manifest.dataset import DatasetName
from schemas.policy.site import CatalogueSettings

COLLECTIONS = "/belle/collection/Data"
"""The beginning of the names of containers of editions, as that of collections on the grid."""

_NO_METADATA = ("InvalidMetadata", "UnsupportedMetadataPlugin")
"""Servers without free metadata refuse for these reasons."""


def name_container(name: DatasetName) -> str:
    """The container of an edition, as `/belle/collection/Data/proc8/reco/mdst/2`."""
    return f"{COLLECTIONS}/{name.dataset.replace('@', '.')}/{name.edition}"


class RucioEditions(Rucio):
    """Publishes editions in one scope of a server.

    `dataset` is the name of the edition's dataset there, `registered` has the name under which each output is registered, by its
    number in the ledger.
    """

    def __init__(
        self, server: RucioServer, settings: CatalogueSettings, dataset: str, registered: Mapping[int, str]
    ) -> None:
        super().__init__(server, settings)
        self.name = dataset
        self._registered = registered

    def locate(self, name: DatasetName) -> str:
        """Where readers find an edition, in words for people."""
        return f"the container {self._scope}:{name_container(name)} of Rucio at {self._server.url}"

    def publish(self, edition: EditionToPublish, others: Sequence[int] = ()) -> None:  # noqa: ARG002 -- other editions have containers of their own
        """Publishes an edition, as `EditionPlace` says. Each step may have been done before; what is read back decides."""
        sizes = {f"{self._registered[one.output]}/{one.within}": one.size for one in edition.files}
        container = name_container(edition.name)
        for name in (container, self.name, *sizes):
            if len(name) > NAME_LENGTH:
                raise Conflict(f"the name {name} has {len(name)} of {NAME_LENGTH} characters")
        try:
            there = self._read_container(container)
            self._fill(edition, sizes)
            if there is None:
                row = {**self._did(container), "type": "CONTAINER", "dids": [self._did(self.name)]}
                with allowing(*EXISTS):
                    self._server.call("POST", "/dids", [row])
            elif not there:  # it was withdrawn
                with allowing(CLOSED):
                    self._server.call("PUT", self._path(container, "/status"), {"open": True})
                self._attach_rows([{**self._did(container), "dids": [self._did(self.name)]}])
            self._close_one(container)
            facts = {"b2prod_edition": str(edition.name), "b2prod_digest": edition.digest}
            facts |= {"b2prod_state": "published", "b2prod_withdrawn": "", "b2prod_instead": ""}
            for name in (container, self.name):
                self._describe_one(name, facts)
            if self._read_container(container) != {self.name}:
                raise SourceUnavailable(
                    f"Rucio at {self._server.url} took it, but {container} does not show it"
                )
        except RucioRefused as error:
            raise SourceUnavailable(f"Rucio at {self._server.url} refuses: {error}") from error

    def withdraw(self, name: DatasetName, note: WithdrawalNote, others: Sequence[int] = ()) -> None:  # noqa: ARG002 -- as above
        """Takes an edition back, as `EditionPlace` says: its container is empty then, and its metadata say why."""
        container = name_container(name)
        try:
            there = self._read_container(container)
            if there is None:
                return  # nobody ever found it
            if there:
                with allowing(ABSENT):
                    dids = [self._did(self.name)]
                    self._server.call("DELETE", self._path(container, "/dids"), {"dids": dids})
            facts = {
                "b2prod_edition": note.edition,
                "b2prod_state": "withdrawn",
                "b2prod_instead": note.instead or "",
            }
            facts["b2prod_withdrawn"] = f"{note.time} by {note.who}: {note.reason}"
            for one in (container, self.name):
                self._describe_one(one, facts)
            if self._read_container(container):
                raise SourceUnavailable(
                    f"Rucio at {self._server.url} detached it, and {container} still shows it"
                )
        except RucioRefused as error:
            raise SourceUnavailable(f"Rucio at {self._server.url} refuses: {error}") from error

    def _read_container(self, container: str) -> Collection[str] | None:
        """What is in the container of the edition: its dataset, or nothing if it was withdrawn; None if there is no container.

        Raises:
            Conflict: something else is there.
        """
        kind = self._read_did(container).get("type")
        where = f"{self._scope}:{container}"
        if kind is None:
            return None
        if kind != "CONTAINER":
            raise Conflict(f"{where} is a {kind}, and no container")
        members = {row["name"] for row in self._list_content(container)}
        if others := sorted(members - {self.name}):
            raise Conflict(f"{where} holds {others[0]}, which is not the dataset of the edition")
        return members

    def _fill(self, edition: EditionToPublish, sizes: Mapping[str, int]) -> None:
        """Makes the dataset with all files and its rule, reads it back and closes it."""
        where = f"{self._scope}:{self.name}"
        known = self._read_did(self.name)
        if not known:
            about = {"datatype": edition.name.output, "campaign": edition.name.campaign}
            row = {**self._did(self.name), "type": "DATASET", "meta": about}
            with allowing(*EXISTS):
                self._server.call("POST", "/dids", [row])
        elif known["type"] != "DATASET":
            raise Conflict(f"{where} is a {known['type']}, and no dataset")
        missing = sizes.keys() - self._read_sizes(sizes)
        if missing and known.get("open") is False:
            raise Conflict(f"{where} is closed, and does not hold {min(missing)}")
        for some in divide(sorted(missing)):
            self._attach_rows([{**self._did(self.name), "dids": [self._did(name) for name in some]}])
        rule: dict[str, Any] = {"rse_expression": self._rule, "copies": 1, "grouping": "DATASET"}
        with allowing(*EXISTS):
            rule |= {"comment": "b2prod", "account": self._account, "dids": [self._did(self.name)]}
            self._server.call("POST", "/rules/", rule)
        if left := sizes.keys() - self._read_sizes(sizes):
            raise SourceUnavailable(
                f"Rucio at {self._server.url} took it, but {where} does not show {min(left)}"
            )
        self._close_one(self.name)

    def _read_sizes(self, sizes: Mapping[str, int]) -> set[str]:
        """The names of the files in the dataset, which must be among these, with these sizes.

        Raises:
            Conflict: it holds something else.
        """
        where = f"{self._scope}:{self.name}"
        rows = read_rows(self._list_content(self.name), name=str, bytes=int)
        for row in rows:
            if row["name"] not in sizes:
                raise Conflict(f"{where} holds {row['name']}, which is none of its files")
            if row["bytes"] != sizes[row["name"]]:
                told = f"{row['bytes']:,} bytes, ours has {sizes[row['name']]:,}"
                raise Conflict(f"{self._scope}:{row['name']} is known with {told}")
        return {row["name"] for row in rows}

    def _close_one(self, name: str) -> None:
        if self._read_did(name).get("open") is not False:
            with allowing(CLOSED):
                self._server.call("PUT", self._path(name, "/status"), {"open": False})
            if self._read_did(name).get("open") is not False:
                raise SourceUnavailable(f"Rucio at {self._server.url} does not close {self._scope}:{name}")

    def _describe_one(self, name: str, facts: Mapping[str, str]) -> None:
        """Writes free metadata, where the server keeps such; readers do not depend on them."""
        with allowing(*_NO_METADATA):
            self._server.call("POST", self._path(name, "/meta"), {"meta": dict(facts)})
