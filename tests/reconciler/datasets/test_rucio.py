"""The catalogue `rucio`, against a real server: what is written is read back, and everything may be done again."""

from __future__ import annotations

import contextlib
import itertools
import json
from dataclasses import replace
from urllib.parse import quote

import pytest

from ci.cli.exits import Exit
from reconciler.datasets.catalogues.port import Conflict, RegisteredDataset, RegisteredFile
from reconciler.datasets.catalogues.rucio import Rucio
from reconciler.datasets.catalogues.rucio_server import RucioCredentials, RucioServer, read_credentials
from reconciler.ledger.schema.tables import registrations
from reconciler.ledger.store.database import State, reading
from reconciler.outside.errors import SourceUnavailable
from schemas.policy.site import CatalogueSettings
from tests.support.services.rucio_server import ACCOUNT, PASSWORD, USER, serving_rucio
from tests.support.worlds.builders import SITE
from tests.support.worlds.skimmed import RUNS, Skimmed

pytestmark = [pytest.mark.slow, pytest.mark.allow_hosts(["127.0.0.1"])]
RSE, OTHER, PLACED, SCOPE = "KEK-TMP-SE", "DESY-TMP-SE", "KEK-PLACED-SE", "belle"
NUMBERS = itertools.count(1)


@pytest.fixture(scope="session")
def rucio(postgresql):
    with serving_rucio(postgresql) as server:
        server.make_site(RSE, SCOPE)
        server.must("POST", f"/rses/{OTHER}", {"deterministic": True})
        server.make_site(PLACED, SCOPE, deterministic=False)
        yield server


def open_rucio(rucio, password=PASSWORD, rse=RSE, rule=RSE, scope=SCOPE, pfn="", **settings):
    server = RucioServer(
        rucio.url, ACCOUNT, RucioCredentials(USER, password), pause=lambda _: None, **settings
    )
    chosen = CatalogueSettings("rucio", rucio.url, ACCOUNT, scope, rse, rule, pfn)
    return Rucio(server, chosen)


@pytest.fixture
def catalogue(rucio):
    return open_rucio(rucio)


def make_dataset(count=3, number=None, version=1, replaces=()):
    """A dataset of a campaign of its own."""
    begin = f"/belle/Data/release-03-00-00/tag/c{next(NUMBERS) if number is None else number}"
    name = f"{begin}/reco-v{version}/e0003/4S/r00529/mdst"
    entries = tuple(
        RegisteredFile(
            f"{name}/mdst.{i}.root",
            f"r00529/v{version}/mdst.{i}.root",
            100 + i,
            {"adler32": f"{i + 1:08x}"},
            i,
        )
        for i in range(count)
    )
    facts = {"run": 529, "level": "mdst", "campaign": "proc7"}
    return RegisteredDataset(name, f"{begin}/reco/mdst", tuple(replaces), "/data", facts, entries)


def did(dataset_or_name, rest=""):
    name = dataset_or_name if isinstance(dataset_or_name, str) else dataset_or_name.name
    return f"/dids/{SCOPE}/{quote(name, safe='')}{rest}"


def names(rows):
    return sorted(row["name"] for row in rows)


def test_a_dataset_is_there_with_files_replicas_rule_and_container(rucio, catalogue):
    one, two = make_dataset(), make_dataset()
    assert catalogue.register([one, two]) == {one.name: None, two.name: None}
    for dataset in (one, two):
        content = rucio.must("GET", did(dataset, "/dids"))
        assert [(row["name"], row["bytes"], row["adler32"]) for row in content] == [
            (entry.name, entry.size, entry.checksums["adler32"]) for entry in dataset.entries
        ]
        (state,) = rucio.must("GET", did(dataset))
        assert (state["type"], state["open"]) == ("DATASET", False)
        (rule,) = rucio.must("GET", did(dataset, "/rules"))
        assert (rule["rse_expression"], rule["state"], rule["locks_ok_cnt"]) == (RSE, "OK", 3)
        assert names(rucio.must("GET", did(dataset.collection, "/dids"))) == [dataset.name]
        (meta,) = rucio.must("GET", did(dataset, "/meta"))
        assert (meta["run_number"], meta["datatype"], meta["campaign"]) == (529, "mdst", "proc7")
    dids = [{"scope": SCOPE, "name": entry.name} for entry in one.entries]
    for row in rucio.must("POST", "/replicas/list", {"dids": dids}):
        assert row["states"] == {RSE: "AVAILABLE"}


