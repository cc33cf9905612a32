"""Orders to pause, each a file beside the ledger. They work also while the ledger is busy.

They are few and short. A reconciler moves them into the ledger when it can write; until then they count like its pauses.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator
from pathlib import Path

from reconciler.ledger.store.state import State
from reconciler.ledger.writing.pauses import EVERYTHING, Pause
from reconciler.model.states import PauseKind
from reconciler.outside.clock import CLOCK
from reconciler.outside.errors import SourceUnavailable

FOLDER = "orders"
_LONGEST = 4096


class PauseOrders:
    """The orders of one state folder."""

    def __init__(self, state: State) -> None:
        self._folder = state.folder / FOLDER

    def write(self, scope: str, reason: str, who: str) -> Path:
        """Writes an order to pause `all`, `site:NAME` or `campaign:NAME`; returns its file.

        Raises:
            SourceUnavailable: the state folder cannot be written.
        """
        order = {"scope": scope, "reason": reason[:500], "who": who[:120], "since": CLOCK.show()}
        file = self._folder / f"{secrets.token_hex(8)}.json"
        part = file.with_suffix(".part")
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            part.write_text(json.dumps(order))
            part.rename(file)
        except OSError as error:
            raise SourceUnavailable(f"{file} cannot be written: {error.strerror}") from error
        return file

    def read(self) -> Iterator[tuple[Path, Pause]]:
        """Yields each order with its file. An order that cannot be read pauses everything, because a person wanted a pause."""
        for file in sorted(self._folder.glob("*.json")):
            try:
                with file.open("rb") as stream:
                    said = json.loads(stream.read(_LONGEST))
                words = {key: str(said[key]) for key in ("scope", "reason", "who", "since")}
                pause = Pause(**words, kind=PauseKind.OPERATOR)
            except FileNotFoundError:
                continue  # another process removed it
            except (OSError, ValueError, KeyError, TypeError) as error:
                reason = f"the order {file} cannot be read ({error}): remove it, and say `b2prod pause` again"
                pause = Pause(EVERYTHING, PauseKind.OPERATOR, reason, "somebody", "")
            yield file, pause

    def withdraw(self, scope: str) -> int:
        """Removes the orders of a scope. Returns how many there were."""
        mine = [file for file, pause in self.read() if pause.scope == scope]
        for file in mine:
            file.unlink(missing_ok=True)
        return len(mine)
