"""The run database's REST service as a listing of runs.

Address, parameters and fields are those of basf2 `framework/scripts/rundb.py` and `analysis/tools/b2info-luminosity`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlencode, urljoin, urlsplit

from reconciler.ledger.database import SourceUnavailable
from reconciler.outside.json_reader import JsonAnswer, JsonReader
from reconciler.runs.run_lists import Row
from schemas.runs import RunRange, run_key

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
"""Open intervals of the energy in the centre of mass, in GeV; what is outside, or on a border, has no label."""

_VERDICTS = {"GOOD": "good", "RECOVERABLE": "recoverable", "BAD": "bad", "NO EVENTS": "bad"}
_ORDER = ("bad", "recoverable", "good")


class RunDatabase:
    """The runs of one experiment, or of some of its runs, in the order of the service's pages.

    `luminosity` has, once all was read, what the service knows of it: run key → inverse nanobarn, recorded, online.
    The token, where there is one, is sent as `Authorization: Bearer`, never over plain http nor to another host.
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
        self._http = JsonReader(
            base, {"Accept": "application/json"}, token, authorization="Authorization", **settings
        )
        self.experiment = experiment
        self.name = f"{urlsplit(base).hostname} experiment {experiment}{f' runs {runs}' if runs else ''}"
        self.luminosity: dict[int, float] = {}
        query = {"min_experiment": experiment, "max_experiment": experiment, "expand": "true"}
        query |= {"min_run": runs.first, "max_run": runs.last} if runs else {}
        self._path: str = f"runs/?{urlencode(query)}"

    def read(self) -> Iterator[Row]:
        """All runs, page by page.

        Raises:
            SourceUnavailable: a page is missing, or is none, or leads elsewhere or back.
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
                raise SourceUnavailable(f"{answer.url} is no page of runs: it has no `results` and `next`")
            for item in page["results"]:
                number += 1
                yield self._read_run(number, item)
            path = self._continue(answer, page["next"])

    def _continue(self, answer: JsonAnswer, following: Any) -> str | None:
        """The path of the next page, which is at the same service."""
        if following is None:
            return None
        if isinstance(following, str):
            here, base = urlsplit(urljoin(answer.url, following)), urlsplit(self._http.base)
            if here.netloc == base.netloc and here.path.startswith(base.path):
                return f"{here.path.removeprefix(base.path)}?{here.query}"
        raise SourceUnavailable(
            f"{answer.url} leads to {str(following)[:200]!r}, which is not at the service"
        )

    def _read_run(self, number: int, item: Any) -> Row:
        if not isinstance(item, dict):
            return Row(number, {}, "it is no JSON object", str(item)[:500])
        values = {key: item.get(key) for key in ("experiment", "run", "run_type", "time_start", "time_stop")}
        try:
            values["energy"] = name_energy(_read_momentum(item, "ler"), _read_momentum(item, "her"))
            values["quality"] = _judge_quality(item.get("quality_expert"))
            recorded = _read_luminosity(item.get("statistics"))
        except ValueError as error:
            return Row(number, values, str(error))
        if recorded is not None and type(item.get("run")) is int:
            self.luminosity[run_key(self.experiment or 0, item["run"])] = recorded
        return Row(number, values)


def name_energy(low: float | None, high: float | None) -> str | None:
    """The label of the energy of two beams, given by their momenta in GeV; None where there is no label."""
    if low is None or high is None or low <= 0 or high <= 0:
        return None
    energy = math.sqrt(4 * low * high)
    return next((name for name, (above, below) in ENERGY_WINDOWS.items() if above < energy < below), None)


def _read_momentum(item: Mapping[str, Any], ring: str) -> float | None:
    beam = item.get(ring)
    return _read_real(f"{ring} momentum", beam.get("momentum")) if isinstance(beam, dict) else None


def _read_luminosity(statistics: Any) -> float | None:
    recorded = statistics.get("lumi_recorded") if isinstance(statistics, dict) else None
    value = _read_real("lumi_recorded", recorded)
    if value is not None and value < 0:
        raise ValueError(f"lumi_recorded is {value}")
    return value


def _read_real(what: str, value: Any) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError(f"{what} is {value!r}")
    return float(value)


def _judge_quality(experts: Any) -> str | None:
    """A run is as good as its worst detector, one without events as a bad one; None where nobody judged it."""
    if not experts:
        return None
    if not isinstance(experts, dict):
        raise ValueError(f"quality_expert is {str(experts)[:60]!r}")  # noqa: TRY004 -- as any other content that is wrong
    for detector, word in experts.items():
        if word is not None and word not in _VERDICTS:
            raise ValueError(f"quality_expert says {str(word)[:60]!r} of {detector[:60]}")
    found = {_VERDICTS[word] for word in experts.values() if word is not None}
    return next((verdict for verdict in _ORDER if verdict in found), None)
