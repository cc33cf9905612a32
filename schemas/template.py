"""Steering templates as values: what a template makes, of what, for which releases, and its parameters."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from schemas.campaign import Parameter
from schemas.document import Document


@dataclass(frozen=True, slots=True)
class TemplateParameter:
    """One option that a campaign may set. `values` lists what is allowed, for a list: as its members."""

    name: str
    default: Parameter
    values: tuple[str | int | float | bool, ...] = ()


@dataclass(frozen=True, slots=True)
class Template:
    """One immutable version of a steering template, `raw_to_mdst/1`; a change is a new version.

    `releases` are prefixes of the releases whose functions the text calls. `text` is the Jinja2 source. `payloads` are
    the names of the payloads that it reads; None: it may read any.
    """

    name: str
    title: str
    text: str
    reads: str
    writes: tuple[str, ...]
    releases: tuple[str, ...]
    parameters: tuple[TemplateParameter, ...] = ()
    payloads: frozenset[str] | None = None

    def serves(self, release: str) -> bool:
        """Whether the template's calls exist in `release`."""
        return release.removeprefix("pre").startswith(self.releases)

    def parameter(self, name: str) -> TemplateParameter | None:
        """The parameter called `name`, or None."""
        return next((item for item in self.parameters if item.name == name), None)

    def settings(self, given: Mapping[str, Parameter]) -> dict[str, Parameter]:
        """The value of every parameter: as given, else the default."""
        return {item.name: given.get(item.name, item.default) for item in self.parameters}


def read_template(name: str, document: Document, text: str) -> Template:
    """The template that `document`, accepted by the schema `template/1`, describes; `text` is its Jinja2 source."""
    data = document.data
    return Template(
        name=name,
        title=data["title"],
        text=text,
        reads=data["reads"],
        writes=tuple(data["writes"]),
        releases=tuple(data["releases"]),
        payloads=frozenset(data["payloads"]) if "payloads" in data else None,
        parameters=tuple(
            TemplateParameter(key, _freeze(value["default"]), tuple(value.get("values", ())))
            for key, value in data.get("parameters", {}).items()
        ),
    )


def _freeze(value: Parameter | list[str | int | float | bool]) -> Parameter:
    return tuple(value) if isinstance(value, list) else value
