"""Editions below a folder: each in CAMPAIGN/STEP/OUTPUT/NUMBER, with a list of its files, and `current`, which points to the newest.

Of the kind `folder` the files are copied there; of the kind `list` they stay where they are. An edition is put together in a hidden
folder beside its own, read back, and gets its name at once; `current` moves last. One that is withdrawn becomes hidden again, and
a folder with the note takes its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path

from reconciler.datasets.catalogues.port import Conflict
from reconciler.datasets.publishing.port import EditionToPublish, FileToPublish, WithdrawalNote
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.plain_files import NotPlain, open_plain
from reconciler.outside.storage.storage_tree import OddFile
from reconciler.outside.storage.written_tree import FolderBusy, WrittenTree
from schemas.manifest.dataset import DatasetName

CURRENT, LIST, CONTENT, NOTE = "current", "files.txt", "edition.json", "WITHDRAWN.txt"
"""The pointer to the newest edition; in an edition's folder the paths of its files, one a line, and its canonical JSON; the note."""

_NUMBER = re.compile(r"[1-9][0-9]{0,8}", re.ASCII)


class FolderEditions:
    """Publishes editions below `folder`, which must be there; with `copies`, with copies of their files."""

    name = ""

    def __init__(self, folder: str, *, copies: bool) -> None:
        self._folder = folder
        self._copies = copies

    def locate(self, name: DatasetName) -> str:
        """Where readers find an edition, in words for people."""
        return f"{self._folder}/{_name_folder(name)}/{name.edition}"

    def publish(self, edition: EditionToPublish, others: Sequence[int]) -> None:
        """Publishes an edition, as `EditionPlace` says. The checksum of each copy is read back before readers find it."""
        name = edition.name
        files = {} if not self._copies else {one.place: one for one in edition.files}
        if self._copies and files.keys() & {CONTENT, LIST, NOTE}:
            raise Conflict(f"a file of {name} is called as one of {CONTENT}, {LIST} and {NOTE}")
        with self._opened(name) as (tree, above):
            self._read_current(tree, above)
            final, part, aside, page = _name_parts(above, name)
            standing = _judge(tree, final, edition)
            if standing is not True:
                if not tree.is_folder(part) and tree.is_folder(aside):
                    tree.rename_folder(
                        aside, part
                    )  # it was withdrawn; what was copied then is looked at again
                tree.make_folder(part)
                self._fill(tree, part, edition, files)
                if standing is False:
                    _remove_note(tree, page)
                    tree.rename_folder(final, page)
                tree.rename_folder(part, final)
            _remove_note(tree, page)
            _check_content(tree, final, {one.place: one.size for one in files.values()})
            newest = str(max((name.edition or 0, *_list_shown(tree, above, others))))
            if self._read_current(tree, above) != newest:
                tree.point(f"{above}/{CURRENT}", newest)
            if self._read_current(tree, above) != newest:
                raise SourceUnavailable(f"{self._folder}/{above}/{CURRENT} does not show {newest}")

    def withdraw(self, name: DatasetName, note: WithdrawalNote, others: Sequence[int]) -> None:
        """Takes an edition back, as `EditionPlace` says. What was copied stays in a hidden folder."""
        with self._opened(name) as (tree, above):
            final, _, aside, page = _name_parts(above, name)
            if self._read_current(tree, above) == str(name.edition):
                if shown := _list_shown(tree, above, others):
                    tree.point(f"{above}/{CURRENT}", str(max(shown)))
                else:
                    tree.remove_pointer(f"{above}/{CURRENT}")
            if tree.is_folder(final):
                told = tree.list_files(final)
                if NOTE not in told:
                    if CONTENT not in told:
                        raise Conflict(f"{self._folder}/{final} is not an edition")
                    tree.rename_folder(final, aside)
            if not tree.is_folder(final):
                tree.make_folder(page)
                tree.write(f"{page}/{NOTE}", note.tell().encode())
                tree.rename_folder(page, final)
            if tree.list_files(final).keys() != {NOTE}:
                raise Conflict(f"{self._folder}/{final} has other files than {NOTE}")

    def _fill(
        self, tree: WrittenTree, part: str, edition: EditionToPublish, files: Mapping[str, FileToPublish]
    ) -> None:
        """Completes the hidden folder of an edition, and removes what a process that was killed left there."""
        there = tree.list_files(part)
        for path in there.keys() - files.keys() - {CONTENT, LIST}:
            tree.remove_file(f"{part}/{path}")
        for path, one in files.items():
            target = f"{part}/{path}"
            if path in there and (there[path] != one.size or tree.digest(target) != one.checksum):
                tree.remove_file(target)
                del there[path]
            if path not in there:
                _copy(tree, one, target)
        final = self.locate(edition.name)
        listed = [one.source if not self._copies else f"{final}/{one.place}" for one in edition.files]
        for path, content in (
            (CONTENT, edition.content),
            (LIST, "".join(f"{one}\n" for one in listed).encode()),
        ):
            if tree.read(f"{part}/{path}") != content:
                tree.write(f"{part}/{path}", content)
        for folder in sorted({path.rpartition("/")[0] for path in files}):
            tree.sync(f"{part}/{folder}".rstrip("/"))
        tree.sync(part)
        _check_content(tree, part, {one.place: one.size for one in files.values()})

    def _read_current(self, tree: WrittenTree, above: str) -> str | None:
        """The number that `current` names.

        Raises:
            Conflict: it names something else.
        """
        named = tree.read_pointer(f"{above}/{CURRENT}")
        if named is not None and not _NUMBER.fullmatch(named):
            raise Conflict(f"{self._folder}/{above}/{CURRENT} points to {named}, which is not an edition")
        return named

    @contextmanager
    def _opened(self, name: DatasetName) -> Iterator[tuple[WrittenTree, str]]:
        """The tree, and the path of the dataset's folder, into which no other process writes in the meantime."""
        above = _name_folder(name)
        try:
            with WrittenTree(self._folder) as tree:
                tree.make_folder(above)
                with tree.locked(above):
                    yield tree, above
        except OddFile as error:
            raise Conflict(f"{error}; it was left as it is") from error
        except FolderBusy as error:
            raise SourceUnavailable(str(error)) from error
        except OSError as error:
            raise SourceUnavailable(f"{self.locate(name)} cannot be written now: {error}") from error


