"""Decides for each imported file whether it is new, moved, changed or refused, given the registered files. Pure.

A file is identified by dataset, run and name. Each path and each content belongs to one file only.
"""

from __future__ import annotations

import os
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from reconciler.model.run import File
from reconciler.run_catalogue.file_decision import (
    Content,
    Decision,
    FilePlace,
    Key,
    Known,
    RefusedFile,
    Replica,
    Storage,
    content_of,
    describe_file,
    describe_key,
    key_of,
)
from reconciler.run_catalogue.lists.values import spell_checksum
from renderer.event_data.sroot_parts import Part, read_part
from schemas.manifest.dataset import UNASSIGNED, parse_dataset


def list_paths(found: Iterable[File]) -> set[str]:
    """The paths that the decision depends on: those of the files, and those of their neighbours in a set."""
    paths = set()
    for file in found:
        part = part_of(file)
        neighbours = () if part is None else (part.before, part.after)
        paths |= {file.path, *(beside(file, name) for name in neighbours if name)}
    return paths


def list_comparisons(found: Sequence[File], known: Known) -> list[tuple[str, str]]:
    """The paths that must be read to tell whether a file changed, each with the algorithm of the registered checksum."""
    pairs = ((known.files.get(key_of(file)), file) for file in found)
    asked = ((file.path, _find_algorithm(before, file)) for before, file in pairs)
    return [(path, algorithm) for path, algorithm in asked if algorithm is not None]


def _find_algorithm(before: File | None, file: File) -> str | None:
    """The algorithm of the checksum that must be computed to compare a file on disk, or None if none is needed."""
    if before is None:
        return None
    algorithm = before.checksum.partition(":")[0]
    alike = file.checksum.startswith(f"{algorithm}:") or file.size != before.size or file.storage != "disk"
    return None if alike else algorithm


def decide(
    found: Sequence[File],
    replicas: Sequence[Replica],
    known: Known,
    storage: Storage,
    named: frozenset[str] = frozenset(),
) -> Decision:
    """The result of an import of `found` and `replicas`. `named` are paths that were given one by one.

    Files of the import that contradict each other are all refused. A registered file stays as it is, unless the same file
    was found changed or moved.
    """
    return _Filing(known, storage, named).decide(found, replicas)


