"""Folders for the CAF: it takes every ROOT file below one, so that each must hold just its output's files."""

from __future__ import annotations

import os

import pytest

from reconciler.calibration.output_folders import check_folder
from reconciler.datasets.contents import DatasetFile
from reconciler.model.names import name_record
from schemas.manifest.runs import run_key

RECORD = name_record("mdst", 1)


@pytest.fixture
def folder(tmp_path):
    """A published version with two files and its record."""
    made = tmp_path / "mdst/v1"
    made.mkdir(parents=True)
    for name in ("a.root", "b.root", RECORD):
        (made / name).write_bytes(b"root")
    return made


def check(folder):
    files = [DatasetFile(run_key(3, 1), f"{folder}/{name}.root", 4, "sha256:0", 1, "d", 1) for name in "ab"]
    return list(check_folder(str(folder), files, RECORD))


def test_a_version_with_its_record_is_fine(folder):
    assert check(folder) == []
    (folder / RECORD).unlink()
    assert check(folder) == []


def test_another_version_an_unknown_file_and_an_empty_folder_are_told(folder):
    (folder / "v2").mkdir()
    (folder / "v2/c.root").write_bytes(b"root")
    (folder / "notes.txt").write_text("mine")
    (folder / "hidden").mkdir()
    (folder / ".b2prod.mdst.v2.json").write_text("{}")
    assert [line.removeprefix(f"{folder}/").split(",")[0] for line in check(folder)] == [
        ".b2prod.mdst.v2.json is not a file of this output",
        "hidden is not a file of this output",
        "notes.txt is not a file of this output",
        "v2/c.root is another version",
    ]


def test_what_is_missing_cut_short_or_a_link_is_told(folder, tmp_path):
    (folder / "a.root").write_bytes(b"r")
    (folder / "b.root").unlink()
    assert check(folder) == [
        f"{folder}/b.root is not there",
        f"{folder}/a.root has 1 bytes, and 4 were published",
    ]
    (tmp_path / "other.root").write_bytes(b"root")
    (folder / "b.root").symlink_to(tmp_path / "other.root")
    (folder / "a.root").unlink()
    os.mkfifo(folder / "a.root")
    assert check(folder) == [f"{folder}/{name}.root is not a plain file" for name in "ab"]


def test_a_folder_that_is_gone_or_is_a_link_is_told(folder, tmp_path):
    (tmp_path / "linked").symlink_to(folder)
    assert check(tmp_path / "linked") == [f"{tmp_path}/linked is not a folder of this machine"]
    assert check(tmp_path / "nowhere") == [f"{tmp_path}/nowhere cannot be read: No such file or directory"]
