"""The folders of attempts: writes what a job reads, verifies what it leaves there, and removes them."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from io import BufferedReader, BufferedWriter
from pathlib import Path
from typing import Any

from reconciler.model.engine import Batch, JobHandle
from reconciler.model.states import FailureClass
from reconciler.model.work_items import UNMEASURED, Attempt, Product, Usage
from reconciler.outside.checksums import digest_stream
from reconciler.outside.errors import foreseeing
from reconciler.outside.plain_files import NotPlain, create_plain, open_plain, read_plain
from renderer.event_data.event_numbers import RECORD
from schemas.files.canonical import clean_text
from schemas.files.strict_json import parse_json
from schemas.json_schema.validation import check_rendered, load_schema, validate_json
from schemas.manifest.step import HISTOGRAM_OUTPUTS, HISTOGRAMS

STARTED, RESULT, END = "started", "result.json", "end"
SUPERSEDED = "superseded"
LOG = "log"
LOG_END = 1 << 18
"""Bytes at the end of a log in which the error is searched."""
LOG_COUNTED = 1 << 28
"""Lines are counted in at most this many bytes before that; in a longer log, lines are counted from the end."""
RESULT_SIZE = 1 << 20
"""Largest size in bytes of a result; one output takes about 200."""
TOLD = 2000
"""Characters of a failure's message that are kept."""

_COMMIT = re.compile(r"([0-9a-f]{7,64})(-modified)?", re.ASCII)
_RELEASE = re.compile(r"(?:pre)?release-[0-9]{2}-[0-9a-z-]+", re.ASCII)

RUNTIME = Path(__file__).resolve().parents[3] / "renderer" / "runtime"


@dataclass(frozen=True, slots=True)
class Verified:
    """A result whose outputs have the stated size and checksum, and the stated number of events.

    `record` has other information as JSON data; its `event_numbers` is the checksum of the record of the events that were
    read, if the job left one.
    """

    products: tuple[Product, ...]
    events_read: int | None
    usage: Usage
    record: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """A result that reports a failure, or that is wrong. `failure` is the class of the failure.

    `scope` is `step` if all jobs of the step would fail in the same way.
    """

    failure: FailureClass
    reason: str
    scope: str | None = None


class _Unusable(Exception):
    """The files of an attempt cannot be used; `failed` says why."""

    def __init__(
        self, reason: str, failure: FailureClass = FailureClass.INFRASTRUCTURE, scope: str | None = None
    ) -> None:
        super().__init__(reason)
        self.failed = Failed(failure, reason, scope)