class _Filing:
    def __init__(self, known: Known, storage: Storage, named: frozenset[str]) -> None:
        self.known, self.storage, self.named = known, storage, named
        self.paths = {file.path: file for file in known.files.values()}
        self.unassigned: dict[Key, File] = {}  # key now → the file of nobody that it was before
        self.made = Decision()

    def refuse(self, file: File, reason: str) -> None:
        self.made.refused.append(RefusedFile(file.path, reason))

    def decide(self, found: Sequence[File], replicas: Sequence[Replica]) -> Decision:
        made = self.made
        coming: dict[Key, File] = {}
        for key, file in self.choose_consistent(found).items():
            if (judged := self.judge(key, file)) is not None:
                coming[key] = judged
        while self.refuse_equal(coming):
            pass  # a refused file keeps its old content, which another file of the import may have too
        self.refuse_parts(coming)
        for key, file in coming.items():
            before = self.known.files.get(key)
            if (former := self.unassigned.get(key)) is not None:
                made.assigned.append((former, file))
            elif before is None:
                made.new.append(file)
            elif before.path != file.path and content_of(before) == content_of(file):
                made.moved.append((before, file))
            else:
                made.changed.append((before, file))
        self.place_replicas(replicas, coming)
        return made

    def choose_consistent(self, found: Sequence[File]) -> dict[Key, File]:
        """The files that the import describes without contradiction. The others are refused."""
        chosen: dict[Key, File] = {}
        owners: dict[str, Key] = {}
        clashes: dict[Key, dict[File, None]] = {}
        doubles: dict[str, dict[Key, None]] = {}
        for file in found:
            key = key_of(file)
            if (first := chosen.setdefault(key, file)) is not file and first != file:
                clashes.setdefault(key, {first: None})[file] = None
            if (owner := owners.setdefault(file.path, key)) != key:
                doubles.setdefault(file.path, {owner: None})[key] = None
        for key, members in clashes.items():
            del chosen[key]
            if len({file.path for file in members}) == 1:
                self.refuse(next(iter(members)), "it is listed twice, differently")
                continue
            alike = len(set(map(content_of, members))) == 1
            for file in members:
                others = _join([one.path for one in members if one.path != file.path])
                way = f"they are equal: {_REPLICA}" if alike else "a list can give each a `name` of its own"
                what = f"{describe_file(file)} is also {others} in this import"
                why = "a run has one file of a name in a dataset, so none of them is taken"
                self.refuse(file, f"{what}; {why}; {way}")
        for keys in doubles.values():
            shown = " and as ".join(map(describe_key, keys))
            for file in filter(None, [chosen.pop(key, None) for key in keys]):
                self.refuse(file, f"it is listed as {shown}")
        return chosen

    def judge(self, key: Key, file: File) -> File | None:
        """The file to be written, or None if it is unchanged, kept out, or refused because of a registered file."""
        before, here = self.known.files.get(key), self.paths.get(file.path)
        if (reason := self.find_clash(file)) is not None:
            self.refuse(file, reason)
            return None
        if before is None and here is not None and is_assigning(here, file):
            self.unassigned[key] = here
            return self.put_alike(here, file)
        if here is not None and here is not before:
            known, found = map(describe_file, (here, file))
            self.refuse(file, f"it is registered as {known}, not as {found}; {_say(here)}")
            return None
        if before is None:
            if file.path not in self.named and (key, spell_checksum(file.checksum)) in self.known.removed:
                self.made.kept_out.append(file)
                return None
            return file
        file = self.put_alike(before, file)
        equal = content_of(before) == content_of(file) and before.size == file.size
        replica = self.known.replicas.get(file.path) == key
        if before == file or (replica and equal):
            self.made.unchanged += 1
            return None
        if replica:
            self.refuse(file, f"it is a replica of {before.path}, and has another content now; {_say(file)}")
            return None
        if before.path == file.path or self.storage.same(before.path, file.path):
            return file
        place, what = self.storage.judge(before), f"{describe_file(file)} is registered at {before.path}"
        if equal and place is FilePlace.THERE:
            self.refuse(file, f"{what}, which is equal: {_REPLICA}")
        elif not equal and place is not FilePlace.GONE:
            self.refuse(file, f"{what}, with another content; {_say(before)}")
        else:
            return file
        return None

    def find_clash(self, file: File) -> str | None:
        """Why a file cannot be in its dataset; None if it can."""
        if (owner := self.known.published.get(file.path)) is not None:
            return f"it belongs to {owner}, for which it was made here; it cannot be in {file.dataset} too"
        if file.dataset in self.known.made:
            return f"{file.dataset} is made here, so its files are known; choose another name for other files"
        level = self.known.levels.get(file.dataset, file.level)
        return (
            None
            if level == file.level
            else f"{file.dataset} has files of level {level}, and this is {file.level}"
        )

    def put_alike(self, before: File, file: File) -> File:
        """The file with the checksum by which it is registered, and with the known number of events if it states none.

        Checksums of different algorithms cannot be compared, so the file is then read.
        """
        algorithm = _find_algorithm(before, file)
        if algorithm and self.storage.digest(file.path, algorithm) == spell_checksum(before.checksum):
            file = replace(file, checksum=before.checksum)
        if content_of(file) == content_of(before):
            events = before.events if file.events is None else file.events
            said = before.simulated if file.simulated is None else file.simulated
            file = replace(file, checksum=before.checksum, events=events, simulated=said)
        return file

    def refuse_equal(self, coming: dict[Key, File]) -> bool:
        """Removes from `coming` the files whose content another file has. Returns whether there were any."""
        count = len(coming)
        wanted = Counter(map(content_of, coming.values()))
        holders: dict[Content, list[File]] = {}
        leaving = set(map(key_of, self.unassigned.values()))
        for key, file in self.known.files.items():
            content = content_of(file)
            if (
                content in wanted
                and key not in leaving
                and (key not in coming or content_of(coming[key]) == content)
            ):
                holders.setdefault(content, []).append(file)
        for file in coming.values():
            if wanted[content_of(file)] > 1:
                holders.setdefault(content_of(file), []).append(file)
        for key, file in list(coming.items()):
            content = content_of(file)
            others = [other for other in holders.get(content, ()) if key_of(other) != key]
            before = self.known.files.get(key)
            if not others or (before is not None and content_of(before) == content):
                continue
            del coming[key]
            shown = _join([f"{other.path} ({describe_file(other)})" for other in others])
            registered = [one for one in others if self.paths.get(one.path) is one]
            gone = [one for one in registered if self.storage.judge(one) is FilePlace.GONE]
            way = f"{gone[0].path} is gone, and {_say(gone[0])}" if gone else _REPLICA
            self.refuse(file, f"it has the content of {shown}, by {file.checksum}: {way}")
        return len(coming) < count

    def refuse_parts(self, coming: dict[Key, File]) -> None:
        """Removes parts of a set without the part before from `coming`; records parts after them that are not registered."""
        parts = [(part, key, file) for key, file in coming.items() if (part := part_of(file)) is not None]
        paths = {file.path: file for _, _, file in parts}
        for part, key, file in sorted(parts, key=lambda one: one[0].number):
            if part.before is not None:
                before = beside(file, part.before)
                there = paths.get(before) or self.paths.get(before)
                if there is None or key_of(there)[:3] != key[:3]:
                    del coming[key], paths[file.path]
                    what = f"the part before it, {before}, is not registered"
                    self.refuse(file, f"{what}; import them together")
        for part, _, file in parts:
            after = beside(file, part.after)
            known = file.path not in paths or after in paths or after in self.paths
            if not known and self.storage.judge(replace(file, path=after)) is FilePlace.THERE:
                self.made.alone.append((file.path, after))

    def place_replicas(self, replicas: Sequence[Replica], coming: Mapping[Key, File]) -> None:
        made = self.made
        after = {**self.known.files, **coming} if replicas else {}
        paths = {file.path: file for file in after.values()}
        contents: dict[Content, list[File]] = {}
        for file in after.values():
            contents.setdefault(content_of(file), []).append(file)
        for replica in replicas:
            file = replica.file
            if replica.of is None:
                targets = contents.get(content_of(file), [])
            elif replica.of in paths:
                targets = [paths[replica.of]]
            else:
                named = [one for one in after.values() if one.name == replica.of]
                targets = [one for one in named if key_of(one)[:3] == key_of(file)[:3]] or named
            what = replica.of or "a file with its content"
            if len(targets) != 1:
                many = f"{what} is {len(targets)} files: {_join(list(map(describe_file, targets)))}"
                self.refuse(file, many if targets else f"{what}, of which it is a replica, is not registered")
                continue
            target = targets[0]
            same = self.put_alike(target, file)
            if same.path == target.path:
                self.refuse(file, f"it is {describe_file(target)} itself, and no replica")
            elif content_of(same) != content_of(target) or same.size != target.size:
                mine, theirs = (f"has {one.size} bytes, {one.checksum}" for one in (file, target))
                self.refuse(file, f"it is not a replica of {target.path}: it {mine}, that one {theirs}")
            elif (other := paths.get(file.path)) is not None:
                self.refuse(file, f"it is registered as {describe_file(other)} already; {_say(other)}")
            elif self.known.replicas.get(file.path) == key_of(target):
                made.unchanged += 1
            else:
                made.replicas.append((key_of(target), file.path, file.storage))


def is_assigning(before: File, after: File) -> bool:
    """Whether a file of which it was not known whose it is gets a dataset."""
    alike = key_of(before)[1:] == key_of(after)[1:] and before.level == after.level
    return alike and parse_dataset(before.dataset).campaign == UNASSIGNED and after.dataset != before.dataset


_REPLICA = "leave one out, or declare it a replica (`--replicas`, or a column `replica_of`)"


def _say(file: File) -> str:
    return f"if that is to go, say first: `b2prod files remove {shlex.quote(file.path)} --reason …`"


def part_of(file: File) -> Part | None:
    """The place of a file in a set that basf2 reads as one; None for other files."""
    return read_part(os.path.basename(file.path)) if ".sroot" in file.path else None


def beside(file: File, name: str) -> str:
    """The path of the file with this name in the same folder."""
    return os.path.join(os.path.dirname(file.path), name)


def _join(texts: Sequence[str]) -> str:
    shown = ", ".join(texts[:3])
    return f"{shown} and {len(texts) - 3} more" if len(texts) > 3 else shown
