"""Reads from a job JSON what the application `uproot` needs for histograms: run, inputs, quantities and files."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from renderer.skims.task import SkimError, SkimInput, read_source, take
from schemas.skims.cut import parse_formula
from schemas.skims.cut_error import CutSyntaxError
from schemas.skims.quantity import EVENT, OBJECT, Bins, Quantity


@dataclass(frozen=True, slots=True)
class HistogramTask:
    """A job. `files` are the names of the files to write; what ends in .json is written as JSON, the others as ROOT files.

    `tree` and `most` are as in `renderer.skims.task.Task`.
    """

    experiment: int
    run: int
    tree: str | None
    inputs: tuple[SkimInput, ...]
    quantities: tuple[Quantity, ...]
    files: tuple[str, ...]
    most: int | None = None


def read_task(job: Mapping[str, Any]) -> HistogramTask:
    """The task in a job JSON.

    Raises:
        SkimError: the job is wrong.
    """
    tree, inputs = read_source(job)
    quantities = take(job, "quantities", Mapping)
    files = tuple(_read_file(item) for item in take(job, "outputs", list))
    if not inputs or not files or not quantities:
        missing = "inputs" if not inputs else "outputs" if not files else "quantities"
        raise SkimError(f"the job has no {missing}")
    most = take(job, "most_events", int) if "most_events" in job else None
    return HistogramTask(
        experiment=take(job, "experiment", int),
        run=take(job, "run", int),
        tree=tree,
        inputs=inputs,
        quantities=tuple(_read_quantity(name, quantities) for name in quantities),
        files=files,
        most=most,
    )


def _read_file(item: Any) -> str:
    file: str = take(item, "file", str)
    if os.path.basename(file) != file or not file.endswith((".root", ".json")) or file.startswith("."):
        raise SkimError(f"output file {file!r} is not a plain name that ends in .root or .json")
    return file


def _read_quantity(name: str, quantities: Mapping[str, Any]) -> Quantity:
    data = take(quantities, name, Mapping)
    number, low, high = take(data, "bins", list)
    per = take(data, "per", str)
    if per not in (EVENT, OBJECT) or ("expression" in data) == ("count" in data):
        raise SkimError(
            f"quantity {name} needs `expression` or `count`, and `per: {EVENT}` or `per: {OBJECT}`"
        )
    bins = Bins(number, low, high)
    if "count" in data:
        return Quantity(name, bins, per, count=take(data, "count", str))
    of = take(data, "of", str) if "of" in data else None
    try:
        return Quantity(name, bins, per, formula=parse_formula(take(data, "expression", str)), of=of)
    except CutSyntaxError as error:
        raise SkimError(f"the expression of quantity {name} does not parse: {error}") from error
