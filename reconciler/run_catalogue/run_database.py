"""Lists runs from the REST service of the run database, and imports what was listed.

Address, parameters and fields are those of basf2 `framework/scripts/rundb.py` and `analysis/tools/b2info-luminosity`.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from sqlalchemy import Engine

from reconciler.model.run import Run
from reconciler.outside.errors import SourceUnavailable
from reconciler.outside.json_reader import JsonAnswer, JsonReader
from reconciler.run_catalogue.lists.records import Row
from reconciler.run_catalogue.lists.run_lists import RefusedRow, RunListing, read_key
from reconciler.run_catalogue.luminosity import MOST, Measurement, import_luminosity
from reconciler.run_catalogue.run_import import ImportedRuns, import_run_list
from schemas.files.canonical import clean_text
from schemas.manifest.runs import RunRange, run_key

DEFAULT_ADDRESS = "https://rundb.belle2.org/rest/v1/"

ENERGY_WINDOWS: Mapping[str, tuple[float, float]] = {
    "3S_offres": (10.290, 10.310),
    "3S": (10.35, 10.370),
    "4S_scan": (10.370, 10.525),
    "4S_offres": (10.525, 10.535),
    "4S": (10.58, 10.595),
    "5S_scan": (10.595, 10.820),
    "5S_offres": (10.820, 10.855),
    "5S": (10.855, 10.865),
}
"""Open intervals of the centre-of-mass energy, in GeV. An energy outside, or at an end, has no label."""

_FIELDS = ("experiment", "run", "run_type", "time_start", "time_stop")
_NAMES = (*_FIELDS, "energy", "quality")
_VERDICTS = {"GOOD": "good", "RECOVERABLE": "recoverable", "BAD": "bad", "NO EVENTS": "bad"}
_ORDER = ("bad", "recoverable", "good")


class RunDatabase:
    """The runs of one experiment, or some of them, in the order of the service's pages.

    After everything was read, `luminosity` maps run keys to the luminosity in inverse nanobarn (recorded, online), also for
    refused runs. The token is sent as `Authorization: Bearer`, never over plain http or to another host.
    """

    experiment: int | None
    total: int | None = None

    def __init__(
        self,
        address: str,
        experiment: int,
        runs: RunRange | None = None,
        token: str | None = None,
        **settings: Any,
    ) -> None:
        """`settings` are those of `JsonReader`: times in seconds, number of attempts."""
        base = f"{address.rstrip('/')}/"
        accepted = {"Accept": "application/json"}
        self._http = JsonReader(base, accepted, token, authorization="Authorization", **settings)
        self.experiment = experiment
        self.name = f"{urlsplit(base).hostname} experiment {experiment}{f' runs {runs}' if runs else ''}"
        self.luminosity: dict[int, float] = {}
        query = {"min_experiment": experiment, "max_experiment": experiment, "expand": "true"}
        query |= {"min_run": runs.first, "max_run": runs.last} if runs else {}
        self._path: str = f"runs/?{urlencode(query)}"

    def read(self) -> Iterator[Row]:
        """All runs, page by page.

        Raises:
            SourceUnavailable: a page is missing or malformed, or leads to another service or back.
        """
        path: str | None = self._path
        seen: set[str] = set()
        number = 0
        while path is not None:
            if path in seen:
                raise SourceUnavailable(f"{self._http.base}{path} comes a second time: its pages go round")
            seen.add(path)
            answer = self._http.get(path)
            page = answer.data
            if not isinstance(page, dict) or not isinstance(page.get("results"), list) or "next" not in page:
                raise SourceUnavailable(f"{answer.url} is not a page of runs: it has no `results` and `next`")
            for item in page["results"]:
                number += 1
                yield self._read_run(number, item)
            path = self._continue(answer, page["next"])

    def _continue(self, answer: JsonAnswer, following: Any) -> str | None:
        """The path of the next page, which must be at the same service."""
        if following is None:
            return None
        if isinstance(following, str):
            here, base = urlsplit(urljoin(answer.url, following)), urlsplit(self._http.base)
            if here.netloc == base.netloc and here.path.startswith(base.path):
                return f"{here.path.removeprefix(base.path)}?{here.query}"
        shown = str(following)[:200]
        raise SourceUnavailable(f"{answer.url} leads to {shown!r}, which is not at the service")

    def _read_run(self, number: int, item: Any) -> Row:
        if not isinstance(item, dict):
            return Row(number, (), (), "it is not a JSON object", clean_text(str(item)[:500]))
        values = [item.get(name) for name in _FIELDS]
        text = json.dumps(dict(zip(_FIELDS, values, strict=True)))
        try:
            low, high = (_read_inner(item, ring, "momentum") for ring in ("ler", "her"))
            recorded = _read_inner(item, "statistics", "lumi_recorded")
            values += [name_energy(low, high), _judge_quality(item.get("quality_expert"))]
            if recorded is not None:
                self._note(read_key(values[0], values[1], self.experiment), recorded)
        except ValueError as error:
            return Row(number, (), (), str(error), text)
        return Row(number, _NAMES, values, None, text)

    def _note(self, key: int, recorded: float) -> None:
        if not 0 <= recorded < MOST:
            raise ValueError(f"lumi_recorded is {recorded} nb⁻¹, which no run can have")
        if self.luminosity.setdefault(key, recorded) != recorded:
            raise ValueError(f"lumi_recorded is {recorded}, and was {self.luminosity[key]} before")


def import_listing(
    engine: Engine,
    name: str,
    listing: RunListing,
    found: Sequence[Run],
    refused: Sequence[RefusedRow],
    when: str,
) -> ImportedRuns:
    """Records what was collected from a listing as the list `name`, with the luminosities of the run database.

    Raises:
        SourceUnavailable: runs of the earlier list are neither in it nor removed; nothing was changed.
    """
    imported = import_run_list(engine, name, found, refused, when)
    if isinstance(listing, RunDatabase) and listing.luminosity:
        taken = {run_key(run.experiment, run.run) for run in found}
        taken -= {row.run for row in imported.refused}
        known = listing.luminosity
        measured = [Measurement(key, known[key]) for key in sorted(taken & {*known})]
        with engine.begin() as connection:
            import_luminosity(connection, ("online", "rundb", ""), measured)
    return imported


def name_energy(low: float | None, high: float | None) -> str | None:
    """The label of the energy of two beams, given by their momenta in GeV, or None if there is no label."""
    if low is None or high is None or low <= 0 or high <= 0:
        return None
    energy = math.sqrt(4 * low * high)
    return next((name for name, (above, below) in ENERGY_WINDOWS.items() if above < energy < below), None)


def _read_inner(item: Mapping[str, Any], outer: str, name: str) -> float | None:
    """A number inside an object of a run, or None if it is missing."""
    inside = item.get(outer)
    if inside is None:
        return None
    if not isinstance(inside, dict):
        raise ValueError(f"{outer} is {str(inside)[:60]!r}")  # noqa: TRY004 -- an error of content, like the others
    value = inside.get(name)
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 1e300:
        raise ValueError(f"{name} of {outer} is {str(value)[:60]!r}")
    return float(value)


def _judge_quality(experts: Any) -> str | None:
    """The quality of a run: that of its worst detector, bad if it has no events, None if nobody judged it."""
    if not experts:
        return None
    if not isinstance(experts, dict):
        raise ValueError(f"quality_expert is {str(experts)[:60]!r}")  # noqa: TRY004 -- an error of content, like the others
    for detector, word in experts.items():
        if word is not None and not (isinstance(word, str) and word in _VERDICTS):
            raise ValueError(f"quality_expert says {str(word)[:60]!r} of {detector[:60]}")
    found = {_VERDICTS[word] for word in experts.values() if word is not None}
    return next((verdict for verdict in _ORDER if verdict in found), None)
