"""Checks many files at the same time, in other processes. A storage that does not answer in time ends the check."""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from multiprocessing.connection import Connection, wait

from reconciler.datasets.verification.file_check import Depth, FileFlaw, Published, examine
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.storage.mounts import find_trouble

PATIENCE = 120.0
"""Seconds that a storage may take to answer, in addition to the time for reading."""

_SLOWEST = 1e6
"""Bytes per second; a slower process is taken as hanging."""

_FILES, _BYTES = 200, 256 << 20
"""The largest part that one process gets at a time: number of files, and bytes."""

Look = tuple[Published, FileFlaw | None]


def look(files: Iterable[Published], depth: Depth, *, processes: int | None = None) -> Iterator[Look]:
    """Checks files. Yields each file and what is wrong with it (or None), in any order.

    This process checks sizes. Checks of depth `FULL` are done by `processes` other processes: None means one for each
    processor, 0 means this process.

    Raises:
        SourceUnavailable: a storage is missing, empty or too slow, or a file cannot be read. What was yielded before stays
            valid.
    """
    checked = _check_storages(files)
    if depth is Depth.SIZE or processes == 0:
        for file in checked:
            yield file, examine(file, depth)
        return
    with _crew(processes or os.cpu_count() or 1) as crew:
        yield from _share_out(crew, _divide(checked))


def _check_storages(files: Iterable[Published]) -> Iterator[Published]:
    seen: set[str] = set()
    for file in files:
        if file.storage not in seen:
            _check_storage(file.storage)
            seen.add(file.storage)
        yield file


def _check_storage(storage: str) -> None:
    """Checks that a storage answers. A thread asks it, so that this process does not hang."""
    answer: list[str | None] = []
    thread = threading.Thread(target=lambda: answer.append(find_trouble(storage)), daemon=True)
    thread.start()
    thread.join(PATIENCE)
    said = answer[0] if answer else f"did not answer within {PATIENCE:g} s"
    if said is not None:
        raise SourceUnavailable(f"the storage {storage} {said}; what it holds cannot be told")


def _divide(files: Iterable[Published]) -> Iterator[list[Published]]:
    part: list[Published] = []
    size = 0
    for file in files:
        part.append(file)
        size += file.size
        if len(part) >= _FILES or size >= _BYTES:
            yield part
            part, size = [], 0
    if part:
        yield part


Crew = Sequence["Connection[object, object]"]
"""The connections to the processes that check files."""


@contextlib.contextmanager
def _crew(count: int) -> Iterator[Crew]:
    """Processes that check the files sent to them. They end with the context, even if they hang."""
    context = multiprocessing.get_context("spawn")
    with contextlib.ExitStack() as stack:
        crew = []
        for _ in range(count):
            ours, theirs = context.Pipe()
            process = context.Process(target=_work, args=(theirs,), daemon=True)
            process.start()
            stack.callback(process.kill)
            theirs.close()
            crew.append(stack.enter_context(ours))
        yield crew


def _work(inbox: Connection[object, object]) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent process decides when it ends
    with contextlib.suppress(EOFError, OSError):
        while True:
            part = inbox.recv()
            assert isinstance(part, list)
            try:
                inbox.send([examine(file, Depth.FULL) for file in part])
            except SourceUnavailable as error:
                inbox.send(str(error))


def _share_out(crew: Crew, parts: Iterator[list[Published]]) -> Iterator[Look]:
    busy: dict[Connection[object, object], tuple[list[Published], float]] = {}

    def give(connection: Connection[object, object]) -> None:
        part = next(parts, None)
        if part is not None:
            connection.send(part)
            needed = sum(file.size for file in part) / _SLOWEST
            busy[connection] = part, time.monotonic() + PATIENCE + needed

    for connection in crew:
        give(connection)
    while busy:
        left = min(deadline for _, deadline in busy.values()) - time.monotonic()
        ready = wait(list(busy), max(left, 0))
        if not ready:
            part, _ = min(busy.values(), key=lambda item: item[1])
            raise SourceUnavailable(f"the storage {part[0].storage} did not answer in time")
        for connection in [one for one in busy if one in ready]:
            part, _ = busy.pop(connection)
            try:
                answer = connection.recv()
            except (EOFError, OSError) as error:
                message = f"a process that checked files in {part[0].storage} was ended from outside"
                raise SourceUnavailable(message) from error
            if isinstance(answer, str):
                raise SourceUnavailable(answer)
            assert isinstance(answer, list)
            give(connection)
            yield from zip(part, answer, strict=True)