def test_everything_may_be_done_again(rucio, catalogue):
    dataset = make_dataset()
    for _ in range(3):
        assert catalogue.register([dataset]) == {dataset.name: None}
    assert len(rucio.must("GET", did(dataset, "/rules"))) == 1


@pytest.mark.parametrize("done", range(1, 15))
def test_a_crash_after_any_request_is_gone_on_from(rucio, done):
    """The client ends after its `done`-th request; another one finishes what it left."""
    dataset, other = make_dataset(), make_dataset(count=1)
    broken = open_rucio(rucio)
    call, left = broken._server.call, itertools.repeat(None, done)

    def crash(*arguments):
        if next(left, "over") == "over":
            raise KeyboardInterrupt
        return call(*arguments)

    broken._server.call = crash
    with contextlib.suppress(KeyboardInterrupt):
        assert broken.register([dataset, other]) == {dataset.name: None, other.name: None}
    assert open_rucio(rucio).register([dataset, other]) == {dataset.name: None, other.name: None}
    assert names(rucio.must("GET", did(dataset, "/dids"))) == [entry.name for entry in dataset.entries]


def test_a_batch_with_one_file_attached_already_attaches_the_others(rucio, catalogue):
    dataset = make_dataset()
    catalogue.register([replace(dataset, entries=dataset.entries[:1])])
    rucio.must("PUT", did(dataset, "/status"), {"open": True})
    assert catalogue.register([dataset]) == {dataset.name: None}
    assert len(rucio.must("GET", did(dataset, "/dids"))) == 3


@pytest.mark.parametrize("change", [{"size": 999}, {"checksums": {"adler32": "ffffffff"}}])
def test_another_size_or_checksum_under_our_name_is_a_conflict_and_not_silently_accepted(
    rucio, catalogue, change
):
    dataset, fine = make_dataset(), make_dataset()
    rows = [{"scope": SCOPE, "name": dataset.entries[1].name, "bytes": 101, "adler32": "00000002"}]
    rucio.must("POST", "/replicas/", {"rse": RSE, "files": rows})
    entries = list(dataset.entries)
    entries[1] = replace(entries[1], **change)
    found = catalogue.register([replace(dataset, entries=tuple(entries)), fine])
    assert "is known with 101 bytes and adler32 00000002" in str(found[dataset.name])
    assert found[fine.name] is None, "the others are registered all the same"


def test_a_file_that_is_known_without_a_replica_is_held_against_ours_too(rucio, catalogue):
    """Its replicas can be listed as none, and adding one with other content is accepted in silence."""
    dataset = make_dataset(count=1)
    entry = dataset.entries[0]
    row = {"scope": SCOPE, "name": entry.name, "bytes": 1, "adler32": "0000000f"}
    rucio.must("POST", "/replicas/", {"rse": OTHER, "files": [row]})
    gone = {"rse": OTHER, "files": [{"scope": SCOPE, "name": entry.name}]}
    rucio.ask("DELETE", "/replicas/", gone)
    found = catalogue.register([dataset])[dataset.name]
    assert isinstance(found, Conflict) or found is None
    if found is None:  # the server forgot the name with its last replica
        (back,) = rucio.must("GET", did(dataset, "/dids"))
        assert (back["bytes"], back["adler32"]) == (entry.size, entry.checksums["adler32"])


@pytest.mark.parametrize("kind", ["DATASET", "CONTAINER"])
def test_a_files_name_that_is_taken_by_another_kind_is_a_conflict(rucio, catalogue, kind):
    dataset = make_dataset()
    rucio.must("POST", "/dids", [{"scope": SCOPE, "name": dataset.entries[0].name, "type": kind}])
    assert f"is a {kind}, and no file" in str(catalogue.register([dataset])[dataset.name])


def test_a_datasets_name_that_is_a_containers_is_a_conflict(rucio, catalogue):
    dataset = make_dataset()
    rucio.must("POST", "/dids", [{"scope": SCOPE, "name": dataset.name, "type": "CONTAINER"}])
    assert "is a CONTAINER, and no dataset" in str(catalogue.register([dataset])[dataset.name])


