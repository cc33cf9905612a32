"""Judges canaries in a turn: makes the comparison when it is needed, keeps it in the ledger, and asks who signed it."""

from __future__ import annotations

from reconciler.execution.launch.canary_verdict import (
    CanaryComparison,
    CanaryState,
    compare_canary,
    describe_sources,
    judge_canary,
)
from reconciler.execution.turn_options import TurnOptions
from reconciler.ledger.reading.observation import read_identity
from reconciler.ledger.store.database import State
from reconciler.ledger.writing.editions import keep_comparison
from reconciler.ledger.writing.pauses import B2PROD
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.sign_offs import SignOffs
from reconciler.planning.views import View
from reconciler.validation.results import ValidationVerdict
from schemas.repository import Repository


class CanaryJudge:
    """Judges the canaries of one turn. The comparisons of the turns before are in the options' memory."""

    def __init__(self, state: State, repository: Repository, writer: Writer, options: TurnOptions) -> None:
        self._state, self._repository, self._writer, self._options = state, repository, writer, options

    def judge(self, view: View, runs: frozenset[int]) -> CanaryState:
        """Whether the rest of a campaign may follow its canary, whose units are all made."""
        compared = self._compare(view, runs)
        if compared.verdict != ValidationVerdict.WARN:  # no signature changes another verdict
            return judge_canary(compared, SignOffs())
        return judge_canary(compared, self._options.permits.open_sign_offs()(compared.open_matter()))

    def _compare(self, view: View, runs: frozenset[int]) -> CanaryComparison:
        campaign, memory = view.campaign, self._options.canaries
        by = None if campaign.canary is None else campaign.canary.by
        validation = self._options.permits.find_validation(self._repository, by or "")
        with self._writer.reading() as connection:
            seen = read_identity(connection)
            serials = (seen.ledger, seen.serial, seen.catalogue_serial)
            key = describe_sources(view, runs, serials, validation)
            if (known := memory.recall(campaign.name, key)) is not None:
                return known
            storage = self._repository.sites[campaign.site].storage
            compared = compare_canary(connection, view, runs, validation, self._state, storage)
        for one in compared.comparisons:
            keep_comparison(self._writer, one.content, B2PROD)
        memory.keep(campaign.name, key, compared)
        return compared
