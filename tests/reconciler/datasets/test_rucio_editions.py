"""Editions in a real Rucio: a closed dataset in a container of its own, found whole or not at all, and taken back with the reason."""

from __future__ import annotations

import contextlib
import itertools
import json
from urllib.parse import quote

import pytest

from ci.cli.exits import Exit
from reconciler.datasets.catalogues.port import Conflict, RegisteredDataset, RegisteredFile
from reconciler.datasets.catalogues.rucio import Rucio
from reconciler.datasets.catalogues.rucio_server import RucioCredentials, RucioServer
from reconciler.datasets.publishing.port import EditionToPublish, FileToPublish, WithdrawalNote
from reconciler.datasets.publishing.rucio_editions import RucioEditions, name_container
from reconciler.outside.errors import SourceUnavailable
from schemas.manifest.dataset import DatasetName
from schemas.policy.site import CatalogueSettings
from tests.support.services.rucio_server import ACCOUNT, PASSWORD, USER, serving_rucio
from tests.support.worlds.builders import SITE
from tests.support.worlds.crash_points import BEYOND
from tests.support.worlds.crash_points import crash as crash_at
from tests.support.worlds.skimmed import RUNS, Skimmed

pytestmark = [pytest.mark.slow, pytest.mark.allow_hosts(["127.0.0.1"])]
RSE, SCOPE = "KEK-TMP-SE", "belle"
NUMBERS = itertools.count(1)
FILES = 3


@pytest.fixture(scope="session")
def rucio(postgresql):
    with serving_rucio(postgresql) as server:
        server.make_site(RSE, SCOPE)
        yield server


def did(name, rest="", scope=SCOPE):
    return f"/dids/{scope}/{quote(name, safe='')}{rest}"


def names(rows):
    return sorted(row["name"] for row in rows)


class Published:
    """An edition of registered outputs: one of `outputs`, or of a campaign of its own that registers as many runs."""

    def __init__(self, rucio, runs=2, outputs=None):
        self.rucio = rucio
        self.campaign = f"c{next(NUMBERS)}" if outputs is None else outputs.campaign
        self.begin = f"/belle/Data/release-03-00-00/tag/{self.campaign}"
        self.name = DatasetName(self.campaign, "reco", "mdst", next(NUMBERS))
        self.dataset = f"{self.begin}/reco/edition-{self.name.edition}/mdst"
        self.container = name_container(self.name)
        self.registered = {
            run: f"{self.begin}/reco-v1/e0003/4S/r{run:05d}/mdst" for run in range(1, runs + 1)
        }
        listed, datasets = [], []
        for run, name in self.registered.items():
            files = [(f"r{run}/{i}.root", f"{i}.root", 100 + i) for i in range(FILES)]
            entries = tuple(
                RegisteredFile(f"{name}/{within}", place, size, {"adler32": f"{size:08x}"}, 1)
                for place, within, size in files
            )
            facts = {"run": run, "level": "mdst", "campaign": self.campaign}
            datasets.append(RegisteredDataset(name, f"{self.begin}/reco/mdst", (), "/data", facts, entries))
            listed += [FileToPublish(run, run, f"/data/{file[0]}", *file, "sha256:0") for file in files]
        self.edition = EditionToPublish(self.name, "d" * 64, b"{}", tuple(listed))
        if outputs is None:
            assert not any(Rucio(*self.open()).register(datasets).values())

    def open(self):
        server = RucioServer(self.rucio.url, ACCOUNT, RucioCredentials(USER, PASSWORD), pause=lambda _: None)
        return server, CatalogueSettings("rucio", self.rucio.url, ACCOUNT, SCOPE, RSE, RSE)

    @property
    def place(self):
        return RucioEditions(*self.open(), self.dataset, self.registered)

    def read(self):
        """What a reader finds of the edition: no container, an empty one, or all its files; never a part."""
        status, rows = self.rucio.ask("GET", did(self.container, "/files"))
        if status == 404:
            return None
        assert status == 200, rows
        return names(rows)

    @property
    def files(self):
        return sorted(f"{self.registered[one.output]}/{one.within}" for one in self.edition.files)

    def note(self, reason="made with the wrong tag"):
        return WithdrawalNote(str(self.name), "2026-12-01T10:00:00Z", "me@here", reason, "proc9/reco/mdst:1")


@pytest.fixture(scope="module")
def outputs(rucio):
    return Published(rucio)


@pytest.fixture
def published(rucio, outputs):
    return Published(rucio, outputs=outputs)


