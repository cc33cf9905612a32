"""Rules on the steps of one campaign: the keys, inputs, outputs and parameters of each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from itertools import product
from typing import Any

from schemas.findings.finding import Finding
from schemas.manifest.deviation import Parameter, Scalar
from schemas.manifest.step import ApplicationKeys, Step, load_applications
from schemas.manifest.template import Template, TemplateParameter
from schemas.repository import Repository
from schemas.rules.support.cycles import find_circles
from schemas.yaml.composer import Path
from schemas.yaml.document import Document
from schemas.yaml.scalars import show
from schemas.yaml.wording import list_words, suggest


def check_step_keys(repository: Repository) -> Iterator[Finding]:
    """Ensure that each step has the keys of its application, and no key of another application."""
    for _, document, step in repository.list_steps():
        given, path = document.data["steps"][step.name], ("steps", step.name)
        keys = step.keys
        for key in keys.needs:
            if key not in given:
                there = document.place((*path, "application"))
                message = f"the step {step.name} needs `{key}`, because its application is {step.application}"
                hint = f"add `{key}`"
                yield document.report_key(path, "BP207", f"{message} (see also {there.spell()})", hint)
        choices = _CHOICES.get(keys.writes, ())
        stated = [key for key in choices if key in given]
        if choices and not stated:
            message = f"the step {step.name} does not say what it writes"
            yield document.report_key(path, "BP207", message, f"add `{choices[0]}`, or `{choices[1]}`")
        if len(stated) > 1:
            one, other = keys.writes.split(" or ")
            message = f"a step writes either {_WRITTEN.get(one, one)} or {other}"
            yield document.report_clash((*path, stated[0]), (*path, stated[1]), message, "keep one of them")
        if "validation" in stated and "keep" in given:
            message = "histograms have no branches to keep"
            yield document.report_clash((*path, "validation"), (*path, "keep"), message, "remove `keep`")
        for key in keys.refuses:
            if key in given:
                message = f"`{key}` means nothing where the application is {step.application}"
                instead = list_words(keys.needs) or " or ".join(f"`{one}`" for one in choices)
                hint = f"remove it; {step.application} steps have {instead}"
                yield document.report_clash((*path, "application"), (*path, key), message, hint)


_CHOICES = {"levels or skims": ("outputs", "skims"), "skims or histograms": ("skims", "validation")}
_WRITTEN = {"levels": "data levels"}


def check_software(repository: Repository) -> Iterator[Finding]:
    """Ensure that release and global tags are declared exactly if a step uses them."""
    for campaign, document in repository.list_campaigns():
        user = next((step for step in campaign.steps if step.keys.software), None)
        users = " or ".join(one.name for one in load_applications().values() if one.software)
        for key, example in (("release", "release-03-00-00"), ("global_tags", "[{name: …, mode: snapshot}]")):
            if user is not None and key not in document.data:
                there = document.place(("steps", user.name, "application"))
                message = f"{user.application} steps need `{key}` (see also {there.spell()})"
                yield document.report_key((), "BP207", message, f"add `{key}: {example}`")
            if user is None and key in document.data:
                message = f"no step uses `{key}`: none of them is a {users} step"
                yield document.report_key((key,), "BP511", message, "remove it")


def check_inputs(repository: Repository) -> Iterator[Finding]:
    """Ensure that a step reads a level of the run catalogue, or an output of the named step. Datasets have rules of their own."""
    for campaign, document, step in repository.list_steps():
        given, path = document.data["steps"][step.name]["input"], ("steps", step.name, "input")
        if "dataset" in given:
            continue
        if "step" not in given:
            for key in ("skim", "skims"):
                if key in given:
                    message = "a skim is read from the step that writes it, and no `step` is named"
                    hint = "add `step: NAME`, or read a `level` of the run catalogue"
                    yield document.report_key((*path, key), "BP509", message, hint)
            continue
        upstream = campaign.step(given["step"])
        if upstream is None:
            known = [one.name for one in campaign.steps]
            hint = suggest(given["step"], known, f"choose one of {list_words(known)}")
            message = f"there is no step {show(given['step'])} in this campaign"
            yield document.report((*path, "step"), "BP508", message, hint)
        else:
            yield from _check_reading(document, path, given, upstream)


def check_circles(repository: Repository) -> Iterator[Finding]:
    """Ensure that no step reads its own output, directly or through other steps."""
    for campaign, document in repository.list_campaigns():
        graph = {
            step.name: (step.input.step,) if step.input.step and campaign.step(step.input.step) else ()
            for step in campaign.steps
        }
        for circle in find_circles(graph):
            message = f"steps read each other in a circle: {' -> '.join(circle)}"
            hint = "let one of them read a level of the run catalogue"
            yield document.report(("steps", circle[0], "input", "step"), "BP510", message, hint)


def check_outputs(repository: Repository) -> Iterator[Finding]:
    """Ensure that no two steps of a campaign make the same output of the same input.

    Two steps of one application are the same if template, parameters, deviations and kept branches are the same.
    """
    for campaign, document in repository.list_campaigns():
        made: dict[tuple[object, ...], Step] = {}
        for name in document.data["steps"]:
            step = campaign.step(name)
            assert step is not None
            given = step.parameters if step.keys.parameters is None else ()
            how = (step.template, given, step.deviations, step.scans, step.keep, step.validation)
            for source, output in product(step.input.divide(), step.outputs):
                first = made.setdefault((step.application, how, source, output), step)
                if first is not step:
                    places = first.place_output(output), step.place_output(output)
                    message = f"{show(output)} is made twice of the same input: by {first.name} and by {name}"
                    hint = "let one of the two steps make it"
                    yield document.report_clash(*places, message, hint, "BP602")


def check_templates(repository: Repository) -> Iterator[Finding]:
    """Ensure that each template works with the release, reads what its step reads, and writes what its step writes."""
    for campaign, document, step in repository.list_steps():
        template = repository.templates.get(step.template or "")
        if template is None:
            continue
        release, path = campaign.release, ("steps", step.name)
        if release is not None and not template.serves(release):
            served = ", ".join(f"{one}…" for one in template.releases)
            there = document.place(("release",)).spell()
            message = f"{template.name} calls what {show(release)} does not have (see also {there})"
            hint = f"it serves {served}: choose another template or release"
            yield document.report((*path, "template"), "BP703", message, hint)
        if template.superseded is not None and not template.superseded.runs:
            message = f"basf2 does not run {template.name}: {template.superseded.why}"
            yield document.report((*path, "template"), "BP703", message, f"choose {template.superseded.by}")
        if step.skims != (template.skims is not None):
            key, other = ("skims", "outputs") if step.skims else ("outputs", "skims")
            message = f"{template.name} writes {'skims' if template.skims else 'data levels'}"
            hint = f"write `{other}`, or choose another template"
            yield document.report_key((*path, key), "BP509", message, hint)
            continue
        for index, output in enumerate(() if step.skims else step.outputs):
            kept = output == step.input.level or not template.keeps_level
            if output not in template.writes or not kept:
                source = "" if kept else f" of {step.input.level}"
                message = f"{template.name} does not write {output}{source}"
                made = ", ".join(template.writes) if kept else f"{step.input.level}, as it reads"
                yield document.report((*path, "outputs", index), "BP509", message, f"it writes {made}")
        said = document.data["steps"][step.name]["input"]
        named = next((key for key in ("level", "dataset", "skim", "skims") if key in said), None)
        upstream = campaign.step(said.get("step", ""))
        known = named in ("level", "dataset") or (upstream is not None and upstream.skims)
        if named is not None and known and step.input.level not in template.reads:
            message = f"{template.name} does not read {step.input.level}"
            hint = f"it reads {', '.join(template.reads)}"
            yield document.report((*path, "input", named), "BP509", message, hint)


def check_parameters(repository: Repository) -> Iterator[Finding]:
    """Ensure that each parameter exists, and has a value of the right type that is allowed."""
    for _, document, step in repository.list_steps():
        template = repository.templates.get(step.template or "")
        for name, value in step.parameters:
            path = ("steps", step.name, "parameters", name)
            if step.keys.parameters is not None:
                yield from _check_own(document, path, value, step.keys)
            elif template is not None:
                yield from _check_parameter(document, path, template, value)


def _check_reading(
    document: Document, path: tuple[str, ...], given: Mapping[str, Any], upstream: Step
) -> Iterator[Finding]:
    """Findings on reading from a step that exists."""
    made = f"{upstream.name} makes {', '.join(upstream.outputs)}"
    if not upstream.outputs:
        return
    if upstream.skims:
        if given.get("level", "skim") != "skim" and upstream.keys.level == "skim":
            message = f"{upstream.name} writes skims, not {given['level']}"
            yield document.report((*path, "level"), "BP509", message, f"{made}; write `skim: NAME`")
        elif "skim" not in given and "skims" not in given:
            message = f"it is not said which skim of {upstream.name} is read"
            hint = f"{made}; write `skim: NAME`, or `skims: [NAME, …]` for a variant for each"
            yield document.report_key(path, "BP509", message, hint)
        elif "skim" in given and "skims" in given:
            message = "a step reads one `skim`, or by its variants each of `skims`"
            yield document.report_clash((*path, "skim"), (*path, "skims"), message, "keep one of them")
    elif "skim" in given or "skims" in given:
        message = f"{upstream.name} writes data levels, not skims"
        hint = f"{made}; write `level: NAME`"
        yield document.report_key((*path, "skim" if "skim" in given else "skims"), "BP509", message, hint)
    elif "level" not in given:
        message = f"it is not said which level of {upstream.name} is read"
        yield document.report_key(path, "BP509", message, f"{made}; write `level: NAME`")
    key = "skim" if upstream.skims else "level"
    read: dict[Path, str] = {(key,): given[key]} if key in given else {}
    if upstream.skims:
        read |= {("skims", index): name for index, name in enumerate(given.get("skims", ()))}
    for at, name in read.items():
        if name not in upstream.outputs:
            message = f"{upstream.name} does not make {show(name)}"
            hint = suggest(name, upstream.outputs, made, link="")
            yield document.report((*path, *at), "BP509", message, hint)


def _check_own(
    document: Document, path: tuple[str, ...], value: Parameter, application: ApplicationKeys
) -> Iterator[Finding]:
    """Findings on a parameter that the application itself reads; its values are names."""
    known, name = application.parameters or {}, path[-1]
    if name not in known:
        message = f"no {application.name} step reads the parameter {show(name)}"
        reads = f"it reads {list_words(known)} only"
        yield document.report_key(path, "BP507", message, reads)
    elif not isinstance(value, str):
        message = f"`{name}` must be text, {known[name]}, not {show(value)}"
        yield document.report(path, "BP204", message, f"write it as in `{name}: events`")
    elif not value:
        yield document.report(path, "BP203", f"`{name}` is empty", f"write {known[name]}")


def _check_parameter(
    document: Document, path: tuple[str, ...], template: Template, value: Parameter
) -> Iterator[Finding]:
    known, name = template.parameter(path[-1]), path[-1]
    if known is None:
        names = [one.name for one in template.parameters]
        reads = f"it reads {list_words(names)}" if names else "it reads none"
        message = f"{template.name} does not read the parameter {show(name)}"
        yield document.report_key(path, "BP507", message, suggest(name, names, reads, link=""))
    elif wrong := _find_wrong_type(known, value):
        message = f"{show(name)} of {template.name} must be {wrong}, not {show(value)}"
        yield document.report(path, "BP204", message, f"write it as the default, {show(known.default)}")
    elif known.values:
        listed = isinstance(value, tuple)
        for index, one in enumerate(value if isinstance(value, tuple) else (value,)):
            if _sign(one) not in map(_sign, known.values):
                at: Path = (*path, index) if listed else path
                message = f"{show(name)} of {template.name} cannot be {show(one)}"
                hint = suggest(one, known.values, f"one of {list_words(known.values)}", link="")
                yield document.report(at, "BP205", message, hint)


def _find_wrong_type(known: TemplateParameter, value: Parameter) -> str | None:
    """The type that a value should have, as its default has it, or None if the type is right."""
    default = known.default
    if isinstance(default, tuple):
        return None if isinstance(value, tuple) else "a list"
    if isinstance(default, bool):
        return None if isinstance(value, bool) else "true or false"
    if isinstance(default, int):
        return None if isinstance(value, int) and not isinstance(value, bool) else "a whole number"
    if isinstance(default, float):
        return None if isinstance(value, int | float) and not isinstance(value, bool) else "a number"
    return None if isinstance(value, str) else "text"


def _sign(value: Scalar) -> tuple[bool, Scalar]:
    """A value for comparisons in which True is not 1."""
    return isinstance(value, bool), value


COMPONENTS = "components"
"""The parameter of templates that selects detectors; an empty list means all."""


def check_detectors(repository: Repository) -> Iterator[Finding]:
    """Ensure that basf2 can start with the detectors that a step selects."""
    for _, document, step in repository.list_steps():
        template = repository.templates.get(step.template or "")
        chosen = dict(step.parameters).get(COMPONENTS)
        if template is None or not isinstance(chosen, tuple) or not chosen:
            continue
        for rule in template.find_component_rules():
            missing = sorted(rule.needs - set(chosen))
            if rule.when <= set(chosen) and missing:
                beside = f" with {list_words(sorted(rule.when))}" if rule.when else ""
                message = f"{template.name}{beside} needs {list_words(missing)}: {rule.why} ({rule.source})"
                hint = f"add {list_words(missing)} to {show(COMPONENTS)}, or leave the list out"
                yield document.report(("steps", step.name, "parameters", COMPONENTS), "BP522", message, hint)
