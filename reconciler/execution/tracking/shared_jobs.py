"""Shared jobs: the bundles among the live attempts of a site. What an engine says of a job is not true of each of its attempts.

The result of an attempt counts as soon as it is there. One that did not begin is not to blame for the end of its job; if none
began, the first one stands for all.
"""

from __future__ import annotations

import contextlib
from collections import defaultdict
from collections.abc import Sequence

from reconciler.execution.tracking.workspace import Workspace
from reconciler.model.states import AttemptState
from reconciler.model.work_items import Attempt
from reconciler.outside.errors import SourceUnavailable

_Job = tuple[str, int]
"""A batch, and the place of the job in it."""


class SharedJobs:
    """The bundles of one poll of a site, of which `group` has the live attempts."""

    def __init__(self, workspace: Workspace, group: Sequence[Attempt] = ()) -> None:
        self._workspace = workspace
        self._live: defaultdict[_Job, list[Attempt]] = defaultdict(list)
        self._begun: dict[_Job, bool] = {}
        for attempt in group:
            if attempt.bundle > 1:
                self._live[attempt.batch, attempt.index].append(attempt)

    def goes_on(self, attempt: Attempt) -> bool:
        """Whether the job of an attempt is to go on without it, for others."""
        return any(not other.cancel for other in self._live[attempt.batch, attempt.index])

    def begins(self, attempt: Attempt) -> bool:
        """Whether an attempt whose job runs is running now, and was not before: those of a bundle begin one after the other.

        Raises:
            SourceUnavailable: its folder cannot be read.
        """
        new = attempt.state == AttemptState.SUBMITTED
        return new and (attempt.bundle == 1 or self._workspace.was_started(attempt.name))

    def withdraw(self, attempt: Attempt) -> bool:
        """Ends an attempt whose job goes on for others. Returns true if it can no longer begin; if it runs, it is asked to end."""
        if attempt.state == AttemptState.UNCERTAIN or not self.goes_on(attempt):
            return False
        with contextlib.suppress(SourceUnavailable):  # the next poll tries again
            if self._workspace.bury(attempt.name):
                return True
            self._workspace.ask_end(attempt.name)
        return False

    def has_begun(self, attempt: Attempt) -> bool:
        """Whether the job of an attempt began, as it has others that have ended (by whatever cause) or begun.

        Raises:
            SourceUnavailable: a folder cannot be read.
        """
        job = (attempt.batch, attempt.index)
        if job not in self._begun:
            live = self._live[job]
            ended = len(live) < attempt.bundle
            self._begun[job] = ended or any(self._workspace.was_started(one.name) for one in live)
        return self._begun[job]

    def follows(self, attempt: Attempt) -> bool:
        """Whether the first live attempt of a job is to be judged before this one, as an engine took the job and none began.

        So such a job is one failure. When that is recorded, the others are spared: the next job begins with another attempt,
        and none is tried for ever.

        Raises:
            SourceUnavailable: a folder cannot be read.
        """
        if attempt.bundle == 1 or attempt.reference is None or self.has_begun(attempt):
            return False
        return self._live[attempt.batch, attempt.index][0].id != attempt.id

    def spares(self, attempt: Attempt) -> bool:
        """Whether an attempt did not begin while its job did; then it can never begin.

        Raises:
            SourceUnavailable: a folder cannot be read or written.
        """
        return attempt.bundle > 1 and self.has_begun(attempt) and self._workspace.bury(attempt.name)
