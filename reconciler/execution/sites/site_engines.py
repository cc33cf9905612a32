"""The engines of sites. An engine is made when it is first needed, and left alone for a while when it does not answer.

If an engine raises an unexpected exception, its site counts as a site that does not answer.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import ParamSpec, TypeVar

from sqlalchemy import select
from sqlalchemy.exc import IntegrityError, SQLAlchemyError

from reconciler.engines import ENGINES
from reconciler.ledger.schema.tables import sites
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.engine import (
    Answer,
    Batch,
    Engine,
    EngineUnavailable,
    JobHandle,
    Sighting,
    Uncertain,
)
from reconciler.model.work_items import Attempt
from reconciler.outside.defects import note_defect
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from schemas.policy.site import KEPT, KEPT_JOBS, Admission, Site

SHORTEST, LONGEST = 5.0, 600.0
"""Scale and maximum, in seconds, of the time that an engine is left alone; the time grows with each failure."""

SEEN = 30.0
"""Seconds after which it is recorded again that a site answers."""


_Given = ParamSpec("_Given")
_Told = TypeVar("_Told")


def contain(error: Exception) -> str:
    """Records an unexpected exception and returns its text: it stops one thing, and the turn continues.

    Raises:
        Exception: the same exception, if it is expected and stops more: from a guard, a source, or the database.
    """
    foreseen = isinstance(error, GuardRefused | SourceUnavailable | SQLAlchemyError)
    if foreseen and not isinstance(error, IntegrityError):
        raise error
    return note_defect(error)


def _guard(call: Callable[_Given, _Told]) -> Callable[_Given, _Told]:
    """Wraps a call of an engine, so that a defect of the engine raises `EngineUnavailable`."""

    def guarded(*given: _Given.args, **named: _Given.kwargs) -> _Told:
        try:
            return call(*given, **named)
        except (EngineUnavailable, SourceUnavailable):
            raise
        except Exception as error:
            raise EngineUnavailable(note_defect(error)) from error

    return guarded


class GuardedEngine:
    """An engine whose defects look like a service that does not answer. A defect in a submission makes the answers uncertain."""

    def __init__(self, engine: Engine) -> None:
        self._submit = engine.submit
        self.slots, self.width = engine.slots, engine.width
        self.shared, self.attached = engine.shared, engine.attached
        self.visibility, self.renewal = engine.visibility, engine.renewal
        self.find, self.query, self.cancel = _guard(engine.find), _guard(engine.query), _guard(engine.cancel)
        self.fetch, self.lifetime = _guard(engine.fetch), _guard(engine.lifetime)
        self.examine = _guard(engine.examine)

    def submit(self, batch: Batch) -> Sequence[Answer]:
        """The engine's answers, one for each attempt. After a defect all are uncertain, because some may have been submitted."""
        try:
            answers = self._submit(batch)
        except SourceUnavailable:
            raise
        except Exception as error:  # noqa: BLE001 -- a defect of an engine must stop only its site
            return [Uncertain(note_defect(error))] * len(batch.handles)
        if len(answers) != len(batch.handles):
            told = f"the engine gave {len(answers)} answers on {len(batch.handles)} attempts"
            return [Uncertain(told)] * len(batch.handles)
        return answers


@dataclass(frozen=True, slots=True)
class Health:
    """How a site answers: failures in a row, and when it is asked again, in seconds since 1970.

    Without failures, the site answers but took no more jobs; then `after` is the time of the next submission.
    """

    failures: int = 0
    after: int | None = None