class Workspace:
    """The folders of all attempts of one ledger, below `folder`, and of its batches, below `batches`."""

    def __init__(self, folder: Path, batches: Path) -> None:
        self.folder = folder
        self.batches = batches

    def path(self, name: str) -> Path:
        """The folder of the attempt with this name."""
        return self.folder / name

    def make_handle(self, attempt: Attempt) -> JobHandle:
        """The handle by which engines know an attempt."""
        return attempt.make_handle(self.path(attempt.name), self.batches / attempt.batch)

    def prepare(self, attempt: Attempt, files: Mapping[str, bytes]) -> None:
        """Makes the attempt's folder with all that its job reads; `files` maps names to contents.

        Raises:
            SourceUnavailable: the folder cannot be written.
        """
        _make_folder(self.path(attempt.name), {name: (content, 0o644) for name, content in files.items()})

    def prepare_batch(self, batch: Batch) -> None:
        """Makes a batch's folder with what its jobs need to find their own folders; the list of members is written last.

        Raises:
            SourceUnavailable: the folder cannot be written.
        """
        members: list[list[str | int]] = [[str(one.folder), one.name, one.nonce] for one in batch.handles]
        if batch.jobs < len(members):  # bundles
            members = [[*member, one.index] for member, one in zip(members, batch.handles, strict=True)]
        files = {name: ((RUNTIME / name).read_bytes(), 0o644) for name in ("job.py", "member.py")}
        files["members.json"] = json.dumps(members).encode(), 0o600  # secret, because it has nonces
        _make_folder(batch.folder, files)

    def bury(self, name: str) -> bool:
        """Writes the mark that a job writes when it begins, so that it can never begin. Returns false if it has begun already.

        Raises:
            SourceUnavailable: the folder cannot be read or written.
        """
        marker = self.path(name) / STARTED
        with foreseeing(f"{marker} cannot be written"):
            marker.parent.mkdir(parents=True, exist_ok=True)
            try:
                with marker.open("x") as stream:
                    stream.write(SUPERSEDED)
            except FileExistsError:
                return not self.was_started(name)
        return True

    def ask_end(self, name: str) -> None:
        """Asks the job of an attempt to end, by a file in its folder: so a member of a bundle is ended, and the others are not.

        Raises:
            SourceUnavailable: the folder cannot be written.
        """
        with foreseeing(f"{self.path(name)} cannot be written"):
            (self.path(name) / END).touch()

    def collect(self, attempt: Attempt, due: Mapping[str, str | None]) -> Verified | Failed | None:
        """The result of an attempt that has ended; None if it left no result.

        Size, checksum and number of events of each output are compared with the result. `due` says which outputs must be there:
        output → file name, None for any name. It does not come from the folder, because the job can write there.

        Raises:
            SourceUnavailable: the folder cannot be read now; the result is not known.
        """
        folder = self.path(attempt.name)
        with foreseeing(f"{folder} cannot be read now"):
            try:
                result = _read_result(folder / RESULT)
                return None if result is None else _verify(folder, attempt, due, result)
            except _Unusable as told:
                return told.failed

    def has_result(self, name: str) -> bool:
        """Whether the attempt left something at the place of a result; false if the folder cannot be read."""
        return os.path.lexists(self.path(name) / RESULT)

    def was_started(self, name: str) -> bool:
        """Whether the attempt's job began.

        Raises:
            SourceUnavailable: the folder cannot be read now.
        """
        marker = self.path(name) / STARTED
        with foreseeing(f"{marker} cannot be read now"):
            try:
                return read_plain(marker, 4096) != SUPERSEDED.encode()
            except FileNotFoundError:
                return False
            except NotPlain:
                return True  # it is not our mark, and only our mark stops a job before it begins

    def read_log(self, name: str) -> tuple[str, int]:
        """The end of an attempt's log, and the number of its first line; an empty text and 1 if there is no log.

        Lines are counted from 1. In a very long log they are counted from the end; the last line is -1.
        """
        try:
            with open_plain(self.path(name) / LOG) as log, BufferedReader(log) as stream:
                start = max(0, stream.seek(0, os.SEEK_END) - LOG_END)
                first = 1
                if start <= LOG_COUNTED:
                    stream.seek(0)
                    for place in range(0, start, 1 << 20):
                        first += stream.read(min(1 << 20, start - place)).count(b"\n")
                stream.seek(start)
                text = stream.read(LOG_END).decode("utf-8", "replace")
        except (OSError, NotPlain):
            return "", 1
        return text, first if start <= LOG_COUNTED else -1 - text.removesuffix("\n").count("\n")

    def sweep(self, attempts: Iterable[str], batches: Iterable[str] = ()) -> None:
        """Removes the folders of these attempts and batches."""
        folders = [*map(self.path, sorted(attempts)), *(self.batches / name for name in sorted(batches))]
        for folder in folders:
            shutil.rmtree(folder, ignore_errors=True)

    def names(self) -> tuple[str, ...]:
        """The names of the attempts that have a folder, sorted."""
        return _list_folders(self.folder)

    def batch_names(self) -> tuple[str, ...]:
        """The names of the batches that have a folder, sorted."""
        return _list_folders(self.batches)


def _make_folder(folder: Path, files: Mapping[str, tuple[bytes, int]]) -> None:
    """Makes a folder with files, each with content and mode, in this order.

    The names can be guessed, and jobs can write beside the folders. So what has the name already is moved away, and links
    are not followed: nothing is written to a place that another process chose.

    Raises:
        SourceUnavailable: it cannot be written.
    """
    with foreseeing(f"{folder} cannot be written"):
        if os.path.lexists(folder):
            aside = folder.with_name(f"{folder.name}.{secrets.token_hex(4)}")
            folder.rename(aside)  # its content may not be removable
            shutil.rmtree(aside, ignore_errors=True)
            if not aside.is_dir() or aside.is_symlink():
                aside.unlink(missing_ok=True)
        try:
            folder.mkdir()
        except FileNotFoundError:  # of ten thousand, all but the first find the folder above
            folder.parent.mkdir(parents=True, exist_ok=True)
            folder.mkdir()
        here = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            for name, (content, mode) in files.items():
                with BufferedWriter(create_plain(name, mode, here)) as stream:
                    stream.write(content)
        finally:
            os.close(here)


def _list_folders(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(os.listdir(folder))) if folder.is_dir() else ()


def _read_result(file: Path) -> Any:
    """The result file that a job left, as JSON data; None if there is none."""
    try:
        result = parse_json(read_plain(file, RESULT_SIZE))
        # the quick check is first, because a malicious file can keep the strict one busy for minutes
        check_rendered(result, "result")
        problems: Sequence[object] = validate_json(result, load_schema("result"))
    except FileNotFoundError:
        return None
    except (NotPlain, ValueError) as error:
        problems = [error]
    if problems:
        raise _Unusable(f"result.json is malformed: {clean_text(str(problems[0]))[:TOLD]}")
    return result


