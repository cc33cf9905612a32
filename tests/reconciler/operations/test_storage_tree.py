"""Files of a storage, touched by descriptors: what is not plainly ours there is left, and nothing outside is reached."""

from __future__ import annotations

import os

import pytest

from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.storage.storage_tree import OddFile, StorageTree

SECRET = "of somebody else"


@pytest.fixture
def storage(tmp_path):
    """A storage with one file, and a secret beside it."""
    (tmp_path / "data/a/b").mkdir(parents=True)
    (tmp_path / "data/a/b/file").write_text("content")
    (tmp_path / "secret").write_text(SECRET)
    return tmp_path / "data"


@pytest.fixture
def tree(storage):
    with StorageTree(str(storage)) as tree:
        yield tree


@pytest.mark.parametrize("path", ["../secret", "a/../../secret", "/etc/passwd", "", "a//b/file", "a/b/"])
def test_a_path_that_leads_outside_is_refused(tree, storage, path):
    for act in (tree.look, lambda path: tree.look_at_own(path, None)):
        with pytest.raises(OddFile, match="not a path below"):
            act(path)
    assert (storage.parent / "secret").read_text() == SECRET


def link(storage):
    (storage / "a/b/file").unlink()
    (storage / "a/b/file").symlink_to(storage.parent / "secret")


def link_folder(storage):
    (storage / "a").rename(storage.parent / "elsewhere")
    (storage / "a").symlink_to(storage.parent / "elsewhere")


def link_hard(storage):
    os.link(storage / "a/b/file", storage.parent / "linked")


def give_away(storage):
    os.chown(storage / "a/b/file", 65_534, -1)


def grow(storage):
    (storage / "a/b/file").write_text("other content")


def make_folder(storage):
    (storage / "a/b/file").unlink()
    (storage / "a/b/file").mkdir()


def make_pipe(storage):
    (storage / "a/b/file").unlink()
    os.mkfifo(storage / "a/b/file")


@pytest.mark.parametrize(
    ("attack", "told"),
    [
        (link, "is a link, a folder, or on another file system"),
        (link_folder, "is a link, or no folder"),
        (link_hard, "has 2 names"),
        (give_away, "belongs to another user"),
        (grow, "and 7 were published"),
        (make_folder, "is a link, a folder, or on another file system"),
        (make_pipe, "is a link, a folder, or on another file system"),
    ],
    ids=lambda one: getattr(one, "__name__", None),
)
def test_what_is_not_plainly_ours_is_odd(tree, storage, attack, told):
    attack(storage)
    with pytest.raises(OddFile, match=told):
        tree.look_at_own("a/b/file", 7)


@pytest.mark.parametrize("act", ["rename", "remove"])
@pytest.mark.parametrize("attack", [link, make_pipe, grow], ids=lambda one: one.__name__)
def test_a_file_that_is_exchanged_after_it_was_seen_stays(tree, storage, attack, act):
    seen = tree.look_at_own("a/b/file", 7)
    (storage / "a/b/aside").write_text("")  # so that no new file gets the number of the old one
    if attack is grow:
        (storage / "a/b/file").rename(storage / "a/b/old")
    attack(storage)
    arguments = ("a/b/file", "c/file") if act == "rename" else ("a/b/file",)
    if attack is not grow and os.lstat(storage / "a/b/file").st_ino == seen.inode:
        pytest.fail("the file system gave the same number again: the test shows nothing")
    with pytest.raises(OddFile, match="exchanged in between"):
        getattr(tree, act)(*arguments, seen)
    assert os.path.lexists(storage / "a/b/file")
    assert not os.path.lexists(storage / "c/file")
    assert (storage.parent / "secret").read_text() == SECRET


def test_a_rename_never_replaces_a_file(tree, storage):
    (storage / "c").mkdir()
    (storage / "c/file").write_text("there already")
    with pytest.raises(OddFile, match="exists already"):
        tree.rename("a/b/file", "c/file", tree.look("a/b/file"))
    assert (storage / "c/file").read_text() == "there already"
    assert (storage / "a/b/file").read_text() == "content"


def test_a_folder_that_is_swapped_for_a_link_leads_nowhere(tree, storage):
    outside = storage.parent / "outside"
    (outside / "b").mkdir(parents=True)
    (outside / "b/file").write_text("content")
    seen = tree.look_at_own("a/b/file", 7)
    tree.forget()
    (storage / "a").rename(storage / "was")
    (storage / "a").symlink_to(outside)
    for act in (lambda: tree.remove("a/b/file", seen), lambda: tree.rename("a/b/file", "c/d", seen)):
        with pytest.raises(OddFile, match="is a link, or no folder"):
            act()
    assert (outside / "b/file").read_text() == "content"


def test_what_is_listed_is_not_absent(storage):
    class Lying(StorageTree):
        def list_names(self, folder):
            return [*super().list_names(folder), "ghost"]

    with Lying(str(storage)) as tree:
        assert tree.look("a/b/ghost") is None
        assert tree.find_listed(["a/b/ghost", "a/b/none"]) == {"a/b/ghost"}
        with pytest.raises(OddFile, match="is listed, and cannot be opened"):
            tree.find_listed(["a/ghost/file"])


def test_a_storage_that_cannot_be_told_is_unavailable(storage):
    class Failing(StorageTree):
        def stat(self, name, folder):
            raise OSError(5, "Input/output error")

    with Failing(str(storage)) as tree, pytest.raises(SourceUnavailable, match="Input/output error"):
        tree.look("a/b/file")
    with pytest.raises(SourceUnavailable, match="cannot be opened"):
        StorageTree(str(storage / "none"))


def test_empty_folders_go_and_others_stay(tree, storage):
    tree.rename("a/b/file", "x/y/file", tree.look("a/b/file"))
    tree.remove_empty("a/b")
    assert sorted(os.listdir(storage)) == ["x"]
    tree.remove_empty("x/y")
    assert (storage / "x/y/file").read_text() == "content"


def test_more_folders_than_a_process_may_have_open(tree, storage):
    paths = [f"many/{number}/file" for number in range(1500)]
    for path in paths:
        (storage / path).parent.mkdir(parents=True)
        (storage / path).touch()
    assert tree.find_listed(paths) == set(paths)
    for path in paths:
        tree.sync(os.path.dirname(path))
    assert len(os.listdir("/proc/self/fd")) < 200