class SiteEngines:
    """The engines, by site."""

    def __init__(self, sites: Mapping[str, Site], writer: Writer) -> None:
        self._sites = sites
        self._writer = writer
        self._clock = writer.clock.time
        self._engines: dict[str, Engine] = {}
        self._health: dict[str, Health] = {}
        self._recorded: dict[str, float] = {}

    def engine(self, site: str) -> Engine:
        """The engine of a site.

        Raises:
            SourceUnavailable: the site is not declared, b2prod does not know its engine, or the engine cannot be made.
        """
        if site not in self._engines:
            described = self._sites.get(site)
            if described is None:
                where = "is not declared in the pinned trust root; bring its file back, or pin it"
                raise SourceUnavailable(f"the site {site} {where}")
            if described.engine not in ENGINES:
                why = f"its engine is {described.engine}, and there is {', '.join(ENGINES)}"
                raise SourceUnavailable(f"nothing can be submitted to {site} yet: {why}")
            try:
                made = ENGINES[described.engine](described, self._writer.prompt)
            except Exception as error:
                raise SourceUnavailable(f"nothing can be asked of {site}: {contain(error)}") from error
            self._engines[site] = GuardedEngine(made)
        return self._engines[site]

    def check_reference(self, attempt: Attempt, handle: JobHandle) -> None:
        """Checks that the engine of an attempt's site has the job with the reference of `handle`, and that it is the attempt's.

        Raises:
            GuardRefused: the engine does not have the job, or has it under another name.
            SourceUnavailable: the engine cannot be asked.
        """
        site, reference = attempt.site, handle.reference
        engine = self.engine(site)
        if (elsewhere := self.tell_elsewhere(attempt)) is not None:
            raise SourceUnavailable(elsewhere)
        try:
            seen = engine.query([handle]).get(handle.name)
            # its id alone proves nothing: anybody can read the name and give it to another job
            known = engine.find([handle]).get(handle.name, ())
        except EngineUnavailable as error:
            raise SourceUnavailable(f"{site} cannot be asked for job {reference}: {error}") from error
        if seen is None or seen.sighting in (Sighting.ABSENT, Sighting.UNKNOWN):
            said = seen.reason or seen.sighting.value if seen else "nothing"
            raise GuardRefused(f"{site} has no job {reference} of {attempt.name}; it says: {said}")
        if reference not in known:
            raise GuardRefused(
                f"{site} has job {reference}, but not as one that was submitted for {attempt.name}"
            )

    def list_sites(self) -> tuple[str, ...]:
        """The names of the sites that may be used, sorted."""
        return tuple(sorted(self._sites))

    def takes_bundles(self, site: str) -> bool:
        """Whether a job of a site may be a bundle."""
        return site in self._sites and self._sites[site].traits.bundles

    def find_kept_days(self, site: str) -> int:
        """For how many days a site keeps the folders of failed attempts."""
        return self._sites[site].keep_failed_days if site in self._sites else KEPT

    def find_job_days(self, site: str) -> int:
        """For how many days the state keeps files of a site's jobs that ended well."""
        return self._sites[site].keep_job_days if site in self._sites else KEPT_JOBS

    def tell_elsewhere(self, attempt: Attempt) -> str | None:
        """Why a site cannot be asked for an attempt: it had another engine when it took the attempt. None if it can be asked."""
        site = self._sites.get(attempt.site)
        if site is None or attempt.engine in (None, site.service):
            return None
        return (
            f"{site.name} is {site.service} now; this job was given to {attempt.engine}: "
            "bring the engine back, or settle it"
        )

    def find_visibility(self, site: str) -> float:
        """Seconds for which a job of a site, or its files, may be invisible from here.

        Raises:
            SourceUnavailable: as `engine` does.
        """
        described = self._sites.get(site)
        if described is not None and described.visibility is not None:
            return described.visibility
        return self.engine(site).visibility.total_seconds()

    def find_admission(self, site: str) -> Admission:
        """The limits above which a site raises an alarm."""
        return self._sites[site].brakes if site in self._sites else Admission()

    def is_attached(self, site: str) -> bool:
        """Whether a site's jobs run on this machine."""
        try:
            return self.engine(site).attached
        except SourceUnavailable:
            return False

    def is_resting(self, site: str) -> bool:
        """Whether a site that did not answer is left alone for now."""
        health = self._read(site)
        return health.failures > 0 and self._is_coming(health.after)

    def is_postponed(self, site: str) -> bool:
        """Whether a site answers, but nothing is submitted to it for now."""
        health = self._read(site)
        return not health.failures and self._is_coming(health.after)

    def postpone(self, site: str, seconds: float) -> None:
        """Records that nothing is submitted to an answering site for some seconds; at most `LONGEST`."""
        self._store(site, Health(0, int(self._clock() + min(seconds, LONGEST))), None)

    def _is_coming(self, after: int | None) -> bool:
        # if the clock was set back, nothing waits longer than LONGEST
        return after is not None and 0 < after - self._clock() <= LONGEST

    def record_answer(self, site: str) -> None:
        """Records that a site answers."""
        now = self._clock()
        health = self._read(site)
        if health.failures or now - self._recorded.get(site, 0.0) > SEEN:
            self._store(site, Health() if health.failures else health, None)
            self._recorded[site] = now

    def record_silence(self, site: str, reason: str, asked: float | None = None) -> None:
        """Records that a site did not answer. It is left alone, longer after each failure; the time is random within limits.

        `asked` is the number of seconds for which the site asked to be left alone.
        """
        failures = self._read(site).failures + 1
        pause = min(LONGEST, SHORTEST * 2 ** min(failures, 12)) * random.uniform(0.5, 1.0)  # noqa: S311 -- no secret
        pause = max(pause, min(LONGEST, asked or 0.0))
        self._store(site, Health(failures, int(self._clock() + pause)), reason)

    def _read(self, site: str) -> Health:
        if site not in self._health:
            query = select(sites.c.failures, sites.c.after).where(sites.c.name == site)
            with self._writer.reading() as connection:
                row = connection.execute(query).first()
            self._health[site] = Health(*row) if row else Health()
        return self._health[site]

    def _store(self, site: str, health: Health, reason: str | None) -> None:
        values = {"failures": health.failures, "after": health.after, "reason": reason and reason[:500]}
        if reason is None:
            values["seen"] = self._writer.clock.show()
        with self._writer.writing(polling=True) as journal:
            changed = journal.connection.execute(sites.update().where(sites.c.name == site).values(values))
            if changed.rowcount == 0:
                journal.connection.execute(sites.insert().values(name=site, **values))
        self._health[site] = health
