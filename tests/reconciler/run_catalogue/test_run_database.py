"""The run database's REST service: pages, tokens, labels, and every answer that is none."""

from __future__ import annotations

import json
from socket import SHUT_RDWR

import pytest

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.model.run import Run
from reconciler.outside.errors import SourceUnavailable
from reconciler.run_catalogue.lists.run_lists import collect_runs
from reconciler.run_catalogue.run_database import RunDatabase, name_energy
from schemas.manifest.runs import RunRange, run_key
from tests.support.services.loopback import serve

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])


def describe(number, **changes):
    """A run as the service has it."""
    return {
        "experiment": 8,
        "run": number,
        "run_type": "physics",
        "time_start": "2019-03-25T09:00:00+09:00",
        "time_stop": "2019-03-25T10:00:00+09:00",
        "ler": {"momentum": 4.0},
        "her": {"momentum": 7.004},
        "statistics": {"lumi_recorded": 100.5, "lumi_exp_delivered": 110.0},
        "detectors": {"status_cdc": "RUNNING"},
        "quality_expert": {"CDC": "GOOD", "SVD": "GOOD"},
        **changes,
    }


class Service:
    """Pages of so many runs each; `answers` maps the ending of a path to what replaces its page."""

    def __init__(self, runs, size=2):
        self.runs, self.size = runs, size
        self.answers = {}
        self.seen = []
        self.asked = []

    def find(self, path, query):
        if path != "/rest/v1/runs/":
            return 404, {"detail": "Not found."}
        self.asked.append(query)
        page = int(query.get("page", ["1"])[0])
        wanted = [
            item
            for item in self.runs
            if int(query.get("min_run", [0])[0])
            <= (item["run"] or 0)
            <= int(query.get("max_run", [10**9])[0])
        ]
        here = wanted[(page - 1) * self.size : page * self.size]
        more = (
            f"{self.address}/runs/?min_experiment=8&page={page + 1}"
            if page * self.size < len(wanted)
            else None
        )
        return 200, {"results": here, "next": more}


@pytest.fixture
def service():
    service = Service([describe(number) for number in range(1, 6)])
    server = serve(service)
    service.address = f"http://127.0.0.1:{server.server_port}/rest/v1"
    yield service
    server.shutdown()
    server.server_close()


@pytest.fixture
def read(service):
    def read(token=None, runs=None):
        listing = RunDatabase(service.address, 8, runs, token, timeout=5, attempts=2, pause=lambda _: None)
        return (*collect_runs(listing), listing)

    return read


def test_all_pages_are_read(service, read):
    found, refused, listing = read()
    times = ("2019-03-25T00:00:00Z", "2019-03-25T01:00:00Z")
    assert found == tuple(Run(8, number, "physics", None, *times, "4S", "good") for number in range(1, 6))
    assert refused == ()
    assert listing.luminosity == {run_key(8, number): 100.5 for number in range(1, 6)}
    assert service.asked[0] == {"min_experiment": ["8"], "max_experiment": ["8"], "expand": ["true"]}


def test_only_the_runs_that_were_asked_for(service, read):
    assert [one.run for one in read(runs=RunRange(2, 3))[0]] == [2, 3]


def test_what_is_not_known_stays_unknown(service, read):
    nothing = dict.fromkeys(("time_stop", "ler", "her", "quality_expert", "statistics"))
    service.runs = [
        describe(1, **nothing),
        describe(2, statistics={"lumi_recorded": None}, quality_expert={}),
    ]
    (first, second), refused, listing = read()
    assert (first.stop, first.energy, first.quality, second.quality) == (None, None, None, None)
    assert (refused, listing.luminosity) == ((), {})


@pytest.mark.parametrize(
    ("words", "quality"),
    [
        (["GOOD", "RECOVERABLE"], "recoverable"),
        (["GOOD", "NO EVENTS"], "bad"),
        (["RECOVERABLE", "BAD"], "bad"),
        ([None, "GOOD"], "good"),
        ([None, None], None),
    ],
    ids=str,
)
def test_a_run_is_as_good_as_its_worst_detector(service, read, words, quality):
    service.runs = [describe(1, quality_expert={f"detector {n}": word for n, word in enumerate(words)})]
    assert read()[0][0].quality == quality


