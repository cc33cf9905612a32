"""What a watching process keeps of its last plan: a turn in which nothing moved takes it, instead of making it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from sqlalchemy import Connection

from reconciler.ledger.reading.changed_runs import find_changed
from reconciler.ledger.reading.event_log import has_entry, read_last_entry
from reconciler.ledger.reading.observation import Identity, read_identity
from reconciler.ledger.store.database import State
from reconciler.model.sign_offs import ReadSignOffs, lack_signatures
from reconciler.planning.gates.judging import FindValidation
from reconciler.planning.views import StateView, draft_state_view, hold_state_view
from schemas.repository import Repository


@dataclass(frozen=True, slots=True)
class _Kept:
    """A state view before gates, and all that it was made from: it is a function of the repository and of what the serials tell.

    `entry` are number and digest of the journal's last entry: a copy of the ledger that was put back may come to the same
    serial in another way. `file` tells one SQLite file from another at the same place.
    """

    repository: Repository
    names: tuple[str, ...]
    state: State
    file: tuple[int, int]
    identity: Identity
    entry: tuple[int, str]
    state_view: StateView

    @property
    def is_whole(self) -> bool:
        """Whether the serials tell all that it depends on."""
        views = self.state_view.views
        return not self.state_view.absent and not any(view.entrants or view.searched for view in views)


class PlanMemory:
    """The state view of the last turn. It belongs to the one process that watches, and begins empty."""

    def __init__(self) -> None:
        self._kept: _Kept | None = None

    def read(
        self,
        connection: Connection,
        repository: Repository,
        names: Sequence[str],
        state: State,
        read_sign_offs: ReadSignOffs = lack_signatures,
        find_validation: FindValidation | None = None,
    ) -> StateView:
        """The views and the plan of the named campaigns, as `read_state_view` with `spare` gives them.

        Gates are judged in each call, by what was seen until then: comparisons and signatures move no serial.

        Those of the last call are returned if it was given the same `repository`, names and state, and the ledger's serials are
        the same. What depends on more than these is read again: a campaign that could not be read, runs that are not admitted
        yet, and units for whose outputs the storage was searched. If only the ledger moved, units that were done are not read
        again, unless the journal has something new about their run.

        Raises:
            SourceUnavailable: no campaign can be planned.
        """
        drafts = self._draft(connection, repository, names, state)
        held = hold_state_view(connection, repository, state, drafts, read_sign_offs, find_validation)
        if self._kept is not None and held is not drafts:  # other campaigns that were looked at are kept too
            self._kept = replace(self._kept, state_view=replace(drafts, drafts=held.drafts))
        return held

    def _draft(
        self, connection: Connection, repository: Repository, names: Sequence[str], state: State
    ) -> StateView:
        now, file = read_identity(connection), _find_file(state)
        kept, self._kept = self._kept, None
        if (
            kept is None
            or kept.repository is not repository
            or (kept.names, kept.state, kept.file) != (tuple(names), state, file)
            or (kept.identity.ledger, kept.identity.catalogue_serial) != (now.ledger, now.catalogue_serial)
            or not has_entry(connection, *kept.entry)
        ):
            found = draft_state_view(connection, repository, names, state, spare=True)
        elif kept.identity == now and kept.is_whole:
            self._kept = kept
            return kept.state_view
        elif (changed := find_changed(connection, kept.entry[0])) is None:
            found = draft_state_view(connection, repository, names, state, spare=True)
        else:
            former = {view.campaign.name: view for view in kept.state_view.views}
            found = draft_state_view(
                connection, repository, names, state, spare=True, former=former, changed=changed
            )
        entry = read_last_entry(connection)
        self._kept = _Kept(repository, tuple(names), state, file, now, entry, found)
        return found


def _find_file(state: State) -> tuple[int, int]:
    if state.server is not None:
        return 0, 0
    found = state.database.stat()
    return found.st_dev, found.st_ino