def _name_folder(name: DatasetName) -> str:
    return name.dataset.replace("@", ".")


def _name_parts(above: str, name: DatasetName) -> tuple[str, str, str, str]:
    """The folder of an edition, and hidden ones: where it is put together, what was withdrawn, and the note that is not shown."""
    hidden = f"{above}/.{name.edition}"
    return f"{above}/{name.edition}", f"{hidden}.part", f"{hidden}.withdrawn", f"{hidden}.note"


def _list_shown(tree: WrittenTree, above: str, numbers: Sequence[int]) -> list[int]:
    """Those of some numbers of which readers find an edition."""
    return [one for one in numbers if tree.look(f"{above}/{one}/{CONTENT}") is not None]


def _judge(tree: WrittenTree, final: str, edition: EditionToPublish) -> bool | None:
    """Whether an edition's folder has the edition, or (False) the note that it was withdrawn; None if there is no folder.

    Raises:
        Conflict: it has something else.
    """
    if not tree.is_folder(final):
        return None
    told = tree.read(f"{final}/{CONTENT}")
    if told is not None:
        if sha256(told).hexdigest() == edition.digest:
            return True
        raise Conflict(f"{tree.root}/{final} is another edition")
    if tree.list_files(final).keys() <= {NOTE}:
        return False
    raise Conflict(f"{tree.root}/{final} is not an edition")


def _check_content(tree: WrittenTree, folder: str, sizes: Mapping[str, int]) -> None:
    """Checks that a folder has these files with these sizes, besides its lists, and nothing else.

    Raises:
        Conflict: it has not.
    """
    found = tree.list_files(folder)
    wanted = {*sizes, CONTENT, LIST}
    for path in sorted(wanted ^ found.keys()):
        what = "is missing" if path in wanted else "is none of the edition's files"
        raise Conflict(f"{tree.root}/{folder}/{path} {what}")
    for path, size in sizes.items():
        if found[path] != size:
            raise Conflict(f"{tree.root}/{folder}/{path} has {found[path]:,} bytes, and {size:,} are due")


def _copy(tree: WrittenTree, one: FileToPublish, target: str) -> None:
    """Copies a file, and reads the copy back.

    Raises:
        Conflict: the file is not what was published.
    """
    try:
        with open_plain(Path(one.source)) as stream:
            read = tree.copy(stream, target)
    except NotPlain as error:
        raise Conflict(f"{one.source} is not what was published: {error}") from error
    except FileNotFoundError as error:
        raise Conflict(f"{one.source} is gone") from error
    if read != one.checksum:
        tree.remove_file(target)
        raise Conflict(
            f"{one.source} is not what was published: its checksum is {read}, and {one.checksum} is due"
        )
    if tree.digest(target) != one.checksum:
        raise SourceUnavailable(f"{tree.root}/{target} does not read back as it was written")


def _remove_note(tree: WrittenTree, page: str) -> None:
    """Removes the folder of a note that is not shown, if there is one."""
    if tree.is_folder(page):
        for path in tree.list_files(page):
            tree.remove_file(f"{page}/{path}")
        tree.remove_empty(page)
