"""Plots of a comparison: each quantity's histograms over each other with their ratio, and the rate of each skim by run.

The same comparison gives the same bytes: files have no date, and no number by chance.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from reconciler.planning.retention import ONE_SIGMA, bound_rates
from reconciler.validation.comparison import Comparison
from reconciler.validation.histogram_contents import HistogramPair
from reconciler.validation.rate_checks import SkimPair, pair_skims
from reconciler.validation.results import Row, ValidationVerdict
from schemas.manifest.runs import format_run, format_runs
from schemas.skims.quantity import EVENT, EXPERT

_FORMS: dict[str, dict[str, Any]] = {"svg": {"Date": None}, "png": {"Software": None}}
"""The endings of the files, with what leaves the date and the version out of them. A PDF takes two seconds for its fonts."""
_RANGES = 3
_TICKS = 8
_MANY = 60
"""More runs have smaller points."""
_STEEP = 200
"""The vertical axis is logarithmic if the largest bin has so many times the entries of a typical one."""

_MOST_SHOWN = 0.95
"""The vertical axis of ratios shows this share of the well-known ones."""

_LEAST_P = 1e-99

_NEW, _REFERENCE = "#c1272d", "#31648c"
_COLOURS = {
    ValidationVerdict.FAIL: "#c1272d",
    ValidationVerdict.INCONCLUSIVE: "#6a4c93",
    ValidationVerdict.WARN: "#b36b00",
    ValidationVerdict.PASS: "#2e7d32",
}
_STYLE: dict[Any, Any] = {
    "svg.hashsalt": "b2prod",
    "savefig.dpi": 150,
    "text.parse_math": False,  # a title is text: a dollar in it may not stop the drawing
    "font.family": "DejaVu Sans",
    "font.size": 12,
    "axes.labelsize": 13,
    "axes.linewidth": 1.0,
    "xtick.direction": "in",
    "ytick.direction": "in",
    "xtick.top": True,
    "ytick.right": True,
    "xtick.minor.visible": True,
    "ytick.minor.visible": True,
    "legend.frameon": False,
    "legend.fontsize": 11,
}


@dataclass(frozen=True, slots=True)
class _Plot:
    """A plot to draw: what it is of, its verdict, and what draws it into a figure's two axes."""

    name: str
    verdict: ValidationVerdict
    title: str
    draw: Callable[[Any, Any], str]


def draw_comparison(comparison: Comparison, folder: Path, shown_to: str = EXPERT) -> list[str]:
    """Draws all plots into a folder as SVG and PNG, and returns the names of the files without their ending, worst first.

    What has no entry on one side has no plot. With `shown_to` SHIFTER, quantities for experts are left out.

    Raises:
        ImportError: the libraries that draw are not installed.
        OSError: a file cannot be written.
    """
    import matplotlib as mpl  # noqa: PLC0415 -- takes a second, and only plots need it
    from matplotlib.figure import Figure  # noqa: PLC0415 -- as above

    plots = [*_list_quantities(comparison, shown_to), *_list_skims(comparison)]
    plots.sort(key=lambda one: [*ValidationVerdict].index(one.verdict))
    folder.mkdir(parents=True, exist_ok=True)
    names = []
    for number, plot in enumerate(plots, 1):
        name = f"{number:02d}-{plot.verdict.value}-{plot.name}"
        with ExitStack() as opened:
            opened.enter_context(mpl.rc_context(_STYLE))
            figure = Figure(figsize=(8, 6.6))
            above, below = figure.subplots(
                2, sharex=True, gridspec_kw={"height_ratios": (3, 1.2), "hspace": 0.06}
            )
            figure.subplots_adjust(left=0.13, right=0.97, top=0.855, bottom=0.17)
            told = plot.draw(above, below)
            _write_texts(figure, comparison, plot, told)
            for ending, metadata in _FORMS.items():
                figure.savefig(folder / f"{name}.{ending}", metadata=metadata)
        names.append(name)
    return names


def _write_texts(figure: Any, comparison: Comparison, plot: _Plot, told: str) -> None:
    colour = _COLOURS[plot.verdict]
    figure.text(0.13, 0.94, plot.title, size=16, weight="bold")
    badge = {"boxstyle": "round,pad=0.35", "facecolor": colour, "edgecolor": "none"}
    figure.text(
        0.965,
        0.945,
        plot.verdict.value.upper(),
        size=12,
        weight="bold",
        color="white",
        ha="right",
        bbox=badge,
    )
    figure.text(0.13, 0.895, told, size=9.5, color="#333333")
    one, other = comparison.one, comparison.other
    runs = f"{len(comparison.common):,} runs: {format_runs(comparison.common, _RANGES)}"
    lines = (
        f"{one.dataset} ({one.edition[:12]}) against {other.dataset} ({other.edition[:12]})",
        f"{runs} · criteria: {comparison.validation.name} · comparison {comparison.digest[:12]}",
    )
    for place, line in zip((0.045, 0.015), lines, strict=True):
        figure.text(0.13, place, line, size=8.5, color="#555555")


