"""Verification: what is gone, changed or wrong is told; what cannot be told changes nothing; a round is continued."""

from __future__ import annotations

import hashlib
import json
import multiprocessing
import os
import shutil
import signal
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import uproot

from ci.cli.exits import Exit
from reconciler.datasets.verification import file_pool
from reconciler.datasets.verification import rounds as rounds_module
from reconciler.datasets.verification.file_check import Depth, Trouble, examine
from reconciler.datasets.verification.file_pool import look
from reconciler.datasets.verification.rounds import begin_round, find_lost, list_published
from reconciler.ledger.store.database import State, opened, reading
from reconciler.outside.checksums import digest_file
from reconciler.outside.errors import SourceUnavailable
from tests.support.inputs.published_files import published
from tests.support.worlds.processes import wait_until
from tests.support.worlds.skimmed import RUNS, Skimmed


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return Skimmed(tmp_path_factory.mktemp("skimmed"))


@pytest.fixture
def skimmed(made, capsys):
    made.restore()
    capsys.readouterr()
    return made


def verify(skimmed, capsys, *arguments):
    """The exit code of `verify --json`, what it says, and what it says on stderr."""
    capsys.readouterr()
    code = skimmed.b2prod("verify", "--json", *arguments)
    out, err = capsys.readouterr()
    return code, json.loads(out), err


def flip(file: Path, place: int = -1) -> None:
    content = bytearray(file.read_bytes())
    content[place] ^= 1
    file.write_bytes(content)


@pytest.mark.slow
def test_what_was_published_is_verified_to_the_last_event(skimmed, capsys):
    code, (result,), _ = verify(skimmed, capsys)
    assert code == Exit.FINE
    assert (result["files"], result["troubles"], result["complete"]) == (RUNS, [], True)
    assert result["bytes"] == sum(file.stat().st_size for file in skimmed.files)
    assert result["bytes_per_second"] > 0


@pytest.mark.slow
def test_b17_what_is_gone_or_changed_is_found_and_made_again_by_a_refreshed_plan(skimmed, capsys):
    gone, cut, flipped = skimmed.files
    gone.unlink()
    os.truncate(cut, cut.stat().st_size - 1)
    flip(flipped)
    code, (result,), _ = verify(skimmed, capsys)
    assert code == Exit.FINDINGS
    assert [trouble["trouble"] for trouble in result["troubles"]] == ["gone", "changed", "changed"]
    assert f"{flipped} has checksum" in result["troubles"][2]["text"]

    assert skimmed.b2prod("plan", "--exit-code") == Exit.FINE, "a plan that is not refreshed does not look"
    capsys.readouterr()
    assert skimmed.b2prod("plan", "--refresh", "--format", "json") == Exit.FINE
    (campaign,) = json.loads(capsys.readouterr().out)["campaigns"]
    assert [(group["reason"], group["runs"]) for group in campaign["groups"]] == [
        ("output is gone from the storage", "7:1"),
        ("output is not what was published", "7:2-3"),
    ]
    plan = skimmed.root / "plan.json"
    assert skimmed.b2prod("plan", "--refresh", "-o", plan) == Exit.FINE
    assert skimmed.b2prod("apply", plan) == Exit.FINE
    capsys.readouterr()
    code, (result,), _ = verify(skimmed, capsys)
    assert (code, result["files"], result["troubles"]) == (Exit.FINE, RUNS, [])
    assert {file.parent.name for file in skimmed.files} == {"v1", "v2"}, "nothing was overwritten"


@pytest.mark.slow
def test_a_change_that_keeps_the_size_is_lost_only_once_it_was_verified(skimmed, capsys):
    flip(skimmed.files[0])
    assert skimmed.b2prod("plan", "--refresh", "--exit-code") == Exit.FINE
    verify(skimmed, capsys)
    assert skimmed.b2prod("plan", "--refresh", "--exit-code") == Exit.CHANGES
    flip(skimmed.files[0])
    assert skimmed.b2prod("plan", "--refresh", "--exit-code") == Exit.FINE, "it is read again, not remembered"


