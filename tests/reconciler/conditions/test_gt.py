"""`b2prod gt` as people and pipelines meet it: files written, exit codes, what is said of the real tags."""

from __future__ import annotations

import json

import pytest

from ci.cli.exits import Exit
from ci.command_line import run
from ci.verbs.data.global_tags import TOKEN
from reconciler.conditions.metadata_file import write_metadata
from reconciler.ledger.store.database import State, opened
from reconciler.model.run import Run
from reconciler.run_catalogue.run_import import import_runs
from schemas.conditions.snapshot import freeze_tag, read_snapshot, write_snapshot
from tests.support.inputs.real_tags import NAMES, read_listed
from tests.support.worlds.builders import snapshot as text_of
from tests.support.worlds.worlds import ONE_STEP, World

FIRST, SECOND, THIRD = NAMES


@pytest.fixture
def real(shared_data):
    return read_listed(shared_data / "belle2" / "conditions")


@pytest.fixture
def checkout(tmp_path, real):
    """A bare checkout with the three real tags; returns what calls `b2prod gt` there."""
    folder = tmp_path / "checkout" / "productions" / "global-tags"
    folder.mkdir(parents=True)
    for name, tag in real.items():
        (folder / f"{name}.iov").write_bytes(write_snapshot(tag))

    def call(*arguments):
        return run(["--root", str(folder.parents[1]), "gt", *map(str, arguments)])

    call.folder = folder
    call.state = State(folder.parents[1] / ".b2prod")
    return call


@pytest.fixture
def metadata(tmp_path, real):
    path = tmp_path / "metadata.sqlite"
    path.write_bytes(write_metadata(list(real.values())))
    return path


def catalogue(checkout, *runs):
    with opened(checkout.state) as engine:
        import_runs(engine, [Run(experiment, number, "physics") for experiment, number in runs])


def test_a_pull_writes_a_snapshot_and_a_second_one_leaves_it(checkout, metadata, capsys, real):
    path = checkout.folder / f"{SECOND}.iov"
    path.unlink()
    assert checkout("pull", SECOND, "--from", metadata) == Exit.FINE
    assert "6 IoVs, 6 new, 0 gone, VALIDATED" in capsys.readouterr().err
    content = path.read_bytes()
    snapshot, findings = read_snapshot(path.name, SECOND, content)
    assert not findings
    assert (snapshot.digest, snapshot.id, snapshot.source) == (real[SECOND].digest, 2464, "metadata.sqlite")
    assert snapshot.retrieved.endswith("Z")
    assert checkout("pull", SECOND, "--from", metadata, "--json") == Exit.FINE
    assert json.loads(capsys.readouterr().out)["written"] is False
    assert path.read_bytes() == content
    assert [one.name for one in checkout.folder.iterdir() if not one.name.endswith(".iov")] == []


def test_a_pull_says_how_much_came_and_went(checkout, tmp_path, capsys, real):
    shorter = freeze_tag(SECOND, "VALIDATED", real[SECOND].iovs[1:], tag_id=2464)
    (tmp_path / "new.iov").write_bytes(write_snapshot(shorter))
    assert checkout("pull", SECOND, "--from", tmp_path / "new.iov") == Exit.FINE
    assert "5 IoVs, 0 new, 1 gone" in capsys.readouterr().err


@pytest.mark.parametrize("state", ["OPEN", "INVALID"])
def test_a_tag_that_no_job_may_use_is_not_written(checkout, tmp_path, capsys, real, state):
    path = tmp_path / "tag.iov"
    path.write_bytes(write_snapshot(freeze_tag("tag", state, real[FIRST].iovs)))
    assert checkout("pull", "tag", "--from", path) == Exit.FINDINGS
    assert f"BP502 tag is in state {state}" in capsys.readouterr().err
    assert not (checkout.folder / "tag.iov").exists()


