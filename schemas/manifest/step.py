"""Steps of campaigns as frozen values, and the manifest keys of each application."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from types import MappingProxyType
from typing import Any

from schemas.json_schema.validation import load_schema
from schemas.json_schema.values import read_named, read_value
from schemas.manifest.dataset import RAW_LEVELS, hold_level, parse_dataset
from schemas.manifest.deviation import STANDARD, Deviations, Parameter, Scan, freeze, read_scans
from schemas.manifest.template import Template


@dataclass(frozen=True, slots=True)
class ApplicationKeys:
    """What a manifest must and may say of a step of an application.

    `needs` are keys that the step must have, beside those of every step; `refuses` are keys that it must not have. `writes`
    is `levels`, `levels or skims` or `skims or histograms`. `split` is the default division of the input. `level` is the data level of its
    skims, None for the input's. With `software`, the step uses a release and global tags. `parameters` maps the names that
    it reads to their kinds; None means that a template or the step itself defines them.
    """

    name: str
    needs: tuple[str, ...]
    refuses: tuple[str, ...]
    writes: str
    split: str
    level: str | None = None
    software: bool = False
    parameters: Mapping[str, str] | None = None


HISTOGRAMS = "histograms"
"""The kind of the files that hold histograms, and the output with them as a ROOT file."""

HISTOGRAM_OUTPUTS = (HISTOGRAMS, f"{HISTOGRAMS}_json")
"""The outputs of a step with a validation, which are their own levels: the same histograms as a ROOT file, and as JSON."""


@cache
def load_applications() -> Mapping[str, ApplicationKeys]:
    """The applications by name, in the order of the schema."""
    step = load_schema("campaign")["$defs"]["step"]
    declared: Mapping[str, Mapping[str, Any]] = step["properties"]["application"]["x-applications"]
    return MappingProxyType(read_named(ApplicationKeys, declared))


@dataclass(frozen=True, slots=True)
class StepInput:
    """What a step reads: an output of `step`, the dataset named `dataset`, or the one dataset of the run catalogue of `level`.

    `dataset` may name an edition; with `skims` it names campaign and step. With `skims` the step has a variant for each of
    them; the input of that variant has the name in `skim`. `complete` says when a run has all its files: `declared`, when
    there are as many as the run catalogue states, if it does; `registered`, when there are as many as are registered.
    """

    level: str = "skim"
    step: str | None = None
    dataset: str | None = None
    skim: str | None = None
    complete: str = "declared"
    skims: tuple[str, ...] = ()

    def divide(self) -> tuple[StepInput, ...]:
        """The inputs of the variants: one per name in `skims`, or this input if there are none."""
        return tuple(self._choose(skim) for skim in self.skims) or (self,)

    def _choose(self, skim: str) -> StepInput:
        dataset = self.dataset and f"{self.dataset}/{skim}"
        return replace(self, dataset=dataset, skim=skim, skims=())

    @property
    def source(self) -> str:
        """What it reads from outside of its campaign: a dataset or an edition, else a data level."""
        return self.dataset or self.level

    @property
    def of_detector(self) -> str | None:
        """The dataset of the detector whose head is read, by its name or by its data level; None if something else is read."""
        if self.step is not None:
            return None
        if self.dataset is None:
            return hold_level(self.level) if self.level in RAW_LEVELS else None
        name = parse_dataset(self.dataset)
        return name.dataset if name.is_detectors and name.edition is None else None

    @property
    def output(self) -> str:
        """The name of the output of the upstream step that is read."""
        return self.skim or self.level


@dataclass(frozen=True, slots=True)
class Expectation:
    """The cost of one input event; None means unknown.

    `cpu_seconds` are seconds of CPU time, `hs06_seconds` the same times the power of the core in HS06. `kilobytes` (1024
    bytes) are written per event in all outputs together; `sizes` gives them by output.
    """

    cpu_seconds: float | None = None
    kilobytes: float | None = None
    hs06_seconds: float | None = None
    sizes: tuple[tuple[str, float], ...] = ()


@dataclass(frozen=True, slots=True)
class Bundle:
    """How many units of a step go into one job: at most so many runs, or as many as take so many minutes. One of them is set."""

    runs: int | None = None
    minutes: int | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One transformation. `outputs` are data levels, or with `skims` the names of skims.

    `skim_level` is the data level of its skims if that differs from the level that is read. After `Campaign.expand`, a step
    is one variant: `stream` is the skim that it reads, `variant` the point of the scans, and its name ends with both:
    `cdst@hlt_bhabha.adc0`. `keep` are sorted patterns of the branches that its skims keep; without patterns they keep all.
    With a `validation` it makes the histograms of that one's quantities.
    `script` is the NAME/VERSION that it runs with `arguments`. `produces` is the dataset of the detector to which its files of
    that level belong.
    """

    name: str
    application: str
    input: StepInput
    outputs: tuple[str, ...]
    split: str
    template: str | None = None
    parameters: tuple[tuple[str, Parameter], ...] = ()
    skims: bool = False
    deviations: Deviations = STANDARD
    scans: tuple[Scan, ...] = ()
    stream: str | None = None
    variant: str | None = None
    skim_level: str | None = None
    expected: Expectation = Expectation()
    keep: tuple[str, ...] = ()
    validation: str | None = None
    script: str | None = None
    arguments: tuple[str, ...] = ()
    produces: str | None = None
    bundle: Bundle | None = None

    @property
    def path(self) -> str:
        """The name for paths and engines, which do not allow `@`; no name of a step, skim or point contains `.`."""
        return self.name.replace("@", ".")

    @property
    def script_name(self) -> str:
        """The name of its script without the version; empty without a script."""
        return (self.script or "").partition("/")[0]

    @property
    def keys(self) -> ApplicationKeys:
        """What manifests may say of steps of its application."""
        return load_applications()[self.application]

    def place_output(self, output: str) -> tuple[str | int, ...]:
        """The path in the manifest at which an output is named."""
        if self.validation is not None:
            return ("steps", self.name, "validation")
        return ("steps", self.name, "skims" if self.skims else "outputs", self.outputs.index(output))

    def level_of(self, output: str) -> str:
        """The data level of an output: the output itself, or for a skim `skim_level`, else the level that the step reads."""
        return (self.skim_level or self.input.level) if self.skims else output


