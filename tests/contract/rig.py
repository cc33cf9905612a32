"""What the contract tests need of an engine's entry: the service behind it, batches for it, and faults to play."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar

from reconciler.engines.local.engine import RUNTIME
from reconciler.model.bundles import find_place
from reconciler.model.engine import (
    Accepted,
    Batch,
    Engine,
    EngineUnavailable,
    JobHandle,
    Observation,
    Sighting,
)
from tests.support.inputs.runtime_jobs import job

OUTPUT = "open('out.root', 'w').write('x')"
PATIENT = f"import os, time\nwhile not os.path.exists('go'): time.sleep(0.02)\n{OUTPUT}"


class Rig:
    """An engine under test. One file a rig; its class is listed in `rigs.RIGS`.

    `plays` names the faults and powers that the rig has, of those that the tests ask for; a test runs with the rigs
    that have what it needs. `runtime`: jobs start with our runtime, so that one that fails leaves a result too; `singly`:
    single members of a batch can be cancelled.
    """

    plays: ClassVar[frozenset[str]] = frozenset()
    slow: ClassVar[bool] = False
    patience: ClassVar[float] = 90.0
    """Seconds until anything that the site does must have happened."""
    awkward: ClassVar[str] = "a,b c;$(touch canary)"
    """The value of an environment variable that a shell would run, and that the engine passes on."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._batches = 0

    @classmethod
    @contextlib.contextmanager
    def serving(cls, request, folder: Path, monkeypatch) -> Iterator[Rig]:
        """The rig of one test; a service that serves them all is a fixture of the session."""
        yield cls(folder)

    def make_engine(self, seconds: float | None = None, **changes: object) -> Engine:
        """An engine as a new process of ours would make it; `seconds`: of any call; `changes` are of its site."""
        raise NotImplementedError

    def turn(self) -> None:
        """Lets the site work, where it does nothing by itself."""

    @contextlib.contextmanager
    def fault(self, name: str) -> Iterator[None]:
        """The site has a fault as long as the context lasts."""
        raise NotImplementedError(name)

    def hold(self, batch: Batch) -> contextlib.AbstractContextManager[None]:
        """What is submitted in the context stays pending (power `hold`)."""
        raise NotImplementedError

    def is_remembered(self, handles: Sequence[JobHandle]) -> bool:
        """Whether jobs that were taken are visible to whatever could know them."""
        return True

    def foreign(self) -> contextlib.AbstractContextManager[tuple[str, Callable[[], bool]]]:
        """A job of somebody else: its reference, and whether it is running (power `foreign`)."""
        raise NotImplementedError

    def broken_sites(self) -> Iterator[tuple[str, Engine]]:
        """Engines of sites that are out of order, with what a complaint must name (power `broken_site`)."""
        raise NotImplementedError

    def forget(self, batch: Batch) -> None:
        """Makes the queue forget the batch, whose jobs have ended (power `forget`)."""
        raise NotImplementedError

    def restart(self, doing: Callable[[], None]) -> None:
        """Stops the service, calls `doing`, and starts the service again (power `restart`)."""
        raise NotImplementedError

    def reference_of_nothing(self) -> str:
        """A reference of the right form that was never given."""
        raise NotImplementedError

    def make_unsubmitted(self) -> JobHandle:
        """An attempt with a reference that was never given: its batch was made, and nothing was submitted."""
        return dataclasses.replace(self.make_batch(OUTPUT).handles[0], reference=self.reference_of_nothing())

    def count_calls(self) -> int:
        """How many calls the service has had from engines (power `count`)."""
        raise NotImplementedError

    def make_batch(
        self,
        *codes: str,
        name: str | None = None,
        environment: Sequence[str] = (),
        bundles: Sequence[int] = (),
    ) -> Batch:
        """A batch with an attempt for each piece of Python that is its application; `bundles` are the sizes of its jobs."""
        self._batches += 1
        name = name or f"b2p-test-{time.time_ns():x}-{self._batches}"
        handles = []
        for index, code in enumerate(codes):
            attempt = f"{name}-j{index}"
            folder = self.folder / "attempts" / attempt
            folder.mkdir(parents=True)
            described = job(self.folder, ["@python", "-c", code], environment=list(environment))
            (folder / "job.json").write_text(json.dumps(described))
            begun = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
            job_index = find_place(bundles, index).job
            handles.append(JobHandle(attempt, f"nonce-of-{index}", folder, name, job_index, begun))
        folder = self.folder / "batches" / name
        folder.mkdir(parents=True)
        for file in ("job.py", "member.py"):
            shutil.copy(RUNTIME.with_name(file), folder)
        members = [
            [str(one.folder), one.name, one.nonce, *([one.index] if bundles else [])] for one in handles
        ]
        (folder / "members.json").write_text(json.dumps(members))
        return Batch(name, folder, tuple(handles))

    def wait(self, true: Callable[[], bool], what: str = "this should have happened by now") -> None:
        """Lets the site work until something holds."""
        end = time.monotonic() + self.patience
        while not true():
            assert time.monotonic() < end, what
            self.turn()
            time.sleep(0.05)

    def see(self, engine: Engine, handles: Sequence[JobHandle]) -> dict[str, Sighting]:
        """One look that may fail: the sightings; all unknown where there was no answer."""
        try:
            return {name: seen.sighting for name, seen in engine.query(handles).items()}
        except EngineUnavailable:
            return dict.fromkeys((one.name for one in handles), Sighting.UNKNOWN)

    def end(self, engine: Engine, handles: Sequence[JobHandle]) -> None:
        """Cancels until all are seen to have ended, as a reconciler does turn by turn.

        A job that starts in the very moment of its cancellation can get lost for it: DiracX reads a status and writes
        the next one without a lock.
        """

        def over() -> bool:
            engine.cancel(handles)
            return set(self.see(engine, handles).values()) == {Sighting.ENDED}

        self.wait(over, "what was cancelled should have ended by now")

    def wait_for(
        self, engine: Engine, handles: Sequence[JobHandle], *wanted: Sighting
    ) -> dict[str, Observation]:
        """Waits until all handles are seen so; the observations."""
        seen: dict[str, Sighting] = {}

        def so() -> bool:
            seen.update(self.see(engine, handles))
            return set(seen.values()) <= set(wanted)

        end = time.monotonic() + self.patience
        while not so():
            assert time.monotonic() < end, f"wanted {wanted}, seen {seen}"
            self.turn()
            time.sleep(0.05)
        return dict(engine.query(handles))


def submitted(engine: Engine, batch: Batch) -> list[JobHandle]:
    """The batch's handles with the references that they got."""
    answers = engine.submit(batch)
    accepted = [answer for answer in answers if isinstance(answer, Accepted)]
    assert len(accepted) == len(answers), answers
    return [
        dataclasses.replace(handle, reference=answer.reference)
        for handle, answer in zip(batch.handles, accepted, strict=True)
    ]


def result_of(engine: Engine, handle: JobHandle) -> Any:
    """What came of an ended attempt, as its result says."""
    until = time.monotonic() + Rig.patience
    while time.monotonic() < until:
        with contextlib.suppress(EngineUnavailable):  # it may take several calls
            engine.fetch(handle)
            break
        time.sleep(0.05)
    return json.loads((handle.folder / "result.json").read_text())


def ended(rig: Rig, engine: Engine, handles: Sequence[JobHandle]) -> dict[str, Observation]:
    """The observations of attempts once all have ended; each has a result of its own."""
    seen = rig.wait_for(engine, handles, Sighting.ENDED)
    for handle in handles:
        result = result_of(engine, handle)
        assert (result["attempt"], result["nonce"]) == (handle.name, handle.nonce)
    return seen