def test_an_empty_tag_is_not_written(checkout, tmp_path, capsys):
    path = tmp_path / "tag.iov"
    path.write_bytes(write_snapshot(freeze_tag("tag", "PUBLISHED", ())))
    assert checkout("pull", "tag", "--from", path) == Exit.FINDINGS
    assert "holds no payload" in capsys.readouterr().err


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("pull", "other", "--from", "{metadata}"), Exit.USAGE, "has no global tag other"),
        (("pull", "../x", "--from", "{metadata}"), Exit.USAGE, "not a name of a global tag"),
        (("pull", SECOND, "--from", "away.sqlite"), Exit.UNAVAILABLE, "cannot be read"),
        (("pull", SECOND, "--from", "http://u:p@127.0.0.1/"), Exit.UNAVAILABLE, "password"),
        (("show", "other"), Exit.USAGE, "`b2prod gt pull other` writes it"),
        (("show", "../x"), Exit.USAGE, "neither a global tag nor a file"),
        (("show", "away.iov"), Exit.USAGE, "there is no snapshot away.iov"),
        (("iov", SECOND, "--run", "5"), Exit.USAGE, "write it as in"),
        (("iov", SECOND, "--run", "5:1-2"), Exit.USAGE, "is not a run"),
        (("iov", SECOND, "--run", "5:1", "--runs", "5:1"), Exit.USAGE, "not both"),
        (("check", SECOND, "--runs", "5:9-1"), Exit.USAGE, "not a list of runs"),
        (("check", SECOND, "--runs", ""), Exit.USAGE, "lists no run"),
        (("check", SECOND), Exit.USAGE, "--runs"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else None,
)
def test_a_slip_is_answered_and_has_its_exit_code(checkout, metadata, capsys, arguments, code, says):
    before = sorted((one, one.read_bytes()) for one in checkout.folder.iterdir())
    assert checkout(*(word.format(metadata=metadata) for word in arguments)) == code
    err = capsys.readouterr().err
    assert says in err
    assert "Traceback" not in err
    assert sorted((one, one.read_bytes()) for one in checkout.folder.iterdir()) == before


def test_a_broken_snapshot_is_a_finding(checkout, capsys):
    (checkout.folder / f"{SECOND}.iov").write_text(text_of(SECOND).replace("Geometry 1", "Geometry 2"))
    assert checkout("show", SECOND) == Exit.FINDINGS
    assert "BP502 the lines do not match" in capsys.readouterr().err


def test_a_token_is_never_told(checkout, capsys, monkeypatch):
    monkeypatch.setenv(TOKEN, "very secret")
    assert checkout("pull", SECOND, "--from", "https://conditions.example.org/") == Exit.UNAVAILABLE
    captured = capsys.readouterr()
    assert "token" in captured.err
    assert "secret" not in captured.err + captured.out


def test_a_pull_that_moves_a_locked_snapshot_is_refused_until_it_is_meant(tmp_path, capsys):
    world = World(tmp_path / "world", campaign=ONE_STEP, files=(1,))
    path = tmp_path / "new.iov"
    line = "CDCGeometry 2 0123456789abcdef0123456789abcde0 0,0,-1,-1"
    path.write_text(text_of("tag_a", line))
    pinned = world.root / "productions" / "global-tags" / "tag_a.iov"
    before = pinned.read_bytes()

    def pull(*more):
        return run(["--root", str(world.root), "gt", "pull", "tag_a", "--from", str(path), *more])

    assert pull() == Exit.REFUSED
    assert "`b2prod resolve proc7`" in capsys.readouterr().err
    assert pinned.read_bytes() == before
    assert pull("--replace") == Exit.FINE
    assert "now run `b2prod resolve proc7`" in capsys.readouterr().err
    assert line in pinned.read_text()
    world.lock()
    assert pull() == Exit.FINE
    assert "is current" in capsys.readouterr().err


def test_show_tells_what_a_snapshot_is_of(checkout, capsys, real):
    assert checkout("show", SECOND, "--json") == Exit.FINE
    shown = json.loads(capsys.readouterr().out)
    expected = {"id": 2464, "state": "VALIDATED", "usable": True, "payloads": 1, "iovs": 6}
    assert expected.items() <= shown.items()
    assert shown["digest"] == real[SECOND].digest
    assert checkout("show", checkout.folder / f"{SECOND}.iov") == Exit.FINE
    assert real[SECOND].digest in capsys.readouterr().out


def test_iov_lists_what_b2conditionsdb_lists(checkout, capsys):
    assert checkout("iov", SECOND, "--runs", "5:200-300") == Exit.FINE
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0] == ["payload", "revision", "md5", "IoV"]
    assert [(row[1], row[3]) for row in rows[1:]] == [
        ("r2914", "5,199,5,250"),
        ("r2999", "5,251,5,298"),
        ("r2670", "5,299,5,299"),
        ("r3001", "5,300,5,399"),
    ]
    assert checkout("iov", SECOND, "--json") == Exit.FINE
    assert len(json.loads(capsys.readouterr().out)) == 6


def test_iov_of_a_run_says_which_overlapping_payload_is_used(checkout, capsys):
    assert checkout("iov", FIRST, "--run", "5:87", "--json") == Exit.FINE
    found = json.loads(capsys.readouterr().out)
    assert {item["revision"]: item["used"] for item in found} == {"2553": False, "2670": False, "2704": True}
    assert checkout("iov", FIRST, "--run", "5:87") == Exit.FINE
    assert capsys.readouterr().out.count("a higher revision holds") == 2


