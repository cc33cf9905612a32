"""Steering templates as values: what they read and write, their releases and their parameters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from schemas.json_schema.values import read_named, read_value
from schemas.manifest.deviation import Parameter
from schemas.yaml.document import Document

DEVIATIONS = ("overrides", "testing_payloads", "additional_branches")
"""The kinds of deviations of a step, as the keys of a job name them."""


@dataclass(frozen=True, slots=True)
class TemplateSource:
    """A file of basf2 that was read, at a commit or as a stored version. `inferred` says how it applies to the releases."""

    path: str
    commit: str | None = None
    version: str | None = None
    line: int | None = None
    inferred: str | None = None

    def __str__(self) -> str:
        version = f" (version {self.version})" if self.version else ""
        where = f" at {self.commit[:9]}" if self.commit else version
        return f"{self.path}{f':{self.line}' if self.line else ''}{where}"

    def tell(self) -> str:
        """Whether the file belongs to the releases themselves; otherwise what was inferred from it, and how far."""
        return "as it stands there" if self.inferred is None else f"inferred from it: {self.inferred}"


@dataclass(frozen=True, slots=True)
class ComponentRule:
    """A rule for templates that call `function`: if a step chooses all detectors of `when`, it must choose all of `needs`."""

    function: str
    needs: frozenset[str]
    why: str
    source: TemplateSource
    when: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Era:
    """A period in which basf2's functions did not change. `releases` are prefixes of the names of its releases.

    `components` are the detectors that these know, `light` the prefixes of its light releases, `evidence` the files of basf2
    that were read.
    """

    name: str
    releases: tuple[str, ...]
    components: tuple[str, ...]
    light: tuple[str, ...] = ()
    component_rules: tuple[ComponentRule, ...] = ()
    evidence: tuple[TemplateSource, ...] = ()
    title: str = ""


@dataclass(frozen=True, slots=True)
class Superseded:
    """The newer version `by`, and why it is better. `runs`: whether basf2 can run the script of the old version."""

    by: str
    why: str
    runs: bool = True


@dataclass(frozen=True, slots=True)
class TemplateParameter:
    """One option that a campaign may set. `values` lists what is allowed; for a list, the allowed members."""

    name: str
    default: Parameter
    values: tuple[str | int | float | bool, ...] = ()


@dataclass(frozen=True, slots=True)
class TriggerCalculation:
    """When a template calculates the decisions of the HLT: always, or when `parameter` has one of `values`."""

    parameter: str | None = None
    values: tuple[str | bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """One immutable version of a steering template, `raw_to_mdst/1`; a change is a new version.

    `reads` are the data levels that it reads, `writes` those that it writes; with `keeps_level` it writes only the level
    that it reads. `skims` is the kind of skims that it makes: line, registry or combined. `declares_real`: its output is
    declared as real data, or lacks what only simulated events have. `holds_payloads`: a job can restrict it to the payloads
    of a `database.txt`. `knows_prescales`: it can select by the decision before the prescale. `hands_tags`: it gives skims
    the global tags with a role. `deviates`: the deviations of a job that it applies. `releases` are prefixes of the releases
    that have the functions in `text`, the Jinja2 source. `payloads` are the names of the payloads that it reads; None means
    any. `trigger` says when it calculates the decisions of the HLT; None means never. `modules` are the modules in its path;
    None means unknown. `superseded` names a newer version, if any.
    """

    name: str
    title: str
    text: str
    reads: tuple[str, ...]
    writes: tuple[str, ...]
    releases: tuple[str, ...]
    parameters: tuple[TemplateParameter, ...] = ()
    payloads: frozenset[str] | None = None
    skims: str | None = None
    deviates: frozenset[str] = frozenset()
    keeps_level: bool = False
    hands_tags: bool = False
    eras: tuple[Era, ...] = ()
    trigger: TriggerCalculation | None = None
    modules: frozenset[str] | None = None
    superseded: Superseded | None = None
    declares_real: bool = False
    holds_payloads: bool = False
    knows_prescales: bool = False

    @property
    def skim_level(self) -> str | None:
        """The data level of the skims that it makes; None if it makes none, or if they have the level that it reads."""
        return self.writes[0] if self.skims is not None and self.writes else None

    def serves(self, release: str) -> bool:
        """Whether `release` has all functions that the template calls."""
        return release.removeprefix("pre").startswith(self.releases)

    def may_have(self, module: str) -> bool:
        """Whether its path may have that module; True if its modules are not known.

        A name that ends with `_` means all modules whose names begin with it.
        """
        if self.modules is None or module in self.modules:
            return True
        return any(name.endswith("_") and module.startswith(name) for name in self.modules)

    def calculates_trigger(self, given: Mapping[str, Parameter]) -> bool:
        """Whether it calculates the decisions of the HLT with these parameters of a step."""
        if self.trigger is None or self.trigger.parameter is None:
            return self.trigger is not None
        return self.settings(given).get(self.trigger.parameter) in self.trigger.values

    def find_component_rules(self) -> Iterator[ComponentRule]:
        """The rules of its eras on sets of detectors, for the functions that it calls."""
        for rule in dict.fromkeys(rule for era in self.eras for rule in era.component_rules):
            if f"{rule.function}(" in self.text:
                yield rule

    def parameter(self, name: str) -> TemplateParameter | None:
        """The parameter called `name`, or None."""
        return next((item for item in self.parameters if item.name == name), None)

    def settings(self, given: Mapping[str, Parameter]) -> dict[str, Parameter]:
        """The value of every parameter: the given one, else the default."""
        return {item.name: given.get(item.name, item.default) for item in self.parameters}


def read_eras(document: Document) -> dict[str, Era]:
    """The eras by name, from a document that the schema `eras/1` has accepted."""
    return {
        name: read_value(Era, data, name=name, evidence=tuple(map(_read_evidence, data["evidence"])))
        for name, data in document.data["eras"].items()
    }


def _read_evidence(data: Mapping[str, Any]) -> TemplateSource:
    return read_value(TemplateSource, data["source"], inferred=data.get("inferred"))


def read_template(name: str, document: Document, text: str, eras: Sequence[Era] = ()) -> Template:
    """The template in `document`, which the schema `template/1` has accepted; `text` is its Jinja2 source.

    `eras` are those that the template names.
    """
    data = document.data
    deviates, trigger = data.get("deviates", False), data.get("calculates_trigger", False)
    releases = (one for era in eras for one in (*era.releases, *(era.light if data.get("light") else ())))
    return read_value(
        Template,
        data,
        name=name,
        text=text,
        reads=(data["reads"],) if isinstance(data["reads"], str) else tuple(data["reads"]),
        releases=tuple(releases) or tuple(data["releases"]),
        eras=tuple(eras),
        skims="line" if data.get("skims") is True else data.get("skims") or None,
        deviates=frozenset(DEVIATIONS if deviates is True else deviates or ()),
        trigger=read_value(TriggerCalculation, {} if trigger is True else trigger) if trigger else None,
        parameters=tuple(read_named(TemplateParameter, data.get("parameters", {})).values()),
    )
