"""In which state each run of a campaign is, over all its steps, as columns: a hundred thousand runs at a time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from reconciler.model.states import PlanAction
from reconciler.planning.production import Produced
from reconciler.planning.views import View

NOT_SELECTED = "."

WORDS: Mapping[str, str] = {
    NOT_SELECTED: "not selected",
    "d": "done",
    "-": "not made",
    "w": "waiting",
    "+": "to be made",
    "~": "to be restated",
    "f": "in flight",
    "?": "unknown",
    "!": "blocked",
    "q": "in quarantine",
}
"""Letter of a state → the state in words. Of a run with several steps the last of their states in this order counts."""

_LETTERS = "".join(WORDS)
_RANKS = {
    PlanAction.WAITING: _LETTERS.index("w"),
    PlanAction.SUBMIT: _LETTERS.index("+"),
    PlanAction.RESTATE: _LETTERS.index("~"),
    PlanAction.IN_FLIGHT: _LETTERS.index("f"),
    PlanAction.UNKNOWN: _LETTERS.index("?"),
    PlanAction.BLOCKED: _LETTERS.index("!"),
    PlanAction.QUARANTINED: _LETTERS.index("q"),
}
"""What a plan says of a unit that is not done → the place of its state in `WORDS`."""

Keys = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class RunStates:
    """The sorted keys of a campaign's runs, and for each the place of its state in `WORDS`."""

    keys: Keys
    ranks: NDArray[np.int8]

    def letters(self, runs: Keys) -> str:
        """One letter for each of the sorted run keys `runs`; `NOT_SELECTED` for runs that are not the campaign's."""
        found = np.zeros(len(runs), np.int8)
        if len(self.keys):
            places = np.minimum(np.searchsorted(self.keys, runs), len(self.keys) - 1)
            here = self.keys[places] == runs
            found[here] = self.ranks[places[here]]
        return np.frombuffer(_LETTERS.encode(), np.uint8)[found].tobytes().decode()

    def list_done(self) -> Keys:
        """The sorted keys of the runs of which everything is made."""
        done: Keys = self.keys[self.ranks == _LETTERS.index("d")]
        return done


def tell_planned(view: View) -> RunStates:
    """The states of the runs of a campaign that is planned."""
    parts = [
        _make_keys(keys, len(keys)) for units in view.units for keys in (units.runs, units.waiting.keys())
    ]
    keys = np.unique(np.concatenate(parts)) if parts else np.zeros(0, np.int64)
    ranks = np.full(len(keys), _LETTERS.index("d"), np.int8)
    for group in view.plan.groups:
        if (rank := _RANKS.get(group.action)) is not None:
            runs = _make_keys(group.runs, len(group.runs))
            places = np.searchsorted(keys, runs)
            ranks[places] = np.maximum(ranks[places], rank)
    return RunStates(keys, ranks)


def tell_ended(production: Produced) -> RunStates:
    """The states of the runs of a campaign that is not planned: each is done or not made."""
    done = production.list_produced()
    every = {*done, *(production.selected or ())}.union(*production.made.values())
    keys = np.sort(_make_keys(every, len(every)))
    ranks = np.full(len(keys), _LETTERS.index("-"), np.int8)
    ranks[np.isin(keys, _make_keys(done, len(done)))] = _LETTERS.index("d")
    return RunStates(keys, ranks)


def _make_keys(keys: Iterable[int], count: int) -> Keys:
    return np.fromiter(keys, np.int64, count)