def _verify(
    folder: Path, attempt: Attempt, due: Mapping[str, str | None], result: Mapping[str, Any]
) -> Verified | Failed:
    if result["nonce"] != attempt.nonce:
        raise _Unusable("result.json belongs to another attempt")
    if said := result["failure"]:
        return Failed(FailureClass(said["class"]), clean_text(said["message"])[:TOLD], said.get("scope"))
    stated = {item["output"]: item for item in result["outputs"]}
    if stated.keys() != due.keys() or len(stated) != len(result["outputs"]):
        told = sorted(item["output"] for item in result["outputs"])
        raise _Unusable(f"due are {sorted(due)}, stated are {told}")
    products = []
    for output, known in due.items():
        item = stated[output]
        name = known or item["file"]
        if item["file"] != name or os.path.basename(name) != name:
            raise _Unusable(f"{output}: {name} is due, the result states {item['file']}")
        if item.get("kind") == HISTOGRAMS and output not in HISTOGRAM_OUTPUTS:
            raise _Unusable(f"{output}: histograms are stated, and events are due")
        events = _examine(folder / name, item, attempt, f"{output}: ")
        if item["events"] is not None and events is not None and events != item["events"]:
            differ = f"{name} holds {events:,} events, the result states {item['events']:,}"
            raise _Unusable(f"{output}: {differ}")
        described = (events, item.get("rows"), item.get("kind"))
        products.append(Product(output, name, item["size"], item["checksum"], *described))
    record: dict[str, Any] = _clean(result.get("record", {}))
    if numbers := result.get("event_numbers"):
        _examine(folder / RECORD, numbers, attempt)
        record["event_numbers"] = numbers["checksum"]
    return Verified(tuple(products), result.get("events_read"), _read_usage(result), record)


def _read_usage(result: Mapping[str, Any]) -> Usage:
    """What a result says that its job used. If it took no time at all, its engine has measured nothing."""
    wall, cpu = result["wall_seconds"], result["cpu_seconds"]
    if not wall and not cpu:
        return UNMEASURED
    host = result.get("host")
    return Usage(wall, cpu, result.get("peak_memory"), host and clean_text(host))


def _examine(file: Path, stated: Mapping[str, Any], attempt: Attempt, prefix: str = "") -> int | None:
    """Checks a file against the size and checksum that a result states. Returns its events; None if it holds none, as a file of histograms.

    The file is opened once and everything is read from it, because a job may replace it in between. Each error message
    begins with `prefix`.
    """
    try:
        with open_plain(file) as stream:
            before = os.fstat(stream.fileno())
            size = before.st_size
            if size != stated["size"] or digest_stream(stream, size) != stated["checksum"]:
                raise _Unusable(f"{prefix}{file.name} is not what the result states")
            opened = Path(f"/proc/self/fd/{stream.fileno()}")
            holds_events = stated.get("kind") != HISTOGRAMS
            events = count_events(opened, file.name) if holds_events else None
            wrong = judge_release(opened, file.name, attempt.release, attempt.commit)
            after = os.fstat(stream.fileno())
    except (FileNotFoundError, NotPlain):
        raise _Unusable(f"{prefix}{file.name} is not there") from None
    states = [(found.st_size, found.st_mtime_ns, found.st_ctime_ns) for found in (before, after)]
    if states[0] != states[1]:
        raise _Unusable(f"{prefix}{file.name} was changed while it was looked at")
    if isinstance(events, str):
        raise _Unusable(f"{prefix}{events}")
    if wrong is not None:
        raise _Unusable(f"{prefix}{wrong}", FailureClass.PERMANENT, "step")
    return events


def _clean(record: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """A record in which all texts are cleaned of unusual characters."""
    cleaned: dict[str, Any] = {}
    for key, told in record.items():
        texts = {name: clean_text(said) for name, said in told.items() if isinstance(said, str)}
        cleaned[key] = {clean_text(name): texts.get(name, said) for name, said in told.items()}
    return cleaned


def count_events(file: Path, name: str) -> int | str | None:
    """The events of an output, or a text that says why they cannot be counted; None if it is not a ROOT file."""
    if not name.endswith(".root"):
        return None
    from renderer.event_data.event_file import read_events  # noqa: PLC0415 -- reading ROOT files costs a second
    from renderer.event_data.root_file import InputError  # noqa: PLC0415 -- reading ROOT files costs a second

    try:
        return sum(chunk.events for chunk in read_events(file, name, None, (), ()))
    except InputError as error:
        return str(error)


def judge_release(file: Path, name: str, release: str | None, commit: str | None) -> str | None:
    """Checks that a file, called `name`, was made by an approved release and its commit. Returns what is wrong, or None.

    A build of a release states the release, a build from git states a commit. If the file does not state it, or it was not
    approved, it is not checked. The file must exist and be readable.
    """
    if (release is None and commit is None) or not name.endswith(".root"):
        return None
    stated = _read_release(file, name)
    if match := _COMMIT.fullmatch(stated):
        fits = commit is None or (commit.startswith(match[1]) and not match[2])
        return None if fits else f"{name} was made by the commit {stated}, and {commit} was approved"
    comparable = release is not None and _RELEASE.fullmatch(stated) and _RELEASE.fullmatch(release)
    if not comparable or stated == release:
        return None
    return f"{name} was made by {stated}, and {release} was approved"


def _read_release(file: Path, name: str) -> str:
    """The release or commit that made a file, as the file states it; empty if it does not."""
    from renderer.event_data.file_metadata import find_metadata  # noqa: PLC0415 -- reading ROOT files costs a second
    from renderer.event_data.root_file import InputError  # noqa: PLC0415 -- reading ROOT files costs a second

    try:
        metadata = find_metadata(file, name)
    except InputError:
        return ""
    return "" if metadata is None else metadata.release
