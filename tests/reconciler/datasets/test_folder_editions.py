"""Editions as folders and lists: readers find one whole or not at all, whatever ends the process, and links lead nowhere."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from reconciler.datasets.catalogues.port import Conflict
from reconciler.datasets.publishing.folder_editions import FolderEditions
from reconciler.datasets.publishing.port import EditionToPublish, FileToPublish, WithdrawalNote
from reconciler.outside.errors import SourceUnavailable
from schemas.manifest.dataset import DatasetName
from tests.support.worlds.crash_points import BEYOND, crash

HERE = "proc8/reco/mdst"
KINDS = pytest.mark.parametrize("copies", [True, False], ids=["folder", "list"])


class Shelf:
    """A folder of publications, the storage beside it, and editions of one dataset with three files each."""

    def __init__(self, root, copies):
        self.root, self.copies = root, copies
        self.final, self.storage = root / "final", root / "data"
        self.final.mkdir()
        self.place = FolderEditions(str(self.final), copies=copies)
        self.editions = {number: self.make(number) for number in (1, 2)}

    def make(self, number):
        files = []
        for run in (1, 2, 3):
            place = f"reco/r{run}/v{number}/mdst.root"
            file = self.storage / place
            file.parent.mkdir(parents=True)
            content = f"{number}:{run}".encode() * 1000
            file.write_bytes(content)
            checksum = f"sha256:{hashlib.sha256(content).hexdigest()}"
            files.append(FileToPublish(run, run, str(file), place, "mdst.root", len(content), checksum))
        content = f'{{"edition":{number}}}'.encode()
        name = DatasetName("proc8", "reco", "mdst", number)
        return EditionToPublish(name, hashlib.sha256(content).hexdigest(), content, tuple(files))

    def publish(self, number, others=()):
        self.place.publish(self.editions[number], others)

    def withdraw(self, number, others=()):
        name = self.editions[number].name
        self.place.withdraw(
            name, WithdrawalNote(str(name), "2026-12-01T10:00:00Z", "me", "wrong", None), others
        )

    def read(self, number):
        """What a reader finds of an edition: None, `withdrawn`, or `whole`; a part of it is an error."""
        folder = self.final / HERE / str(number)
        if not os.path.lexists(folder):
            return None
        if os.listdir(folder) == ["WITHDRAWN.txt"]:
            assert "Reason: wrong" in (folder / "WITHDRAWN.txt").read_text()
            return "withdrawn"
        edition = self.editions[number]
        assert (folder / "edition.json").read_bytes() == edition.content
        listed = (folder / "files.txt").read_text().splitlines()
        assert len(listed) == len(edition.files)
        for path, one in zip(listed, edition.files, strict=True):
            assert path.startswith(str(folder if self.copies else self.storage))
            content = Path(path).read_bytes()
            assert (len(content), f"sha256:{hashlib.sha256(content).hexdigest()}") == (one.size, one.checksum)
        return "whole"

    @property
    def current(self):
        link = self.final / HERE / "current"
        return os.readlink(link) if os.path.lexists(link) else None

    def look(self):
        """What readers find of both editions; `current` leads to a whole one, or is not there."""
        if self.current is not None:
            assert self.read(int(self.current)) == "whole"
        return self.read(1), self.read(2), self.current

    def reset(self):
        for folder in (self.final, self.storage):
            shutil.rmtree(folder)
        self.final.mkdir()
        self.editions = {number: self.make(number) for number in (1, 2)}


@pytest.fixture
def shelf(tmp_path, request):
    return Shelf(tmp_path, getattr(request, "param", True))


@pytest.fixture(params=[True, False], ids=["folder", "list"])
def each(tmp_path, request):
    return Shelf(tmp_path, request.param)


def test_editions_follow_one_another_and_are_taken_back(each):
    each.publish(1)
    assert each.look() == ("whole", None, "1")
    each.publish(2, [1])
    assert each.look() == ("whole", "whole", "2")
    each.withdraw(2, [1])
    assert each.look() == ("whole", "withdrawn", "1")
    each.withdraw(1)
    assert each.look() == ("withdrawn", "withdrawn", None)
    each.publish(2)
    assert each.look() == ("withdrawn", "whole", "2")
    each.publish(1, [2])
    assert each.look() == ("whole", "whole", "2"), "an older edition that comes later is not the newest"


def test_each_may_be_done_again(each):
    for _ in range(2):
        each.publish(1)
    assert each.look() == ("whole", None, "1")
    for _ in range(2):
        each.withdraw(1)
    assert each.look() == ("withdrawn", None, None)


def test_whenever_the_process_ends_readers_find_all_or_nothing_and_the_next_one_ends_it(each):
    """Publish after another edition, withdraw, publish again: each is ended at every effect, and looked at there."""
    seen = set()
    for act, before, during, after in (
        (lambda: each.publish(2, [1]), (), {None, "whole"}, ("whole", "whole", "2")),
        (
            lambda: each.withdraw(2, [1]),
            (lambda: each.publish(2, [1]),),
            {"whole", None, "withdrawn"},
            ("whole", "withdrawn", "1"),
        ),
        (
            lambda: each.publish(2, [1]),
            (lambda: each.publish(2, [1]), lambda: each.withdraw(2, [1])),
            {"withdrawn", None, "whole"},
            ("whole", "whole", "2"),
        ),
    ):
        points = 0
        for at in range(1, BEYOND):
            each.reset()
            each.publish(1)
            for one in before:
                one()
            crashed = crash(act, at)
            first, second, current = each.look()
            assert first == "whole", at
            assert second in during, at
            assert current in ("1", "2"), at
            seen.add(second)
            act()
            assert each.look() == after, at
            hidden = [name for name in os.listdir(each.final / HERE) if name.endswith((".part", ".note"))]
            assert hidden == [], at
            if not crashed:
                break
            points += 1
        assert points > 4
    assert seen == {None, "whole", "withdrawn"}


def test_a_source_that_changed_since_is_refused_and_readers_find_nothing(shelf):
    file = Path(shelf.editions[1].files[1].source)
    kept = file.read_bytes()
    file.write_bytes(kept[:-1] + b"x")
    with pytest.raises(Conflict, match="is not what was published: its checksum is"):
        shelf.publish(1)
    assert shelf.look() == (None, None, None)
    file.write_bytes(kept)
    shelf.publish(1)
    assert shelf.look() == ("whole", None, "1")


def test_a_source_that_is_a_link_or_gone_is_refused(shelf):
    file = Path(shelf.editions[1].files[0].source)
    file.rename(file.with_suffix(".kept"))
    with pytest.raises(Conflict, match="is gone"):
        shelf.publish(1)
    file.symlink_to(file.with_suffix(".kept"))
    with pytest.raises(Conflict, match="is not a plain file"):
        shelf.publish(1)
    assert shelf.look() == (None, None, None)


@pytest.mark.parametrize("place", ["", "proc8", "proc8/reco", HERE])
def test_a_link_in_place_of_a_folder_leads_nowhere(shelf, tmp_path, place):
    """Somebody put a link where a folder of ours would be: nothing is written behind it."""
    other = tmp_path / "other"
    other.mkdir()
    if place:
        (shelf.final / place).parent.mkdir(parents=True, exist_ok=True)
        (shelf.final / place).symlink_to(other)
    else:
        place = f"{HERE}/.1.part"
        (shelf.final / place).parent.mkdir(parents=True)
        (shelf.final / place).symlink_to(other)
    for act in (
        (lambda: shelf.publish(1), lambda: shelf.withdraw(1))
        if "part" not in place
        else (lambda: shelf.publish(1),)
    ):
        with pytest.raises(Conflict, match="is a link"):
            act()
    assert os.listdir(other) == []
    assert (shelf.final / place).is_symlink(), "it was left as it is"


def test_another_pointer_than_ours_is_refused_before_anything_is_done(shelf, tmp_path):
    for make in (
        lambda link: link.symlink_to(tmp_path),
        lambda link: link.symlink_to("../../../etc"),
        lambda link: link.mkdir(),
        lambda link: link.write_text("1"),
    ):
        link = shelf.final / HERE / "current"
        link.parent.mkdir(parents=True, exist_ok=True)
        make(link)
        with pytest.raises(Conflict, match="current"):
            shelf.publish(1)
        assert os.listdir(link.parent) == ["current"]
        shutil.rmtree(shelf.final / "proc8")


def test_a_link_that_replaces_a_copied_file_is_refused(shelf, tmp_path):
    shelf.publish(1)
    secret = tmp_path / "secret"
    secret.write_bytes(Path(shelf.editions[1].files[0].source).read_bytes())
    copy = shelf.final / HERE / "1" / shelf.editions[1].files[0].place
    copy.unlink()
    copy.symlink_to(secret)
    with pytest.raises(Conflict, match="is a link"):
        shelf.publish(1)
    with pytest.raises(Conflict, match="is a link"):
        shelf.withdraw(1)
    assert secret.exists()


@pytest.mark.parametrize("what", ["folder", "edition", "file"])
def test_what_somebody_else_put_at_an_editions_place_is_left_alone(shelf, what):
    at = shelf.final / HERE / "1"
    at.parent.mkdir(parents=True)
    if what == "file":
        at.write_text("mine")
    else:
        at.mkdir()
        (at / ("edition.json" if what == "edition" else "mine")).write_text("mine")
    with pytest.raises(Conflict):
        shelf.publish(1)
    if what != "edition":
        with pytest.raises(Conflict):
            shelf.withdraw(1)
    assert "mine" in (at if what == "file" else next(at.iterdir())).read_text()


def test_what_belongs_to_another_user_is_refused(shelf, monkeypatch):
    """What the folder has was made by user 12345, as far as this process can tell."""
    shelf.publish(1)
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    for act in (lambda: shelf.publish(2, [1]), lambda: shelf.withdraw(1)):
        with pytest.raises(Conflict, match="belongs to another user"):
            act()
    assert shelf.look() == ("whole", None, "1")


def test_two_processes_do_not_write_to_one_dataset_at_once(shelf):
    with (
        shelf.place._opened(shelf.editions[1].name),
        pytest.raises(SourceUnavailable, match="another process"),
    ):
        shelf.publish(1)
    shelf.publish(1)


def test_a_folder_that_is_not_there_is_told_and_not_made(shelf):
    shelf.final.rmdir()
    with pytest.raises(SourceUnavailable, match="cannot be opened"):
        shelf.publish(1)
    assert not shelf.final.exists()


def test_a_file_that_lost_bytes_since_is_noticed(shelf):
    shelf.publish(1)
    copy = shelf.final / HERE / "1" / shelf.editions[1].files[0].place
    os.truncate(copy, 10)
    with pytest.raises(Conflict, match="has 10 bytes"):
        shelf.publish(1)


def test_an_edition_whose_digest_is_another_is_no_edition_of_ours(shelf):
    shelf.publish(1)
    shelf.editions[1] = replace(shelf.editions[1], digest="0" * 64)
    with pytest.raises(Conflict, match="is another edition"):
        shelf.publish(1)
