"""What a watching process keeps from one turn to the next, so that a turn in which nothing moved does not read all again."""

from __future__ import annotations

from collections.abc import Sequence

from ci.changes.campaign_faults import Choice, choose_launchable
from ci.changes.project import Project, judge_files
from reconciler.execution.launch.canary_verdict import CanaryMemory
from reconciler.execution.plan_memory import PlanMemory
from schemas.files.tree import Tree
from schemas.findings.finding import Finding


class TurnMemory:
    """The memory of one watching process; it begins empty.

    `plans` is that of the last plan, `canaries` that of the last comparisons. `proofs` maps a lock, as the gate names it, to what is wrong with it; it is emptied
    when the files change.
    """

    def __init__(self) -> None:
        self.plans = PlanMemory()
        self.canaries = CanaryMemory()
        self.proofs: dict[tuple[str, ...], str] = {}
        self._read: tuple[Tree, tuple[Finding, ...], tuple[str, ...]] | None = None
        self._choice: Choice | None = None

    def load(self, project: Project, names: Sequence[str]) -> Choice:
        """What `load_launchable` chooses: the same value, with the same repository, as long as all files are the same.

        Raises:
            WrongUse: a name is that of no campaign, or all named campaigns are stopped.
            SourceUnavailable: the folder of the campaigns cannot be read.
        """
        files = (*project.read_files(), tuple(names))
        if self._choice is None or files != self._read:
            self._read, self._choice = None, None
            self.proofs.clear()
            self._choice = choose_launchable(*judge_files(*files[:2]), names)
            self._read = files
        return self._choice