def test_diff_agrees_with_b2conditionsdb(checkout, capsys):
    assert checkout("diff", SECOND, THIRD, "--iovs") == Exit.FINE
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [(row[0], row[2], row[4]) for row in rows] == [
        ("-", "r2670", "5,0,5,100"),
        ("-", "r2914", "5,199,5,250"),
        ("-", "r2999", "5,251,5,298"),
        ("-", "r2670", "5,299,5,299"),
        ("-", "r3001", "5,300,5,399"),
        ("-", "r3112", "5,400,5,499"),
        ("+", "r3001", "5,0,5,999"),
        ("+", "r3205", "5,999,5,1050"),
        ("+", "r3299", "5,1051,5,-1"),
    ]


def test_diff_tells_which_runs_of_the_catalogue_each_change_touches(checkout, capsys):
    catalogue(checkout, *((5, number) for number in (50, 150, 350, 420, 2000)), (4, 1))
    assert checkout("diff", SECOND, THIRD, "--json") == Exit.FINE
    found = json.loads(capsys.readouterr().out)
    changes = [(change["kind"], change["iov"], change["runs"]) for change in found["changes"]]
    # r3001 holds for 5:300-399 in both, so run 350 is not touched
    assert changes == [
        ("changed", "5,0,5,100", "5:50"),
        ("added", "5,101,5,198", "5:150"),
        ("changed", "5,199,5,250", ""),
        ("changed", "5,251,5,298", ""),
        ("changed", "5,299,5,299", ""),
        ("changed", "5,400,5,499", "5:420"),
        ("added", "5,500,5,998", ""),
        ("added", "5,999,5,1050", ""),
        ("added", "5,1051,5,-1", "5:2000"),
    ]
    assert found["runs"] == {"touched": 4, "of": 6}
    assert checkout("diff", SECOND, THIRD, "--runs", "5:1-200") == Exit.FINE
    captured = capsys.readouterr()
    assert "2 of 2 runs of the run catalogue are touched" in captured.err
    assert [line.split()[0] for line in captured.out.splitlines()] == ["~", "+", "~"]


def test_diff_without_a_catalogue_counts_the_runs_that_are_listed(checkout, capsys):
    assert checkout("diff", SECOND, THIRD, "--runs", "5:300-410") == Exit.FINE
    captured = capsys.readouterr()
    assert "11 of 111 runs of those listed are touched" in captured.err
    assert "11 runs: 5:400-410" in captured.out


def test_diff_ends_with_2_where_that_is_asked_for(checkout):
    assert checkout("diff", SECOND, THIRD, "--exit-code") == Exit.CHANGES
    assert checkout("diff", SECOND, SECOND, "--exit-code") == Exit.FINE
    assert checkout("diff", SECOND, THIRD, "--runs", "5:300-399", "--exit-code") == Exit.FINE


@pytest.mark.parametrize(
    ("arguments", "code", "out", "err"),
    [
        ((SECOND, "--runs", "5:1-100,199-499"), Exit.FINE, "", "complete"),
        ((SECOND, "--runs", "5:90-200"), Exit.FINDINGS, "98 runs: 5:101-198", "1 gap, 0 missing, 0 overlap"),
        ((FIRST, "--runs", "5:87"), Exit.FINDINGS, "r2704 over r2670 over r2553", "1 overlap"),
        ((SECOND, "--runs", "5:150", "--against", FIRST), Exit.FINDINGS, "missing", "0 gap, 1 missing"),
        ((SECOND, "--runs", "5:150", "--against", SECOND), Exit.FINDINGS, "gap", "1 gap, 0 missing"),
    ],
    ids=str,
)
def test_check_finds_what_runs_would_lack(checkout, capsys, arguments, code, out, err):
    assert checkout("check", *arguments) == code
    captured = capsys.readouterr()
    assert out in captured.out
    assert err in captured.err
    assert checkout("check", *arguments, "--json") == code
    assert bool(json.loads(capsys.readouterr().out)["flaws"]) == (code == Exit.FINDINGS)


def test_check_refuses_a_state(checkout, capsys, real):
    (checkout.folder / "tag.iov").write_bytes(write_snapshot(freeze_tag("tag", "OPEN", real[SECOND].iovs)))
    assert checkout("check", "tag", "--runs", "5:50") == Exit.FINDINGS
    assert "'OPEN', which no job may use" in capsys.readouterr().err


def test_every_iov_of_a_large_tag_is_listed_on_a_line(checkout, capsys):
    lines = (f"P{n % 500} {n // 500 + 1} {n:032x} {n // 500},0,{n // 500},-1" for n in range(50_000))
    (checkout.folder / "big.iov").write_text(text_of("big", *lines))
    assert checkout("iov", "big") == Exit.FINE
    assert capsys.readouterr().out.count("\n") == 50_001