@pytest.mark.parametrize(
    ("energy", "label"),
    [(10.58, None), (10.5801, "4S"), (10.53, "4S_offres"), (10.4, "4S_scan"), (10.86, "5S"), (9.46, None)],
)
def test_the_label_of_an_energy_is_that_of_the_open_window_around_it(energy, label):
    assert name_energy(energy / 2, energy / 2) == label


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"run_type": "physics (B=0)"}, "run type 'physics (B=0)'"),
        ({"run": None}, "missing"),
        ({"experiment": 7}, "experiment 7"),
        ({"time_stop": "about noon"}, "not a time"),
        ({"quality_expert": {"CDC": "SO SO"}}, "'SO SO' of CDC"),
        ({"statistics": {"lumi_recorded": -1.0}}, "lumi_recorded is -1.0"),
        ({"statistics": {"lumi_recorded": 1e12}}, "lumi_recorded is 1000000000000.0"),
        ({"ler": {"momentum": "4"}}, "momentum of ler is '4'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_run_that_cannot_be_trusted_is_refused_and_the_rest_is_taken(service, read, changes, why):
    service.runs[2] = describe(3, **changes)
    found, (refused,), _ = read()
    assert [one.run for one in found] == [1, 2, 4, 5]
    assert why in refused.reason
    assert '"run"' in refused.text


def answer(status, body, kind="application/json", **headers):
    body = body if isinstance(body, bytes) else json.dumps(body).encode()
    return lambda handler: handler.reply(status, body, kind, **headers)


@pytest.mark.parametrize(
    ("reply", "says"),
    [
        (answer(404, {"detail": "Not found."}), "answers 404"),
        (answer(401, {"message": "who are you?"}), "answers 401: who are you"),
        (answer(503, {}), "does not answer after 2 attempts"),
        (answer(200, b"<html>maintenance</html>", "text/html"), "HTML"),
        (answer(200, b'{"results": [', "application/json"), "where JSON was due"),
        (answer(200, []), "not a page of runs"),
        (answer(200, {"results": None, "next": None}), "not a page of runs"),
        (answer(200, {"results": []}), "not a page of runs"),
        (
            answer(200, {"results": [], "next": "https://elsewhere.example.org/rest/v1/runs/?page=2"}),
            "leads to",
        ),
        (answer(200, {"results": [], "next": "/admin/?page=2"}), "leads to"),
        (answer(200, {"results": [], "next": 2}), "leads to"),
        (answer(200, {"results": [], "next": None}), "holds no run"),
        (lambda handler: handler.connection.shutdown(SHUT_RDWR) or True, "does not answer"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_no_whole_answer_is_a_source_that_is_unavailable(service, read, reply, says):
    service.answers["/runs/"] = reply
    with pytest.raises(SourceUnavailable, match=says):
        read()


def test_pages_that_go_round_end(service, read):
    page = {"results": [describe(1)], "next": f"{service.address}/runs/?page=7"}
    service.answers["/runs/"] = answer(200, page)
    with pytest.raises(SourceUnavailable, match="go round"):
        read()


def test_a_page_that_is_missing_in_the_middle_is_no_shorter_list(service, read):
    pages = iter([False, True])
    fail = answer(500, {})
    service.answers["/runs/"] = lambda handler: fail(handler) if next(pages, True) else False
    with pytest.raises(SourceUnavailable, match="does not answer"):
        read()


def test_the_token_is_sent_as_the_run_database_wants_it(service, read):
    read(token="s3cret")
    assert {headers.get("Authorization") for _, headers in service.seen} == {"Bearer s3cret"}


def test_the_command_line_takes_runs_and_their_luminosity(service, tmp_path, capsys, monkeypatch):
    (tmp_path / "productions").mkdir()
    monkeypatch.setenv("B2PROD_RUNDB_TOKEN", "s3cret")
    call = ["--root", str(tmp_path), "runs", "import", service.address]
    assert run(call) == Exit.USAGE
    assert run([*call, "--experiment", "8"]) == Exit.FINE
    assert "runs: 5 new" in capsys.readouterr().err
    assert {headers.get("Authorization") for _, headers in service.seen} == {"Bearer s3cret"}
    assert run(["--root", str(tmp_path), "lumi", "8:1-6", "--unit", "nb"]) == Exit.FINE
    shown = capsys.readouterr()
    assert "online  rundb    –           502.5     5        1" in shown.out
    assert "online rundb: no value for 1 run: 8:6" in shown.err
    service.runs.pop()
    assert run([*call, "--experiment", "8"]) == Exit.UNAVAILABLE
    assert "127.0.0.1 experiment 8 lacks 1 of the 5 runs" in capsys.readouterr().err