def _find_rows(comparison: Comparison, check: str, key: str) -> dict[str, Row]:
    """What a check has concluded, by quantity or skim, in its order."""
    return {row[key]: row for result in comparison.results if result.check == check for row in result.rows}


def _list_quantities(comparison: Comparison, shown_to: str) -> Iterator[_Plot]:
    found = comparison.histograms
    pairs = {pair.quantity.name: pair for pair in found.pairs} if found is not None else {}
    rows = _find_rows(comparison, "histograms", "quantity")
    for name in dict.fromkeys([*rows, *pairs]):
        pair = pairs[name]
        if not (pair.one[1:-1].any() and pair.other[1:-1].any()):
            continue
        if shown_to not in (EXPERT, pair.quantity.shown_to):
            continue
        row = rows.get(name, {"verdict": ValidationVerdict.INCONCLUSIVE})

        def draw(above: Any, below: Any, pair: HistogramPair = pair, row: Row = row) -> str:
            return _draw_histograms(comparison, pair, row, above, below)

        title = pair.quantity.title or name
        yield _Plot(name, ValidationVerdict(row["verdict"]), title, draw)


def _draw_histograms(comparison: Comparison, pair: HistogramPair, row: Row, above: Any, below: Any) -> str:
    """Draws both histograms, normalised to what is within the bins, and their ratio; returns the numbers in words."""
    import mplhep  # noqa: PLC0415 -- as above

    bins = pair.quantity.bins
    edges = np.linspace(bins.low, bins.high, bins.number + 1)
    shares, errors = [], []
    for entries in (pair.one, pair.other):
        within = entries[1:-1]
        shares.append(within / within.sum())
        errors.append(np.sqrt(within) / within.sum())
    sides = (
        (comparison.one, pair.one, row, _NEW, "errorbar"),
        (comparison.other, pair.other, row.get("against", {}), _REFERENCE, "fill"),
    )
    for place in (1, 0):
        side, entries, told, colour, how = sides[place]
        label = f"{side.dataset}: {int(entries.sum()):,} entries"
        if told.get("mean") is not None:
            label += f", mean {told['mean']:.4g}"
        if how == "fill":
            mplhep.histplot(
                shares[place], edges, ax=above, histtype="fill", color=colour, alpha=0.22, label=label
            )
            mplhep.histplot(
                shares[place],
                edges,
                yerr=errors[place],
                ax=above,
                histtype="step",
                color=colour,
                linewidth=1.3,
            )
        else:
            mplhep.histplot(
                shares[place],
                edges,
                yerr=errors[place],
                ax=above,
                histtype="errorbar",
                color=colour,
                markersize=7 if bins.number <= _MANY else 4,
                label=label,
            )
    filled = shares[1][shares[1] > 0]
    if filled.max() > _STEEP * np.median(filled):
        above.set_yscale("log")
        above.set_ylim(0.5 * min(one[one > 0].min() for one in shares), 12 * filled.max())
    else:
        above.set_ylim(0, 1.38 * max(one.max() for one in shares))
    above.set_ylabel(f"Share of {'events' if pair.quantity.per == EVENT else 'entries'} per bin")
    above.legend(loc="upper right", reverse=True)
    ratio, error = _divide(shares[0], errors[0], shares[1], errors[1])
    _draw_ratio(below, (edges[:-1] + edges[1:]) / 2, ratio, error, 3 if bins.number <= _MANY else 2)
    below.set_xlim(bins.low, bins.high)
    below.set_xlabel(pair.quantity.title or pair.quantity.name)
    return _tell_numbers(row)


def _tell_numbers(row: Row) -> str:
    """The numbers by which a quantity was judged, in words."""
    told = []
    if row.get("shift") is not None:
        told.append(f"mean {row['shift']:+.3g} rms ({_tell_p(row['p_mean'])})")
    if row.get("difference") is not None:
        told.append(f"bins differ by {100 * row['difference']:.3g} % ({_tell_p(row['p'])})")
    if row.get("outside") or row.get("against", {}).get("outside"):
        told.append(f"outside {100 * row['outside']:.2g} / {100 * row['against']['outside']:.2g} %")
    return " · ".join(told)


def _tell_p(p: float) -> str:
    return f"p = {p:.2g}" if p >= _LEAST_P else f"p < {_LEAST_P:g}"