@cache
def list_data_levels() -> tuple[str, ...]:
    """The data levels that a manifest may name."""
    return tuple(load_schema("campaign")["$defs"]["level"]["enum"])


def order_steps(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps, each after the step that it reads. Steps that read from a cycle, or are in it, come last in their own order."""
    placed: dict[str, Step] = {}
    names = {step.name for step in steps}
    waiting = list(steps)
    while ready := [
        s for s in waiting if s.input.step is None or s.input.step in placed or s.input.step not in names
    ]:
        placed.update((step.name, step) for step in ready)
        waiting = [step for step in waiting if step.name not in placed]
    return (*placed.values(), *waiting)


def settle_levels(steps: tuple[Step, ...]) -> tuple[Step, ...]:
    """The steps; one that reads a skim gets as its level the level of that skim. The writing step must come before."""
    settled: dict[str, Step] = {}
    for step in steps:
        upstream = settled.get(step.input.step or "")
        read = step.input.skim or next(iter(step.input.skims), None)
        if read is not None and upstream is not None:
            level = upstream.level_of(read)
            settled[step.name] = replace(step, input=replace(step.input, level=level))
        else:
            settled[step.name] = step
    return tuple(settled.values())


def read_step(name: str, data: Mapping[str, Any], templates: Mapping[str, Template]) -> Step:
    """The step in the data of a campaign's document, without keys that its application refuses."""
    application = load_applications()[data["application"]]
    data = {key: value for key, value in data.items() if key not in application.refuses}
    template = templates.get(data.get("template", ""))
    read: StepInput = read_value(StepInput, data["input"])
    if read.dataset is not None and "level" not in data["input"]:
        output = read.dataset.partition(":")[0].rpartition("/")[2]
        read = replace(read, level=output if output in list_data_levels() else read.level)
    skims = "skims" in data
    outputs = (
        HISTOGRAM_OUTPUTS if "validation" in data else tuple(data.get("skims" if skims else "outputs", ()))
    )
    return read_value(
        Step,
        {"split": application.split, **data},
        name=name,
        input=read,
        outputs=outputs,
        parameters=tuple((key, freeze(value)) for key, value in sorted(data.get("parameters", {}).items())),
        skims=skims,
        deviations=read_value(Deviations, data),
        scans=read_scans(data),
        skim_level=template.skim_level if template is not None else application.level,
        keep=tuple(sorted(data.get("keep", ()))),
    )
