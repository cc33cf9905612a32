"""The run summary: one line for each run of the catalogue, kept as columns, for the page of runs and for software."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from sqlalchemy import Connection, select

from ci.site.run_states import WORDS, Keys, RunStates
from reconciler.ledger.schema.tables import inputs, luminosity, runs
from reconciler.run_catalogue.luminosity import Where
from schemas.manifest.runs import run_key

SCHEMA = "b2prod-runs/1"
_TEXTS = ("type", "energy", "quality", "removed")
_NUMBERS = ("events", "seconds", "files")


@dataclass(frozen=True, slots=True)
class RunTable:
    """All runs of the catalogue in the order of experiment and run; each column has one value for each run, None if not known.

    `start` and `stop` are texts of times, `seconds` is the length; `luminosity` is in inverse nanobarn, by method, version and
    correction; `on_disk` is the number of registered files on disk, `registered` of all registered files.
    """

    keys: Keys
    columns: Mapping[str, Sequence[Any]]
    luminosity: Mapping[Where, Sequence[float | None]]
    states: Mapping[str, RunStates]

    def __len__(self) -> int:
        return len(self.keys)

    def describe(self, moment: str) -> dict[str, Any]:
        """The table as JSON data for software: plain columns."""
        words = [*WORDS.items()]
        named = dict(words)
        experiments, numbers = _split(self.keys)
        return {
            "schema": SCHEMA,
            "state_of": moment,
            "units": {"seconds": "s", "luminosity": "1/nb"},
            "columns": {
                "experiment": experiments,
                "run": numbers,
                **{name: list(values) for name, values in self.columns.items()},
                **{f"luminosity {name_method(where)}": list(v) for where, v in self.luminosity.items()},
                **{
                    f"state {name}": [named[letter] for letter in states.letters(self.keys)]
                    for name, states in self.states.items()
                },
            },
        }

    def pack(self) -> dict[str, Any]:
        """The table as small JSON data for the page: differences of numbers, and letters for texts that repeat."""
        experiments, numbers = _split(self.keys)
        starts = [_count_seconds(one) for one in self.columns["start"]]
        return {
            "schema": SCHEMA,
            "count": len(self.keys),
            "experiments": _run_lengths(experiments),
            "runs": _differences(numbers),
            "start": _differences(starts),
            **{name: list(self.columns[name]) for name in ("seconds", "events", "registered", "on_disk")},
            **{name: _index(self.columns[name]) for name in _TEXTS},
            "luminosity": [
                {"name": name_method(where), "values": [one and float(f"{one:.6g}") for one in values]}
                for where, values in self.luminosity.items()
            ],
            "words": WORDS,
            "campaigns": {name: states.letters(self.keys) for name, states in self.states.items()},
        }


def name_method(where: Where) -> str:
    """Method, version and correction in one text."""
    return " ".join(word for word in where if word)


def read_run_table(connection: Connection, states: Mapping[str, RunStates]) -> RunTable:
    """All runs of the catalogue, with the states of campaigns."""
    names = ("experiment", "run", *_TEXTS, *_NUMBERS, "start", "stop")
    query = select(*(runs.c[name] for name in names)).order_by(runs.c.experiment, runs.c.run)
    rows = connection.execute(query).all()
    columns: dict[str, Sequence[Any]] = dict.fromkeys(names, ())
    if rows:
        columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    experiments, numbers = columns.pop("experiment"), columns.pop("run")
    keys = (
        np.array(experiments, np.int64) << 32 | np.array(numbers, np.int64) if rows else np.zeros(0, np.int64)
    )
    columns["seconds"] = [
        seconds if seconds is not None else _measure_length(start, stop)
        for seconds, start, stop in zip(columns["seconds"], columns["start"], columns["stop"], strict=True)
    ]
    columns["registered"], columns["on_disk"] = _count_files(connection, keys)
    return RunTable(keys, columns, _read_luminosity(connection, keys), states)


def _count_files(connection: Connection, keys: Keys) -> tuple[list[int], list[int]]:
    places = {key: place for place, key in enumerate(keys.tolist())}
    counts, on_disk = [0] * len(keys), [0] * len(keys)
    query = select(inputs.c.experiment, inputs.c.run, inputs.c.files, inputs.c.on_disk)
    for experiment, run, files, here in connection.execute(query):
        if (place := places.get(run_key(experiment, run))) is not None:
            counts[place] += files
            on_disk[place] += here
    return counts, on_disk


def _read_luminosity(connection: Connection, keys: Keys) -> dict[Where, list[float | None]]:
    places = {key: place for place, key in enumerate(keys.tolist())}
    names = ("method", "version", "correction", "experiment", "run", "value")
    found: dict[Where, list[float | None]] = {}
    for method, version, correction, experiment, run, value in connection.execute(
        select(*(luminosity.c[name] for name in names))
    ):
        if (place := places.get(run_key(experiment, run))) is not None:
            where = (method, version, correction)
            if where not in found:
                found[where] = [None] * len(keys)
            found[where][place] = value
    return dict(sorted(found.items()))


def _split(keys: Keys) -> tuple[list[int], list[int]]:
    return (keys >> 32).tolist(), (keys & 0xFFFFFFFF).tolist()


def _measure_length(start: str | None, stop: str | None) -> int | None:
    begun, ended = _count_seconds(start), _count_seconds(stop)
    return None if begun is None or ended is None else ended - begun


def _count_seconds(text: str | None) -> int | None:
    """A time of the ledger in seconds since 1970."""
    return None if text is None else int(datetime.fromisoformat(text).timestamp())


def _differences(values: Iterable[int | None]) -> list[int | None]:
    """Each value less the last known one before it; None stays."""
    found: list[int | None] = []
    last = 0
    for value in values:
        found.append(None if value is None else value - last)
        last = last if value is None else value
    return found


def _run_lengths(values: Iterable[int]) -> list[list[int]]:
    """Values with how often each stands in a row."""
    found: list[list[int]] = []
    for value in values:
        if found and found[-1][0] == value:
            found[-1][1] += 1
        else:
            found.append([value, 1])
    return found


def _index(values: Sequence[str | None]) -> dict[str, Any]:
    """Texts that repeat: the different ones, and for each value the place of its text; null is not known."""
    different = sorted({value for value in values if value is not None})
    places = {value: place for place, value in enumerate(different)}
    return {"texts": different, "places": [None if one is None else places[one] for one in values]}