def test_a_closed_dataset_is_taken_as_it_is_if_it_is_whole(rucio, catalogue):
    dataset = make_dataset()
    catalogue.register([dataset])
    assert catalogue.register([dataset])[dataset.name] is None
    short = make_dataset()
    catalogue.register([replace(short, entries=short.entries[:2])])
    assert "is closed, and not whole" in str(catalogue.register([short])[short.name])


def test_a_stranger_in_the_dataset_is_a_conflict(rucio, catalogue):
    dataset = make_dataset()
    catalogue.register([dataset])
    few = replace(dataset, entries=dataset.entries[:2])
    assert "which is none of its files" in str(catalogue.register([few])[dataset.name])


def test_a_stranger_by_another_name_is_a_conflict_of_the_dataset_that_holds_it(rucio, catalogue):
    dataset, fine = make_dataset(), make_dataset()
    row = {"scope": SCOPE, "name": f"stranger{next(NUMBERS)}", "bytes": 1, "adler32": "00000001"}
    rucio.must("POST", "/replicas/", {"rse": RSE, "files": [row]})
    rucio.must("POST", "/dids", [{"scope": SCOPE, "name": dataset.name, "type": "DATASET"}])
    rucio.must("POST", did(dataset, "/dids"), {"dids": [{"scope": SCOPE, "name": row["name"]}]})
    found = catalogue.register([dataset, fine])
    assert f"holds {row['name']}, which is none of its files" in str(found[dataset.name])
    assert found[fine.name] is None


def test_a_file_that_was_detached_behind_our_back_is_noticed(rucio, catalogue):
    """Rucio detaches from a closed dataset in silence."""
    dataset = make_dataset()
    catalogue.register([dataset])
    rucio.must("DELETE", did(dataset, "/dids"), {"dids": [{"scope": SCOPE, "name": dataset.entries[0].name}]})
    assert "is closed, and not whole" in str(catalogue.register([dataset])[dataset.name])


def test_a_later_version_takes_the_place_of_the_earlier_one_in_the_container(rucio, catalogue):
    number = next(NUMBERS)
    first = make_dataset(number=number)
    second = make_dataset(number=number, version=2, replaces=[first.name])
    catalogue.register([first])
    for _ in range(2):
        catalogue.register([second])
        assert names(rucio.must("GET", did(first.collection, "/dids"))) == [second.name]
    assert len(rucio.must("GET", did(first, "/dids"))) == 3, "the earlier version itself is left alone"


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"scope": "nowhere"}, "ScopeNotFound"),
        ({"rse": "NOWHERE"}, "RSENotFound"),
        ({"rule": "NOWHERE"}, "InvalidRSEExpression"),
        ({"rule": "KEK-TMP-SE&DESY-TMP-SE"}, "InvalidRSEExpression"),
    ],
)
def test_settings_that_the_server_does_not_know_are_told_with_its_words(rucio, settings, said):
    with pytest.raises(SourceUnavailable, match=said):
        open_rucio(rucio, **settings).register([make_dataset()])


def test_a_name_that_is_too_long_is_a_conflict_of_its_own(catalogue):
    dataset, fine = make_dataset(), make_dataset()
    long = replace(dataset, entries=(replace(dataset.entries[0], name=f"{dataset.name}/{'x' * 250}"),))
    found = catalogue.register([long, fine])
    assert "of 250 characters" in str(found[dataset.name])
    assert found[fine.name] is None


def test_a_wrong_password_says_who_is_not_let_in(rucio):
    with pytest.raises(SourceUnavailable, match="does not let root in") as error:
        open_rucio(rucio, password="wrong").register([make_dataset()])
    assert "wrong" not in str(error.value)
    assert PASSWORD not in repr(RucioCredentials(USER, PASSWORD))


def test_a_token_that_has_expired_is_renewed(rucio, catalogue):
    catalogue.register([make_dataset()])
    catalogue._server._token = "expired"
    dataset = make_dataset()
    assert catalogue.register([dataset]) == {dataset.name: None}