@pytest.mark.slow
@pytest.mark.parametrize("absent", ["moved", "empty"])
def test_b1_a_storage_that_is_not_there_shrinks_nothing(skimmed, capsys, absent):
    data = skimmed.root / ".b2prod" / "data"
    data.rename(skimmed.root / ".b2prod" / "elsewhere")
    if absent == "empty":
        data.mkdir()
    code, (result,), err = verify(skimmed, capsys)
    assert (code, result["complete"], result["troubles"]) == (Exit.UNAVAILABLE, False, [])
    assert "what it holds cannot be told" in err
    assert skimmed.b2prod("plan", "--refresh") == Exit.UNAVAILABLE
    assert skimmed.b2prod("plan", "--exit-code") == Exit.FINE


@pytest.mark.slow
def test_a_round_that_was_cut_short_is_continued(skimmed, capsys):
    state = State(skimmed.root / ".b2prod")
    with reading(state) as connection:
        files = [file for _, file in list_published(connection, "seven")]
    with opened(state) as engine:
        begin_round(engine, "seven", "2019-02-07T12:00:00Z").record([(files[0], None)])
    skimmed.files[0].unlink()
    code, (result,), err = verify(skimmed, capsys)
    assert (code, result["files"], result["examined_earlier"]) == (Exit.FINE, RUNS - 1, 1)
    assert "the round of 2019-02-07T12:00:00Z is continued; 1 file examined before" in err
    code, (result,), _ = verify(skimmed, capsys)
    assert (code, result["files"]) == (Exit.FINDINGS, RUNS), "a round that ended is followed by a new one"


@pytest.mark.slow
def test_a_campaign_that_produced_nothing_is_not_verified(skimmed, capsys):
    assert skimmed.b2prod("verify", "eight") == Exit.USAGE
    assert "of these something was: seven" in capsys.readouterr().err


def events_file(folder: Path, run: int = 1, **changes) -> Path:
    columns = {"experiment": np.full(10, 7), "run": np.full(10, run), "event": np.arange(10), **changes}
    path = folder / "v1" / "many.root"
    path.parent.mkdir(exist_ok=True)
    with uproot.recreate(path) as file:
        file.mktree("events", {name: column.dtype for name, column in columns.items()})
        file["events"].extend(columns)
    return path


@pytest.mark.parametrize(
    ("changes", "facts", "said"),
    [
        ({}, {"events": 11}, "it holds 10 events instead of 11"),
        ({}, {"run": 2}, "it holds events of 7:1, not of 7:2"),
        ({"run": np.arange(10)}, {"run": 0}, "it holds events of 7:1, not of 7:0"),
    ],
)
def test_what_was_made_wrong_is_told_apart_from_what_changed(tmp_path, changes, facts, said):
    flaw = examine(published(events_file(tmp_path, **changes), **facts), Depth.FULL)
    assert (flaw.trouble, flaw.text.endswith(said)) == (Trouble.WRONG, True), flaw


def test_events_are_counted_and_not_rows_whatever_the_tree_is_called(tmp_path):
    columns = {"experiment": np.full(6, 7), "run": np.full(6, 1), "event": np.array([1, 1, 2, 3, 3, 3])}
    columns = {f"__{name}__": values for name, values in columns.items()}
    path = tmp_path / "v1" / "many.root"
    path.parent.mkdir()
    with uproot.recreate(path) as file:
        tree = file.mktree("Xi0", dict.fromkeys((*columns, "__candidate__"), np.int32))
        tree.extend({**columns, "__candidate__": np.array([0, 1, 0, 0, 1, 2])})
    assert examine(published(path, events=3), Depth.FULL) is None
    assert "it holds 3 events instead of 6" in examine(published(path, events=6), Depth.FULL).text


