"""Files in the folders of attempts, written whole or not at all; and processes that hold a lock there."""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from reconciler.model.engine import JobHandle

RESULT = "result.json"


def write_result(handle: JobHandle, **said: Any) -> None:
    """Writes `result.json` for a job that left only outputs, whole or not at all; `said` are its keys beyond name and nonce.

    Raises:
        OSError: the folder cannot be written.
    """
    result = {
        "schema": "result/1",
        "attempt": handle.name,
        "nonce": handle.nonce,
        "outputs": [],
        "failure": None,
        "wall_seconds": 0.0,
        "cpu_seconds": 0.0,
        **said,
    }
    replace_file(handle.folder / RESULT, json.dumps(result, sort_keys=True).encode())


def replace_file(file: Path, content: bytes) -> None:
    """Writes a file, whole or not at all.

    Raises:
        OSError: the folder cannot be written.
    """
    part = file.with_name(f".{file.name}.part")
    part.write_bytes(content)
    os.replace(part, file)


def take_lock(file: Path) -> int:
    """A descriptor that holds the lock of a file; the file is made if it does not exist.

    Raises:
        BlockingIOError: somebody else holds the lock.
        OSError: the file cannot be opened.
    """
    lock = os.open(file, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(lock)
        raise
    return lock


def start_process(
    command: Sequence[str], folder: Path, log: Path, environment: Mapping[str, str], lock: int
) -> subprocess.Popen[bytes]:
    """A new process in its own session, which writes to `log`. It takes over `lock`, which is closed here in any case.

    Raises:
        OSError: it cannot be started.
    """
    try:
        with log.open("ab") as stream:
            return subprocess.Popen(
                command,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=stream,
                stderr=subprocess.STDOUT,
                env=dict(environment),
                pass_fds=(lock,),
                start_new_session=True,
            )
    finally:
        os.close(lock)
