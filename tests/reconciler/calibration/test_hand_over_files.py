"""The files of a hand-over as the CAF reads them, for inputs, tags and releases of several kinds."""

from __future__ import annotations

import json
import sqlite3
from hashlib import sha256

import pytest

from reconciler.calibration.caf_files import RunPlace
from reconciler.calibration.hand_over import HandedDataset, HandOverFacts, NoInput, write_hand_over
from reconciler.conditions.database_file import parse_entries
from reconciler.conditions.metadata_file import MetadataFile
from renderer.identity.payloads import find_payloads
from schemas.conditions.iov import name_ends
from schemas.conditions.snapshot import freeze_tag, make_iov
from schemas.files.canonical import canonical_json
from schemas.json_schema.validation import load_schema, validate_json
from schemas.manifest.runs import run_key
from schemas.manifest.scheme import Calibration
from tests.support.doubles.caf_reader import start

CDC = (Calibration("caf_cdc.py", {"hlt_bhabha": "phase2_bhabha"}),)
RUNS = tuple(run_key(3, run) for run in (529, 530, 613))
FIRST = freeze_tag("patch", "VALIDATED", [make_iov("A", "9", "9" * 32, (3, 530, 3, 600))], tag_id=7)
SECOND = freeze_tag(
    "main",
    "PUBLISHED",
    [make_iov("A", "1", "1" * 32, (0, 0, -1, -1)), make_iov("B", "2", "2" * 32, (0, 0, 3, 599)),
     make_iov("B", "3", "3" * 32, (3, 600, -1, -1))],
)  # fmt: skip


def hand(folder, stream="phase2_bhabha", output="cdst", runs=RUNS, step="cdst"):
    """A dataset with a folder for each run, with one file in it."""
    places = []
    for run in runs:
        here = folder / step / (stream or "all") / f"r{run & 0xFFFFFFFF:05d}" / output / "v1"
        here.mkdir(parents=True)
        (here / f"{output}.root").write_bytes(b"root")
        places.append(RunPlace(run, str(here)))
    name = f"preproc8/{step}@{stream}/{output}" if stream else f"preproc8/{step}/{output}"
    return HandedDataset(
        name, f"{name}:1", "e" * 64, stream, output, tuple(places), 3, 12, None, (("held", RUNS[:1]),)
    )


def gather(*datasets, calibrations=CDC, **changes):
    facts = {
        "scheme": "proc8",
        "stage": "calibrate",
        "iteration": 2,
        "release": "release-06-00-00",
        "chain": (FIRST, SECOND),
        "datasets": datasets,
        "calibrations": calibrations,
        "payloads": ("A",),
        "returns": "main",
        "due": "2019-02-15",
        "luminosity": [],
        "quality": {"good": "3:529-530", "unknown": "3:613"},
    }
    return HandOverFacts(**{**facts, **changes})


def write(made, folder):
    folder.mkdir()
    for name, content in made.files.items():
        (folder / name).write_bytes(content)
    return folder


def test_the_caf_finds_each_file_with_its_run(tmp_path):
    one = hand(tmp_path)
    made = write_hand_over(gather(one))
    out = write(made, tmp_path / "out")
    ran = start(out / "caf_config.json", out / "input_data.json", {"hlt_bhabha"}, {"own": 1})
    assert ran.script == "caf_cdc.py"
    assert ran.inputs == {
        "hlt_bhabha": {
            f"{place.path}/cdst.root": (3, place.run & 0xFFFFFFFF, 3, place.run & 0xFFFFFFFF)
            for place in one.places
        }
    }
    assert ran.left_out == ()
    assert ran.requested == (3, 529, 3, 613)
    assert ran.tags == ("patch", "main"), "the first tag of a campaign wins, and so it does in the CAF"
    assert (ran.expert_config, ran.backend_args) == ({"own": 1}, {})


def test_releases_from_04_on_get_a_metadata_file_and_older_ones_a_local_database(tmp_path):
    new = write(write_hand_over(gather(hand(tmp_path / "a"))), tmp_path / "new")
    for tag in (FIRST, SECOND):
        assert MetadataFile(new / "conditions.sqlite").fetch(tag.name).digest == tag.digest
    with sqlite3.connect(new / "conditions.sqlite") as connection:
        assert connection.execute("PRAGMA application_id").fetchone() == (0xB2CDB,)
    connection.close()
    old = write(write_hand_over(gather(hand(tmp_path / "b"), release="release-03-00-00")), tmp_path / "old")
    assert not (old / "conditions.sqlite").exists()
    entries = parse_entries((old / "database.txt").read_text())
    for run in RUNS:
        valid = [(one.payload, one.revision) for one in entries if one.first <= run < one.end]
        expected = [(name, iov.revision) for name, iov in find_payloads((FIRST, SECOND), run).items()]
        assert sorted(valid) == sorted(expected), "one line for each payload, so that no rule is needed"
    assert {name_ends(one.first, one.end)[:2] for one in entries} >= {(3, 529), (3, 530), (3, 601), (3, 600)}