def _list_skims(comparison: Comparison) -> Iterator[_Plot]:
    rows = _find_rows(comparison, "retention", "skim")
    for pair in pair_skims(comparison.one, comparison.other, comparison.common):
        if not pair.runs:
            continue
        row = rows.get(pair.skim)
        verdict = ValidationVerdict.INCONCLUSIVE if row is None else ValidationVerdict(row["verdict"])
        if row is None and any(result.check == "retention" for result in comparison.results):
            continue

        def draw(above: Any, below: Any, pair: SkimPair = pair, row: Row | None = row) -> str:
            return _draw_rates(comparison, pair, row or {}, above, below)

        yield _Plot(f"retention-{pair.skim.replace('/', '-')}", verdict, f"Retention of {pair.skim}", draw)


def _draw_rates(comparison: Comparison, pair: SkimPair, row: Row, above: Any, below: Any) -> str:
    """Draws the rates of both sides run by run, and their ratio; returns the change in words."""
    places = np.arange(len(pair.runs), dtype=np.float64)
    size = 5 if places.size <= _MANY else 2.5
    sides = ((comparison.other, pair.other, _REFERENCE, "s"), (comparison.one, pair.one, _NEW, "o"))
    widths = []
    for side, rates, colour, marker in sides:
        low, high = bound_rates(rates.kept, rates.read, ONE_SIGMA)
        bars = np.array([rates.rate - low, high - rates.rate]).clip(0)
        label = f"{side.dataset}: {int(rates.kept.sum()):,} of {int(rates.read.sum()):,} events"
        style = {"fmt": marker, "markersize": size, "color": colour, "linewidth": 1, "label": label}
        filling = {} if marker == "o" else {"markerfacecolor": "white"}
        above.errorbar(places, 100 * rates.rate, yerr=100 * bars, **style, **filling)
        widths.append((high - low) / 2)
    top = 100 * max(pair.one.rate.max(), pair.other.rate.max())
    bottom = 100 * min(pair.one.rate.min(), pair.other.rate.min())
    room = max(top - bottom, 0.02 * top) or 1.0
    above.set_ylim(max(0.0, bottom - 0.25 * room), top + 0.55 * room)
    above.set_ylabel("Events kept / %")
    above.legend(loc="upper right", reverse=True)
    ratio, error = _divide(pair.one.rate, widths[1], pair.other.rate, widths[0])
    _draw_ratio(below, places, ratio, error, 3 if places.size <= _MANY else 2)
    shown = np.unique(np.linspace(0, places.size - 1, min(_TICKS, places.size)).round().astype(int))
    below.set_xticks(shown, [format_run(pair.runs[place]) for place in shown])
    below.tick_params(axis="x", which="minor", bottom=False, top=False)
    above.tick_params(axis="x", which="minor", bottom=False, top=False)
    below.set_xlim(-0.7, places.size - 0.3)
    below.set_xlabel("Run")
    if row.get("change") is None:
        return ""
    return f"change {100 * row['change']:+.3g} % ({_tell_p(row['p'])}), bars: 68 % Clopper–Pearson"


def _draw_ratio(
    axes: Any,
    places: NDArray[np.float64],
    ratio: NDArray[np.float64],
    error: NDArray[np.float64],
    size: float,
) -> None:
    known = np.isfinite(ratio)
    # bins with few entries may be anywhere: those with small errors say how far the axis goes
    good = known & (error <= max(0.05, 2 * float(np.median(error[known]))))
    reach = float(np.quantile(np.abs(ratio[good] - 1) + error[good], _MOST_SHOWN)) if good.any() else 1.0
    reach = min(max(1.3 * reach, 0.02), 1.0)
    axes.set_ylim(1 - reach, 1 + reach)
    inside = known & (np.abs(ratio - 1) <= reach)
    axes.axhline(1, color=_REFERENCE, linewidth=1.2)
    axes.errorbar(
        places[inside], ratio[inside], yerr=error[inside], fmt="o", markersize=size, color=_NEW, linewidth=1
    )
    for beyond, marker, edge in (
        (known & (ratio > 1 + reach), "^", 0.93),
        (known & (ratio < 1 - reach), "v", -0.93),
    ):
        at = np.full(int(beyond.sum()), 1 + edge * reach)
        axes.plot(places[beyond], at, marker, color=_NEW, markersize=6, markerfacecolor="white")
    axes.set_ylabel("Ratio")
    axes.grid(axis="y", color="#dddddd", linewidth=0.8)


def _divide(
    one: NDArray[np.float64],
    error: NDArray[np.float64],
    other: NDArray[np.float64],
    against: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """The ratios and their errors, of independent numbers; NaN where there is none."""
    with np.errstate(divide="ignore", invalid="ignore"):
        ratio = np.where(other > 0, one / other, np.nan)
        relative = np.hypot(error / one, against / other)
        return ratio, np.where(one > 0, ratio * relative, np.nan_to_num(error / other))
