"""Value origins: whether a value of a campaign is written, a default, looked up or derived, and where. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import reduce
from operator import getitem
from typing import Any

from renderer.applications.basf2 import render_script
from renderer.identity.units import NO_CHAIN, StepUnits, declare_units
from renderer.steering import digest_steering
from schemas.files.canonical import digest
from schemas.json_schema.validation import load_schema
from schemas.manifest.campaign import Campaign
from schemas.manifest.runs import format_runs
from schemas.manifest.step import Step
from schemas.policy.validation import VALIDATIONS
from schemas.repository import GLOBAL_TAGS, LAYOUTS, RELEASES, SITES, Declared, Repository
from schemas.yaml.composer import Path
from schemas.yaml.document import Document

MANIFEST, SCHEMA, TEMPLATE = "manifest", "schema default", "template default"
RELEASE, SNAPSHOT, SITE, LAYOUT = "release table", "snapshot", "site", "layout"
SKIM, LOCK, DERIVED, EVIDENCE = "skim menu", "lock", "derived", "sources of basf2"
VALIDATION = "validation"
"""The possible origins of a value."""


@dataclass(frozen=True, slots=True)
class Value:
    """One value of a campaign, as JSON data. `where` is file, line and column, or what defines the default or the digest."""

    name: str
    value: Any
    source: str
    where: str


def list_files(declared: Declared) -> tuple[str, ...]:
    """The paths of the files besides the manifest in which values of a campaign are looked up."""
    return RELEASES, LAYOUTS, f"{SITES}/{declared.campaign.site}.yaml"


def trace_values(
    repository: Repository, declared: Declared, documents: Mapping[str, Document]
) -> tuple[Value, ...]:
    """Every value of a campaign: first in the order of the manifest, then values that are looked up, then derived values.

    `documents` has the files of `list_files`. The campaign must have no finding that leaves its meaning open.
    """
    campaign = declared.campaign
    releases, layouts, site = (documents[file] for file in list_files(declared))
    found = [Value("name", campaign.name, DERIVED, f"the folder {declared.folder}")]
    found += _trace(_Origin(declared.document, MANIFEST, "campaign"), (), "")
    for step in campaign.steps:
        found += _trace_step(repository, step)
    if campaign.release is not None:
        found += _trace(_Origin(releases, RELEASE), ("releases", campaign.release), "release")
    for tag in campaign.global_tags:
        found.append(_trace_tag(repository, tag.name))
    found += _trace(_Origin(site, SITE, "site"), (), f"site {campaign.site}")
    found += _trace(_Origin(layouts, LAYOUT), ("layouts", campaign.layout), f"layout {campaign.layout}")
    for step in campaign.steps:
        found += _derive_step(repository, declared, step)
    for units in declare_units(campaign, repository, (), {}, NO_CHAIN):
        found += _derive_units(units)
    found += _trace_eras(repository, campaign)
    found += _trace_lock(declared)
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Origin:
    """A document that has values, and the name of the schema that has the defaults."""

    document: Document
    source: str
    schema: str | None = None


def _trace(origin: _Origin, path: Path, name: str) -> Iterator[Value]:
    """The values at a path of a document and below, named with the prefix `name`, and the defaults."""
    data = reduce(getitem, path, origin.document.data)
    schema = {} if origin.schema is None else load_schema(origin.schema)
    yield from _walk(origin, path, data, schema, name)


def _walk(origin: _Origin, path: Path, data: Any, schema: Mapping[str, Any], name: str) -> Iterator[Value]:
    if "$ref" in schema:
        definitions = load_schema(origin.schema or "")["$defs"]
        schema = {**definitions[schema["$ref"].rpartition("/")[2]], **schema}
    if isinstance(data, dict):
        known, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        prefix = f"{name}." if name else ""
        for key, inner in data.items():
            below = known.get(key, others if isinstance(others, dict) else {})
            yield from _walk(origin, (*path, key), inner, below, f"{prefix}{key}")
        for key, below in known.items():
            if key not in data and "default" in below:
                yield Value(f"{prefix}{key}", below["default"], SCHEMA, f"{origin.schema}/1")
    elif isinstance(data, list) and any(isinstance(item, dict | list) for item in data):
        for index, inner in enumerate(data):
            yield from _walk(origin, (*path, index), inner, schema.get("items", {}), f"{name}[{index}]")
    else:
        yield Value(name, data, origin.source, str(origin.document.place(path)))


def _trace_step(repository: Repository, step: Step) -> Iterator[Value]:
    """The values of a step that its manifest does not state: from its template, the skim menu and its validation."""
    name = f"steps.{step.name}"
    given = dict(step.parameters)
    template = repository.templates[step.template] if step.template else None
    if template is not None and template.eras:
        yield Value(f"{name}.era", ", ".join(era.name for era in template.eras), TEMPLATE, template.name)
    for parameter in template.parameters if template is not None else ():
        if parameter.name not in given:
            default = list(parameter.default) if isinstance(parameter.default, tuple) else parameter.default
            yield Value(f"{name}.parameters.{parameter.name}", default, TEMPLATE, step.template or "")
    for output in step.outputs if step.skims else ():
        for key, value in repository.skims[output].describe().items():
            yield Value(f"{name}.{output}.{key}", value, SKIM, str(repository.skim_places[output]))
    if step.validation is not None:
        where = f"{VALIDATIONS}/{step.validation}.yaml"
        for quantity in repository.validations[step.validation].quantities:
            yield Value(f"{name}.{quantity.name}", quantity.describe(), VALIDATION, where)


def _trace_eras(repository: Repository, campaign: Campaign) -> Iterator[Value]:
    """The sources of basf2 with which the templates of a campaign were checked."""
    used = (repository.templates[step.template] for step in campaign.steps if step.template)
    for era in dict.fromkeys(era for template in used for era in template.eras):
        for index, source in enumerate(era.evidence):
            yield Value(f"era {era.name}[{index}]", source.tell(), EVIDENCE, str(source))


def _trace_tag(repository: Repository, tag: str) -> Value:
    file, snapshot = f"{GLOBAL_TAGS}/{tag}.iov", repository.snapshots.get(tag)
    if snapshot is None:
        return Value(f"global tag {tag}", None, SNAPSHOT, f"{file} is missing; run `b2prod gt pull {tag}`")
    where = f"digest of the IoVs ({len(snapshot.iovs):,}) in {file}"
    return Value(f"global tag {tag}", snapshot.digest, DERIVED, where)


def _derive_step(repository: Repository, declared: Declared, step: Step) -> Iterator[Value]:
    name = f"steps.{step.name}"
    if "split" not in declared.document.data["steps"][step.name]:
        yield Value(f"{name}.split", step.split, DERIVED, f"what application {step.application} does")
    if step.template is not None:
        script = render_script(step, repository)
        where = f"digest of the syntax tree of {step.template}, rendered with these parameters"
        yield Value(f"{name}.steering", digest_steering(script), DERIVED, where)


def _derive_units(units: StepUnits) -> Iterator[Value]:
    """The values that all units of a step or a variant share."""
    step, name = units.step, f"steps.{units.step.name}"
    for recipe in units.recipes:
        where = f"digest of {', '.join(sorted(recipe.content))}"
        yield Value(f"{name}.{recipe.output}.recipe", recipe.digest, DERIVED, where)
    source = "the registered files" if step.input.step is None else f"the fingerprint of {step.input.step}"
    source = source if step.input.dataset is None else f"what {step.input.dataset} has"
    payloads = " and the payloads valid for the run" if step.keys.software else ""
    where = f"digest of the recipe, {source}{payloads}"
    yield Value(f"{name}.fingerprint", "one for each run and output", DERIVED, where)


def _trace_lock(declared: Declared) -> Iterator[Value]:
    lock, file = declared.lock, declared.lock_file
    if lock is None:
        where = f"there is none; run `b2prod resolve {declared.campaign.name}`"
        yield Value("lock", None, LOCK, where)
    else:
        yield Value("lock.generation", lock.generation, LOCK, file)
        yield Value("lock.runs", format_runs(lock.runs, most=6), LOCK, file)
        yield Value("lock", lock.digest(), DERIVED, "digest of the lock, without its generation")
    yield Value("manifest", digest(declared.document.data), DERIVED, "digest of the manifest's values")