def test_several_scripts_have_a_configuration_each(tmp_path):
    calibrations = (
        Calibration(
            "caf_cdc.py", {"hlt_bhabha": "phase2_bhabha"}, {"queue": "l"}, {"x": 2}, (3, 530, -1, -1)
        ),
        Calibration("prompt/caf_top.py", {"hlt_mumu": "phase2_mumu"}),
        Calibration("caf_top.py", {"hlt_mumu": "phase2_mumu"}),
    )
    mumu = hand(tmp_path, "phase2_mumu", runs=RUNS[1:2])
    made = write_hand_over(gather(hand(tmp_path), mumu, calibrations=calibrations))
    configs = ["caf_config_caf_cdc.json", "caf_config_caf_top_1.json", "caf_config_caf_top_2.json"]
    assert sorted(made.files) == [*configs, "conditions.sqlite", "handover.json", "input_data.json"]
    out = write(made, tmp_path / "out")
    cdc = start(out / configs[0], out / "input_data.json", {"hlt_bhabha"}, {"x": 1})
    assert (cdc.backend_args, cdc.expert_config) == ({"queue": "l"}, {"x": 2})
    assert len(cdc.inputs["hlt_bhabha"]) == 2
    assert len(cdc.left_out) == 1, "the CAF leaves out what is outside of the requested IoV"
    top = start(out / configs[1], out / "input_data.json", {"hlt_mumu"})
    assert top.requested == (3, 530, 3, 530)
    with pytest.raises(KeyError):
        start(out / configs[0], out / "input_data.json", {"cosmics"})


def test_without_scripts_the_inputs_are_called_after_skims_and_outputs(tmp_path):
    made = write_hand_over(gather(hand(tmp_path), hand(tmp_path, None, "mdst"), calibrations=()))
    assert sorted(json.loads(made.files["input_data.json"])) == ["mdst", "phase2_bhabha"]
    assert not [name for name in made.files if name.startswith("caf_config")]


def test_what_a_script_asks_for_must_be_there_once(tmp_path):
    wrong = (Calibration("a.py", {"x": "phase2_bhabba"}),)
    with pytest.raises(NoInput, match="there is phase2_bhabha"):
        write_hand_over(gather(hand(tmp_path), calibrations=wrong))
    with pytest.raises(NoInput, match="both have 3:529"):
        write_hand_over(gather(hand(tmp_path / "a", step="cdst"), hand(tmp_path / "b", step="again")))
    two = (Calibration("a.py", {"x": "phase2_bhabha"}), Calibration("b.py", {"x": "cdst"}))
    with pytest.raises(NoInput, match="different data x"):
        write_hand_over(gather(hand(tmp_path / "c"), calibrations=two))


def test_its_digest_covers_every_file_and_every_fact(tmp_path):
    one = hand(tmp_path)
    made, again = write_hand_over(gather(one)), write_hand_over(gather(one))
    assert made == again
    told = json.loads(made.files["handover.json"])
    digest = told.pop("digest")
    assert digest == made.digest == sha256(canonical_json(told)).hexdigest()
    assert validate_json({**told, "digest": digest}, load_schema("handover")) == ()
    assert validate_json(told, load_schema("handover")) != (), "the digest is part of it"
    assert told["files"] == {
        name: sha256(content).hexdigest() for name, content in made.files.items() if name != "handover.json"
    }
    assert told["datasets"][0]["left_out"] == [{"why": "held", "runs": "3:529"}]
    assert told["base"] == {"name": "main", "digest": SECOND.digest}
    assert gather(one, returns="new").base == FIRST
    changed = [
        {"iteration": 1},
        {"due": None},
        {"payloads": ("A", "B")},
        {"quality": {}},
        {"luminosity": [{"method": "offline"}]},
        {"chain": (SECOND,)},
        {"release": "release-08-00-00"},
    ]
    assert len({write_hand_over(gather(one, **change)).digest for change in changed} | {digest}) == 1 + len(
        changed
    )
