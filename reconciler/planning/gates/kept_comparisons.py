"""Which kept comparison counts for a stage of a scheme, and why it tells nothing of what is there now. Only reads."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from reconciler.ledger.reading.comparisons import list_comparisons
from reconciler.ledger.reading.editions import find_digests
from reconciler.outside.errors import SourceUnavailable
from reconciler.planning.gates.dataset_outputs import DatasetOutputs
from reconciler.planning.gates.evidence import KeptComparison
from reconciler.planning.gates.judging import FindValidation
from reconciler.planning.gates.scheme_steps import SchemeSteps
from reconciler.validation.kept.comparison_heads import ComparedSide, ComparisonHead, read_head
from schemas.files.canonical import digest
from schemas.manifest.dataset import DatasetName, parse_dataset
from schemas.manifest.runs import RunSet
from schemas.manifest.scheme import Stage


@dataclass(frozen=True, slots=True)
class ComparisonReader:
    """Finds comparisons for stages at one moment.

    `find_validation` gives the criteria that count: a comparison by others opens nothing.
    """

    connection: Connection
    steps: SchemeSteps
    outputs: DatasetOutputs
    find_validation: FindValidation

    def find(self, stage: Stage, runs: RunSet | None) -> KeptComparison | None:
        """The newest comparison of just what a stage names that is not stale, of runs of the bucket alone; else the newest one.

        So nobody closes a gate who looks at some runs, and keeps what was found there. What is older than a comparison that counts
        is not needed, whether or not it can be read.

        Raises:
            SourceUnavailable: what is compared cannot be read, or a comparison that may count.
        """
        newest, unread = None, None
        for value, created in list_comparisons(self.connection):
            try:
                head = read_head(self.connection, value)
            except SourceUnavailable as error:  # nobody knows what it is about
                unread = unread or error
                continue
            if head is None or head.criteria != stage.by:
                continue
            if (head.compared.dataset, head.against.dataset) != (*stage.names, stage.against):
                continue
            if runs is not None and head.runs.subtract(runs.intervals):
                continue
            stale = self._find_stale(stage, head, runs)
            found = KeptComparison(value, head.verdict, created, stale)
            if stale is None and unread is None:
                return found
            newest = newest or found
        if unread is not None:
            raise unread
        return newest

    def _find_stale(self, stage: Stage, head: ComparisonHead, runs: RunSet | None) -> str | None:
        """Why a comparison tells nothing of what is there now: other criteria, other outputs, or runs that it lacks."""
        validation = self.find_validation(stage.by or "")
        if validation is None:
            return f"the criteria {stage.by} that count cannot be read, or are not there"
        if head.criteria_digest != digest(validation.stated):
            return f"it was made by other criteria than {stage.by} has now"
        for side in (head.compared, head.against):
            if (why := self._find_other(side, head.runs, runs)) is not None:
                return why
        name = parse_dataset(stage.names[0])
        return None if name.edition is not None else self._find_lacking(name, head, runs)

    def _find_other(self, side: ComparedSide, compared: RunSet, runs: RunSet | None) -> str | None:
        """Why other outputs of a side count now than those that were compared; None if they are the same.

        Times do not tell it: what counts now may be older than the comparison, where a change was taken back.
        """
        name = parse_dataset(side.dataset)
        if name.edition is not None:
            if (
                runs is None
                and find_digests(self.connection, [side.dataset]).get(side.dataset) != side.edition
            ):
                return f"it has only some runs of {side.dataset}"
            return None
        if side.outputs is None:
            return "it was kept before comparisons told which outputs they compare; compare again"
        now = self.outputs.count(name).digest(compared)
        if now is None:
            return f"of {name}, some runs that it compares have no output now that counts"
        if now != side.outputs:
            return f"it compares other outputs of {name} than those that count now"
        return None

    def _find_lacking(self, name: DatasetName, head: ComparisonHead, runs: RunSet | None) -> str | None:
        """How many of the declared runs of a dataset a comparison has, if these are fewer than the scheme wants."""
        lacking = self.steps.find_lacking(name, [head.runs, head.compared.alone], runs)
        return None if lacking is None else f"it has {lacking[0]} of {lacking[1]} runs of {name}"