@pytest.mark.parametrize(
    ("facts", "said"),
    [
        ({}, "declare it simulated"),
        ({"run": 3}, "it holds events of 1003:0, not of 1003:3"),
        ({"events": 99}, "it holds 100 events instead of 99"),
    ],
)
def test_real_files_of_basf2_are_held_against_the_declaration(shared_data, facts, said):
    real = published(
        shared_data / "belle2" / "mdst" / "mdst.root", experiment=1003, run=0, application="basf2"
    )
    flaw = examine(replace(real, release="release-05-01-06", level="mdst", **facts), Depth.FULL)
    assert flaw.trouble is Trouble.WRONG
    assert said in flaw.text


@pytest.mark.parametrize(
    ("name", "facts", "said"),
    [
        ("chaintest_empty.root", {"release": None}, None),
        ("chaintest_empty.root", {"release": "release-03-00-00"}, "its metadata state the release 4f7657"),
    ],
)
def test_a_file_without_events_may_say_any_run(shared_data, name, facts, said):
    real = published(
        shared_data / "belle2" / "mdst" / name, experiment=1, run=0, application="basf2", events=0
    )
    flaw = examine(replace(real, level="mdst", **facts), Depth.FULL)
    assert flaw is None if said is None else said in flaw.text


def test_a_link_in_its_place_is_a_change(tmp_path):
    file = published(events_file(tmp_path))
    shutil.move(file.path, tmp_path / "other.root")
    file.path.symlink_to(tmp_path / "other.root")
    assert examine(file, Depth.SIZE).trouble is Trouble.CHANGED


@pytest.mark.parametrize("algorithm", ["adler32", "md5", "sha256"])
def test_checksums_are_those_of_the_algorithm_that_was_registered(tmp_path, algorithm):
    file = tmp_path / "a"
    file.write_bytes(b"Wikipedia")
    known = {
        "adler32": "adler32:11e60398",
        "md5": "md5:9c677286866aad38f8e9b660f5411814",
        "sha256": f"sha256:{hashlib.sha256(b'Wikipedia').hexdigest()}",
    }
    assert digest_file(file, algorithm) == known[algorithm]
    assert digest_file(file, "shake_128") is None


def test_what_cannot_be_read_is_not_gone(tmp_path, monkeypatch):
    file = published(events_file(tmp_path))

    def refuse(*_):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(os, "lstat", refuse)
    with pytest.raises(SourceUnavailable, match="Input/output error"):
        examine(file, Depth.SIZE)


@pytest.mark.slow
def test_a_storage_that_hangs_is_left(tmp_path, monkeypatch):
    """The examining process is stopped, as the kernel stops one that reads from a server that is away."""
    file = published(events_file(tmp_path))
    monkeypatch.setattr(file_pool, "PATIENCE", 5.0)
    looks = look([file] * 1000, Depth.FULL, processes=1)
    next(looks)
    (child,) = multiprocessing.active_children()
    os.kill(child.pid, signal.SIGSTOP)
    with pytest.raises(SourceUnavailable, match="did not answer in time"):
        list(looks)
    wait_until(lambda: not multiprocessing.active_children())


@pytest.mark.slow
def test_an_examining_process_that_is_killed_says_nothing_of_the_files(tmp_path):
    file = published(events_file(tmp_path))
    looks = look([file] * 1000, Depth.FULL, processes=1)
    next(looks)
    (child,) = multiprocessing.active_children()
    os.kill(child.pid, signal.SIGKILL)
    with pytest.raises(SourceUnavailable, match="was ended from outside"):
        list(looks)


def test_a_suspect_is_read_by_the_process_itself(skimmed, capsys, monkeypatch):
    state = State(skimmed.root / ".b2prod")
    flip(skimmed.files[0])
    asked = []
    real = rounds_module.look

    def note(files, depth, **options):
        asked.append((depth, options.get("processes")))
        return real(files, depth, **options)

    monkeypatch.setattr(rounds_module, "look", note)
    with reading(state) as connection:
        assert list(find_lost(connection, "seven")) == []
    assert asked == [(Depth.SIZE, None), (Depth.FULL, 0)]