def test_an_edition_is_a_closed_dataset_with_a_rule_in_a_container_of_its_own(rucio, published):
    published.place.publish(published.edition)
    assert published.read() == published.files
    (dataset,), (container,) = (
        rucio.must("GET", did(one)) for one in (published.dataset, published.container)
    )
    assert (dataset["type"], dataset["open"]) == ("DATASET", False)
    assert (container["type"], container["open"]) == ("CONTAINER", False)
    (rule,) = rucio.must("GET", did(published.dataset, "/rules"))
    assert (rule["rse_expression"], rule["locks_ok_cnt"]) == (RSE, len(published.files))
    (told,) = rucio.must("GET", did(published.container, "/meta?plugin=ALL"))
    assert told["b2prod_edition"] == str(published.name)
    assert told["b2prod_state"] == "published"
    head = rucio.must("GET", did(f"{published.begin}/reco/mdst", "/dids"))
    assert names(head) == sorted(published.registered.values()), "the container of all runs is as it was"


def test_everything_may_be_done_again(rucio, published):
    for _ in range(3):
        published.place.publish(published.edition)
    assert len(rucio.must("GET", did(published.dataset, "/rules"))) == 1
    assert published.read() == published.files


def crash(place, done):
    """Ends the place's process after its `done`-th request, and tells a reader after each."""
    call, left = place._server.call, itertools.repeat(None, done)

    def end(*arguments):
        if next(left, "over") == "over":
            raise KeyboardInterrupt
        return call(*arguments)

    place._server.call = end
    return place


@pytest.mark.parametrize("done", range(18))
def test_after_any_crash_a_reader_finds_all_or_nothing_and_the_next_one_ends_it(published, done):
    with contextlib.suppress(KeyboardInterrupt):
        crash(published.place, done).publish(published.edition)
    assert published.read() in (None, published.files)
    published.place.publish(published.edition)
    assert published.read() == published.files
    with contextlib.suppress(KeyboardInterrupt):
        crash(published.place, done).withdraw(published.name, published.note())
    assert published.read() in ([], published.files)
    published.place.withdraw(published.name, published.note())
    assert published.read() == []
    with contextlib.suppress(KeyboardInterrupt):
        crash(published.place, done).publish(published.edition)
    assert published.read() in ([], published.files)
    published.place.publish(published.edition)
    assert published.read() == published.files


def test_a_withdrawn_edition_is_found_no_more_and_says_why(rucio, published):
    published.place.publish(published.edition)
    for _ in range(2):
        published.place.withdraw(published.name, published.note())
        assert published.read() == []
    for name in (published.container, published.dataset):
        (told,) = rucio.must("GET", did(name, "/meta?plugin=ALL"))
        assert told["b2prod_state"] == "withdrawn"
        assert told["b2prod_withdrawn"] == "2026-12-01T10:00:00Z by me@here: made with the wrong tag"
        assert told["b2prod_instead"] == "proc9/reco/mdst:1"
    (dataset,) = rucio.must("GET", did(published.dataset))
    assert dataset["open"] is False
    assert names(rucio.must("GET", did(published.dataset, "/dids"))) == published.files


def test_what_was_never_published_is_withdrawn_without_a_trace(rucio, published):
    published.place.withdraw(published.name, published.note())
    assert published.read() is None


def test_a_stranger_in_the_dataset_is_a_conflict_and_nobody_finds_the_edition(rucio, published):
    row = {"scope": SCOPE, "name": f"stranger{next(NUMBERS)}", "bytes": 1, "adler32": "00000001"}
    rucio.must("POST", "/replicas/", {"rse": RSE, "files": [row]})
    rucio.must("POST", "/dids", [{"scope": SCOPE, "name": published.dataset, "type": "DATASET"}])
    rucio.must("POST", did(published.dataset, "/dids"), {"dids": [{"scope": SCOPE, "name": row["name"]}]})
    with pytest.raises(Conflict, match="which is none of its files"):
        published.place.publish(published.edition)
    assert published.read() is None
    assert names(rucio.must("GET", did(published.dataset, "/dids"))) == [row["name"]], "it was left as it was"


@pytest.mark.parametrize("kind", ["CONTAINER", "DATASET"])
def test_a_name_that_is_taken_by_another_kind_is_a_conflict(rucio, published, kind):
    name = {"CONTAINER": published.dataset, "DATASET": published.container}[kind]
    rucio.must("POST", "/dids", [{"scope": SCOPE, "name": name, "type": kind}])
    with pytest.raises(Conflict, match=f"is a {kind}"):
        published.place.publish(published.edition)


def test_a_container_that_holds_something_else_is_a_conflict_for_both_ways(rucio, published):
    other = published.registered[1]
    row = {"scope": SCOPE, "name": published.container, "type": "CONTAINER"}
    rucio.must("POST", "/dids", [{**row, "dids": [{"scope": SCOPE, "name": other}]}])
    for act in (
        lambda: published.place.publish(published.edition),
        lambda: published.place.withdraw(published.name, published.note()),
    ):
        with pytest.raises(Conflict, match="which is not the dataset of the edition"):
            act()
    assert names(rucio.must("GET", did(published.container, "/dids"))) == [other]