def test_replicas_lie_where_the_storage_has_them(rucio):
    """A storage element that derives no places from names is told each."""
    dataset = make_dataset()
    placed = {"rse": PLACED, "rule": PLACED, "pfn": "file://localhost:0/data"}
    assert open_rucio(rucio, **placed).register([dataset]) == {dataset.name: None}
    dids = [{"scope": SCOPE, "name": dataset.entries[0].name}]
    (row,) = rucio.must("POST", "/replicas/list", {"dids": dids})
    assert row["rses"] == {PLACED: ["file://localhost/data/r00529/v1/mdst.0.root"]}
    elsewhere = open_rucio(rucio, **{**placed, "pfn": "file://localhost:0/other"})
    assert "is known at file://localhost/data/" in str(elsewhere.register([dataset])[dataset.name])


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({}, None),
        ({"scope": "nowhere"}, "has no scope nowhere"),
        ({"rse": "NOWHERE"}, "RSENotFound"),
        ({"rse": PLACED}, "does not derive places"),
        ({"password": "wrong"}, "does not let root in"),
    ],
)
def test_what_would_go_wrong_is_told_before_it_does(rucio, settings, said):
    found = open_rucio(rucio, **settings).examine()
    assert not found if said is None else said in found[0].what


def test_without_credentials_it_is_said_what_is_wanted(tmp_path):
    with pytest.raises(SourceUnavailable, match="B2PROD_RUCIO_USER"):
        read_credentials("userpass", {})
    with pytest.raises(SourceUnavailable, match="voms-proxy-init"):
        read_credentials("x509_proxy", {"X509_USER_PROXY": str(tmp_path / "none")})


def test_a_server_that_is_down_registers_nothing_and_one_that_is_back_everything(rucio):
    catalogue, dataset = open_rucio(rucio, timeout=5.0), make_dataset()
    rucio.stop()
    try:
        with pytest.raises(SourceUnavailable, match="does not answer"):
            catalogue.register([dataset])
    finally:
        rucio.start()
    assert catalogue.register([dataset]) == {dataset.name: None}


def test_a_dataset_of_more_files_than_one_request_takes(catalogue):
    dataset = make_dataset(count=501)
    assert catalogue.register([dataset]) == {dataset.name: None}


@pytest.fixture
def skimmed(tmp_path, rucio, monkeypatch):
    settings = (
        f"kind: rucio, url: {rucio.url}, account: {ACCOUNT}, scope: {SCOPE}, rse: {RSE}, auth: userpass"
    )
    monkeypatch.setenv("B2PROD_RUCIO_USER", USER)
    monkeypatch.setenv("B2PROD_RUCIO_PASSWORD", PASSWORD)
    return Skimmed(tmp_path, f"{SITE}catalogue: {{{settings}}}\n")


def test_from_produced_to_registered_through_the_command_line(skimmed, rucio, capsys):
    skimmed.b2prod("doctor", "--json")
    (told,) = (one for one in json.loads(capsys.readouterr().out) if one["looked_at"] == "catalogue rucio")
    assert told["state"] == "fine"
    gone, changed, _ = skimmed.files
    content = changed.read_bytes()
    kept = gone.read_bytes()
    gone.unlink()
    changed.write_bytes(content[:-1] + b"x")
    assert skimmed.b2prod("register") == Exit.FINDINGS
    told = capsys.readouterr().err
    assert f"{gone} is gone, and was not registered" in told
    assert f"{changed} is not what was published" in told
    gone.write_bytes(kept)
    changed.write_bytes(content)
    assert skimmed.b2prod("register", "--json") == Exit.FINE
    assert json.loads(capsys.readouterr().out)["outputs"] == RUNS - 1
    with reading(State(skimmed.root / ".b2prod")) as connection:
        rows = list(connection.execute(registrations.select()))
    assert len(rows) == RUNS
    for row in rows:
        (file,) = rucio.must("GET", did(row.name, "/dids"))
        assert file["bytes"] > 0
        assert rucio.must("GET", did(row.name, "/rules"))[0]["state"] == "OK"
    skimmed.restore()  # the ledger forgets; the catalogue does not
    assert skimmed.b2prod("register", "--json") == Exit.FINE
    assert json.loads(capsys.readouterr().out)["outputs"] == RUNS
