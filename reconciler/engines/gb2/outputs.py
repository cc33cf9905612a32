"""The outputs of a run on the grid: their folders, and their download into an attempt's folder."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from reconciler.engines.attempt_folders import start_process, take_lock, write_result
from reconciler.engines.gb2.requests import GridRequest, read_job
from reconciler.model.engine import EngineUnavailable, JobHandle
from reconciler.model.states import FailureClass
from reconciler.outside.checksums import digest_content

FOLDER, LOCK, LOG = "download", "download.lock", "log"

_CHILDREN: list[subprocess.Popen[bytes]] = []
"""Downloads that this process started, as long as they may run."""


def list_folders(order: GridRequest, number: int, handle: JobHandle) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Each output of a run, with the folders on the grid where it may be; these have data blocks `sub00` and so on.

    If the production system merges outputs, here of a single run, the folder of run 0 is one of them, as in
    `/belle/Data/release-06-00-08/DB00002392/proc13/prod00029531/e0018/4S/r00000/mdst`.
    """
    job, content = read_job(handle), order.content
    merged = order.members == 1 and content.get("DataStructureByRun") == "False"
    runs = dict.fromkeys((int(job["run"]), 0) if merged else (int(job["run"]),))
    top = "/".join(
        (
            str(content["LPNPrefix"]).rstrip("/"),
            str(content["Release"]),
            str(content["DBGlobalTag"]),
            str(content["Campaign"]),
            f"prod{number:08d}",
            f"e{int(job['experiment']):04d}",
            str(content["BeamEnergy"]),
        )
    )
    for item, description in zip(job["outputs"], content["DataDescription"], strict=True):
        skims = [str(description[key]) for key in ("GeneralSkimName", "SkimDecayMode") if key in description]
        yield (
            item["output"],
            tuple("/".join((top, f"r{run:05d}", *skims, str(description["DataLevel"]))) for run in runs),
        )


class Download:
    """The download of one attempt's outputs: a process that may outlive this one, and holds a lock while it runs."""

    def __init__(self, handle: JobHandle, wrapper: Sequence[str], environment: Mapping[str, str]) -> None:
        self._handle, self._wrapper, self._environment = handle, wrapper, environment
        self._folder = handle.folder / FOLDER

    def check(self) -> None:
        """Raises `EngineUnavailable` while the download runs."""
        os.close(self._lock())

    def take(self, files: Mapping[str, Sequence[str]]) -> None:
        """Writes the result if all `files` (output → paths on the grid) are here; else starts a download.

        Raises:
            EngineUnavailable: a download begins or cannot begin, or a file that is here is not listed any more.
        """
        shown = {os.path.basename(path) for some in files.values() for path in some}
        for file in sorted(self._folder.glob("*.root")):
            if file.name not in shown:
                raise EngineUnavailable(f"the grid does not list {file.name} any more, which it had before")
        missing = [path for some in files.values() for path in some if not self._is_whole(path)]
        if missing:
            self._start(missing)
            raise EngineUnavailable(f"{len(missing)} files are being downloaded")
        if not all(files.values()):
            return  # an output has no file: the job left no result, and is tried again
        job = read_job(self._handle)
        wrong = [
            f"{len(files[item['output']])} of {item['output']}"
            for item in job["outputs"]
            if len(files[item["output"]]) != 1
        ]
        if wrong:
            message = f"one file is due of each output, and the grid has {', '.join(wrong)}"
            write_result(
                self._handle, key=job["key"], failure={"class": FailureClass.PERMANENT, "message": message}
            )
        else:
            outputs = [self._move(item, files[item["output"]][0]) for item in job["outputs"]]
            write_result(self._handle, key=job["key"], outputs=outputs)

    def _move(self, item: Mapping[str, Any], path: str) -> dict[str, Any]:
        source, target = self._folder / os.path.basename(path), self._handle.folder / str(item["file"])
        if source.exists():
            os.replace(source, target)
        described = {"output": item["output"], "file": item["file"], "size": target.stat().st_size}
        return {**described, "checksum": digest_content(target), "events": None}

    def _is_whole(self, path: str) -> bool:
        """Whether a file has at least the size that its own header states: downloads may be cut short."""
        try:
            with (self._folder / os.path.basename(path)).open("rb") as stream:
                head = stream.read(20)
                size = os.fstat(stream.fileno()).st_size
        except OSError:
            return False
        if len(head) < 20 or not head.startswith(b"root"):
            return False
        large = int.from_bytes(head[4:8], "big") >= 1_000_000
        return int.from_bytes(head[12 : 20 if large else 16], "big") <= size

    def _start(self, paths: Sequence[str]) -> None:
        self._folder.mkdir(exist_ok=True)
        lock = self._lock()
        try:
            command = [*self._wrapper, "gb2_ds_get", "--force", *paths]
            log = self._handle.folder / LOG
            process = start_process(command, self._folder, log, self._environment, lock)
        except OSError as error:
            raise EngineUnavailable(f"gb2_ds_get cannot be started: {error.strerror}") from error
        _CHILDREN[:] = [process, *(one for one in _CHILDREN if one.poll() is None)]

    def _lock(self) -> int:
        try:
            return take_lock(self._handle.folder / LOCK)
        except BlockingIOError:
            raise EngineUnavailable("its outputs are being downloaded") from None
        except OSError as error:
            raise EngineUnavailable(f"{self._handle.folder} cannot be written: {error.strerror}") from error