def test_a_closed_dataset_that_lacks_a_file_is_a_conflict(rucio, published):
    published.place.publish(published.edition)
    published.place.withdraw(published.name, published.note())
    lost = {"dids": [{"scope": SCOPE, "name": published.files[0]}]}
    rucio.must("DELETE", did(published.dataset, "/dids"), lost)
    with pytest.raises(Conflict, match="is closed, and does not hold"):
        published.place.publish(published.edition)
    assert published.read() == []


def test_a_file_that_was_never_registered_is_told_and_nothing_is_found(rucio, published):
    published.registered[1] += "x"
    with pytest.raises(SourceUnavailable, match="DataIdentifierNotFound"):
        published.place.publish(published.edition)
    assert published.read() is None


def test_more_files_than_one_request_takes(rucio):
    published = Published(rucio, runs=170)
    published.place.publish(published.edition)
    assert published.read() == published.files
    assert len(published.files) > 500


@pytest.fixture
def skimmed(tmp_path, rucio, monkeypatch):
    """A checkout of a scope of its own, since each makes other files with the same names; `files` are those of a name there."""
    scope = f"belle{next(NUMBERS)}"
    rucio.must("POST", f"/scopes/{ACCOUNT}/{scope}")
    settings = (
        f"kind: rucio, url: {rucio.url}, account: {ACCOUNT}, scope: {scope}, rse: {RSE}, auth: userpass"
    )
    monkeypatch.setenv("B2PROD_RUCIO_USER", USER)
    monkeypatch.setenv("B2PROD_RUCIO_PASSWORD", PASSWORD)
    more = f"catalogue: {{{settings}}}\npublications:\n  grid: {{kind: rucio}}\n"
    world = Skimmed(tmp_path, SITE + more)
    world.scope = scope
    return world


def test_from_produced_to_published_and_withdrawn_through_the_command_line(skimmed, rucio, capsys):
    edition = "seven/skims/many:1"
    assert skimmed.b2prod("dataset", "freeze", "seven/skims/many") == Exit.FINE
    assert skimmed.b2prod("publish", edition) == Exit.REFUSED
    assert f"{RUNS} outputs of {edition} of {RUNS} are not registered" in capsys.readouterr().err
    assert skimmed.b2prod("register") == Exit.FINE
    assert skimmed.b2prod("publish", edition) == Exit.FINE
    container = "/belle/collection/Data/seven/skims/many/1"
    assert container in capsys.readouterr().out
    assert len(rucio.must("GET", did(container, "/files", skimmed.scope))) == RUNS
    assert skimmed.b2prod("dataset", "show", edition, "--json") == Exit.FINE
    (told,) = json.loads(capsys.readouterr().out)["published"]
    assert told["place"] == "grid"
    assert skimmed.b2prod("withdraw", edition, "--reason", "the cut was wrong") == Exit.FINE
    assert rucio.must("GET", did(container, "/files", skimmed.scope)) == []
    (meta,) = rucio.must("GET", did(container, "/meta?plugin=ALL", skimmed.scope))
    assert "the cut was wrong" in meta["b2prod_withdrawn"]
    skimmed.restore()  # the ledger forgets; the catalogue does not
    for arguments in (("register",), ("dataset", "freeze", "seven/skims/many"), ("publish", edition)):
        assert skimmed.b2prod(*arguments) == Exit.FINE
    assert len(rucio.must("GET", did(container, "/files", skimmed.scope))) == RUNS


def test_whenever_the_command_is_ended_readers_of_rucio_find_all_or_nothing(skimmed, rucio):
    """Ended between any two effects on the ledger, and after as many requests; the same command ends what it began."""
    edition, container = "seven/skims/many:1", "/belle/collection/Data/seven/skims/many/1"
    for arguments in (("dataset", "freeze", "seven/skims/many"), ("register",)):
        assert skimmed.b2prod(*arguments) == Exit.FINE
    publish, withdraw = ("publish", edition, "--reason", "again"), ("withdraw", edition, "--reason", "wrong")
    points = 0
    for at in range(1, BEYOND, 2):
        crashed = crash_at(lambda: skimmed.b2prod(*publish), at)
        status, rows = rucio.ask("GET", did(container, "/files", skimmed.scope))
        assert status in (200, 404)
        assert status == 404 or len(rows) in (0, RUNS)
        assert skimmed.b2prod(*publish) == Exit.FINE
        assert len(rucio.must("GET", did(container, "/files", skimmed.scope))) == RUNS
        crash_at(lambda: skimmed.b2prod(*withdraw), at)
        assert len(rucio.must("GET", did(container, "/files", skimmed.scope))) in (0, RUNS)
        assert skimmed.b2prod(*withdraw) == Exit.FINE
        assert rucio.must("GET", did(container, "/files", skimmed.scope)) == []
        if not crashed:
            break
        points += 1
    assert points > 3
