"""What it costs that the files which are published are copies, compared once more with what was verified."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from rich.table import Table

from ci.cli.tables import make_table
from reconciler.execution.tracking.publication import publish
from reconciler.execution.tracking.workspace import Workspace
from reconciler.model.work_items import Move
from reconciler.outside.checksums import digest_content

FILES, SIZE = 20, 100_000_000


def measure_publishing() -> Table:
    """CPU and wall time of publishing files of 100 MB, beside their checksums alone, and beside hard links, which seal nothing."""
    columns = ("what", "files", "MB", "wall / s", "CPU / s", "ratio of CPU")
    table = make_table(*columns, title="Publishing", numbers=columns[1:])
    reference = 0.0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        workspace, room, storage = (
            Workspace(folder / "attempts", folder),
            folder / "attempts/a1",
            folder / "data",
        )
        room.mkdir(parents=True)
        storage.mkdir()
        block = os.urandom(1_000_000)
        moves = []
        for number in range(FILES):
            file = room / f"{number}.root"
            file.write_bytes(number.to_bytes(8, "big") + block * (SIZE // len(block)))
            moves.append(
                Move("a1", file.name, str(storage), "published", file.stat().st_size, digest_content(file))
            )
        for what, work in (
            ("the checksums alone", lambda: [digest_content(room / move.path) for move in moves]),
            ("hard links", lambda: [os.link(room / move.path, folder / move.path) for move in moves]),
            (
                "copies, not compared",
                lambda: [shutil.copyfile(room / move.path, storage / move.path) for move in moves],
            ),
            ("published", lambda: publish(moves, workspace)),
        ):
            wall, used = _clock(work)
            reference = reference or used
            counts = (f"{FILES}", f"{FILES * SIZE / 1e6:,.0f}")
            table.add_row(what, *counts, f"{wall:.1f}", f"{used:.2f}", f"{used / reference:.2f}")
    return table


def _clock(work: Callable[[], object]) -> tuple[float, float]:
    wall, used = time.perf_counter(), time.process_time()
    work()
    return time.perf_counter() - wall, time.process_time() - used
