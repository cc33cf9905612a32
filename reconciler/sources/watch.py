"""Asks watched sources when they are due, each in a thread of its own, so that none keeps jobs or other sources waiting."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.writing.lease import SECONDS, holding
from reconciler.outside.clock import CLOCK, Clock
from reconciler.outside.defects import note_defect
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from reconciler.sources.files import Memory, WatchedFiles
from reconciler.sources.port import Finish, Intake, WatchedSource
from reconciler.sources.records import (
    SourceRecord,
    ask_sooner,
    forget,
    read_records,
    record_answer,
    record_failure,
    record_question,
)
from reconciler.sources.runs import WatchedRuns
from reconciler.sources.tags import WatchedTags
from schemas.conditions.snapshot import Snapshot
from schemas.policy.site import Site
from schemas.policy.sources import FileSource


@dataclass(frozen=True, slots=True)
class SourceTokens:
    """The tokens of the run database and of the conditions database, if they need one."""

    rundb: str | None = field(default=None, repr=False)
    conditions: str | None = field(default=None, repr=False)


class _Question:
    """A source that is being asked."""

    def __init__(self, source: WatchedSource) -> None:
        self.source = source
        self.finish: Finish | None = None
        self.failure = "it ended without an answer"
        self.thread = threading.Thread(target=self._ask, name=source.name, daemon=True)
        self.thread.start()

    def _ask(self) -> None:
        try:
            self.finish = self.source.read()
        except Exception as error:  # noqa: BLE001 -- whatever it is, it stops this source alone
            self.failure = _tell(error)

    def take(self) -> Intake:
        """What came of the answer; it is recorded."""
        if self.finish is None:
            return Intake(failure=self.failure)
        try:
            return self.finish()
        except Exception as error:  # noqa: BLE001 -- as above
            return Intake(failure=_tell(error))


class SourceWatch:
    """The watched sources of a ledger. `troubles` is what is wrong with them, in words that stay until it changes."""

    def __init__(self, state: State, tokens: SourceTokens = SourceTokens(), clock: Clock = CLOCK) -> None:
        self.troubles: tuple[str, ...] = ()
        self._state, self._tokens, self._clock = state, tokens, clock
        self._empty = False
        self._asked: dict[str, _Question] = {}
        self._memories: dict[tuple[str, FileSource], Memory] = {}

    def step(
        self, sites: Mapping[str, Site], baselines: Mapping[str, Snapshot], lease: float = SECONDS
    ) -> list[str]:
        """Takes the answers that came, and asks the sources that are due; returns what is new, in words.

        `baselines` are those of the running tags that are followed, by name. It takes the lease for a moment, of `lease`
        seconds; while another process has it, that one asks.

        Raises:
            SourceUnavailable: the ledger cannot be read or written.
        """
        sources = {source.name: source for source in self._list_sources(sites, baselines)}
        if not sites or (not sources and self._empty):  # without a pinned root there are no sites
            return []
        with reading(self._state) as connection:
            records = read_records(connection)
        due = [source for source in sources.values() if self._is_due(source, records.get(source.name))]
        ended = [one for one in self._asked.values() if not one.thread.is_alive()]
        news: list[str] = []
        if due or ended or records.keys() - sources.keys():
            try:
                with holding(self._state, lease):
                    news = self._take(ended)
                    self._ask(due, sources)
            except GuardRefused:
                return []
            with reading(self._state) as connection:
                records = read_records(connection)
        self._empty = not records
        self.troubles = tuple(text for record in records.values() for text in record.tell())
        return news

    def _list_sources(
        self, sites: Mapping[str, Site], baselines: Mapping[str, Snapshot]
    ) -> Iterator[WatchedSource]:
        state, clock = self._state, self._clock
        for site in sites.values():
            declared = site.sources
            for runs in declared.runs:
                yield WatchedRuns(site.name, runs, state, clock, self._tokens.rundb)
            for files in declared.files:
                memory = self._memories.setdefault((site.name, files), {})
                yield WatchedFiles(site.name, files, state, clock, memory)
            if declared.tags is not None and baselines:
                yield WatchedTags(site.name, declared.tags, baselines, state, clock, self._tokens.conditions)

    def _is_due(self, source: WatchedSource, record: SourceRecord | None) -> bool:
        return record is None or record.is_due(self._clock.time(), source.every)

    def _take(self, ended: list[_Question]) -> list[str]:
        news = []
        for question in ended:
            source = question.source
            taken = question.take()
            with opened(self._state) as engine, engine.begin() as connection:
                if taken.failure is not None:
                    record_failure(connection, source.name, taken.failure, source.every, self._clock)
                elif not taken.put_off:
                    record_answer(connection, source.name, taken.note, self._clock)
                if taken.again is not None:
                    ask_sooner(connection, source.name, taken.again, self._clock)
            del self._asked[source.name]
            if taken.news is not None:
                news.append(f"{source.name}: {taken.news}")
        return news

    def _ask(self, due: list[WatchedSource], sources: Mapping[str, WatchedSource]) -> None:
        begun = []
        with opened(self._state) as engine, engine.begin() as connection:
            forget(connection, [*sources])
            for source in due:
                if (question := self._asked.get(source.name)) is not None:
                    if question.thread.is_alive():
                        why = "it was asked and has not answered yet"
                        record_failure(connection, source.name, why, source.every, self._clock)
                    continue
                record_question(connection, source.name, source.every, self._clock)
                begun.append(source)
        for source in begun:
            self._asked[source.name] = _Question(source)


def _tell(error: Exception) -> str:
    known = isinstance(error, SourceUnavailable | GuardRefused)
    return str(error) if known else note_defect(error)
