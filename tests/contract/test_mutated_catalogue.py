"""No reply that goes wrong makes a dataset count as registered that is not, or raises what nobody foresees."""

from __future__ import annotations

import json
import random

import pytest

from reconciler.datasets.catalogues.port import Conflict, RegisteredDataset, RegisteredFile
from reconciler.datasets.catalogues.rucio import Rucio
from reconciler.datasets.catalogues.rucio_server import RucioCredentials, RucioServer
from reconciler.outside.command import Reply
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.http import Answer
from schemas.policy.site import CatalogueSettings
from tests.contract.mutations import mutate_reply

MANY = 2000
NAME, COLLECTION = "/belle/Data/c/reco-v1/e0003/4S/r00529/mdst", "/belle/Data/c/reco/mdst"
ENTRIES = tuple(
    RegisteredFile(f"{NAME}/mdst.{i}.root", f"r/v1/mdst.{i}.root", 100 + i, {"adler32": f"{i + 1:08x}"}, i)
    for i in range(3)
)
DATASET = RegisteredDataset(
    NAME, COLLECTION, (), "/data", {"run": 529, "level": "mdst", "campaign": "proc7"}, ENTRIES
)
LACKS = ("file", "replica", "rule", "member", "size")
QUESTIONS = ("list", "locks", "dids", "bulkmeta", "did", "write")


class Rehearsed:
    """A server that says of one dataset that it is there, but for what it `lacks`; it takes everything, and changes nothing."""

    def __init__(self, lacks=None):
        self.lacks = lacks
        self.tell = lambda _, reply: reply

    def send(self, method, url, _seconds, *, headers=None, data=None):
        path = url.removeprefix("https://rucio.example.org")
        if path.startswith("/auth/"):
            return Answer(200, {"x-rucio-auth-token": "t"}, b"")
        asked, rows = self._answer(method, path)
        text = "".join(f"{json.dumps(row)}\n" for row in rows) if rows is not None else "Created"
        reply = self.tell(asked, Reply(asked, 200, text, ""))
        return Answer(503 if reply.status in (1, 255, None) else 200, {}, reply.out.encode())

    def _answer(self, method, path):
        files = ENTRIES[1:] if self.lacks == "file" else ENTRIES
        if path == "/replicas/list":
            state = {} if self.lacks == "replica" else {"RSE": "AVAILABLE"}
            more = 1 if self.lacks == "size" else 0
            return "list", [
                {
                    "scope": "belle",
                    "name": one.name,
                    "bytes": one.size + more,
                    "adler32": one.checksums["adler32"],
                }
                | {"rses": {"RSE": [f"root://x/{one.name}"]}, "states": state}
                for one in files
            ]
        if path.startswith("/locks/"):
            return "locks", [{"name": NAME, "account": "nobody" if self.lacks == "rule" else "prod"}]
        if path == "/dids/bulkmeta":
            return "bulkmeta", [{"name": NAME, "is_open": True}]
        if method == "GET" and path.endswith("/dids"):
            if "reco%2Fmdst" in path:
                return "dids", [] if self.lacks == "member" else [{"name": NAME}]
            return "dids", [{"name": one.name} for one in files]
        if method == "GET":
            return "did", [{"name": NAME, "type": "DATASET", "open": True}]
        return "write", None


def open_catalogue(service):
    server = RucioServer(
        "https://rucio.example.org", "prod", RucioCredentials("u", "p"), pause=lambda _: None
    )
    server._client = service
    return Rucio(
        server, CatalogueSettings("rucio", "https://rucio.example.org", "prod", "belle", "RSE", "RSE", "")
    )


def register(catalogue):
    try:
        return catalogue.register([DATASET])[NAME]
    except SourceUnavailable as error:
        return error


def test_the_rehearsed_server_is_believed_when_all_is_there():
    assert register(open_catalogue(Rehearsed())) is None
    for lacks in LACKS:
        assert register(open_catalogue(Rehearsed(lacks))) is not None


@pytest.mark.slow
@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize("lacks", [None, *LACKS])
def test_no_reply_that_goes_wrong_makes_a_dataset_whole(question, lacks):
    service = Rehearsed(lacks)
    catalogue = open_catalogue(service)
    draw = random.Random(f"{question} {lacks}")

    def tell(asked, reply):
        return mutate_reply(draw, reply, ("Created", "[]\n", "{}\n")) if asked == question else reply

    service.tell = tell
    for _ in range(MANY // (1 + len(LACKS))):
        found = register(catalogue)
        assert found is None or isinstance(found, Conflict | SourceUnavailable)
        assert found is not None or lacks is None, (question, lacks)
