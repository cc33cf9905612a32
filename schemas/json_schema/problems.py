"""Errors of a JSON Schema validator, translated into what their author needs to know."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from jsonschema import ValidationError
from referencing import Registry

from schemas.json_schema.levels import find_levels, resolve
from schemas.yaml.composer import Path
from schemas.yaml.scalars import Raw, code_points, plain_form, quote, show
from schemas.yaml.wording import (
    BOUNDS,
    describe,
    find_nearest,
    list_words,
    name_place,
    name_types,
    spell_bounds,
    suggest_retyped,
    write_flow,
)

KEY_LIMIT = 50
"""Unknown keys of one mapping that are told one by one."""

_RESERVED = frozenset({"attempt", "fingerprint"})
_RESERVED_PREFIX = "b2p-"
_SHAPES = ("type", "enum", "const")


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct. `at_key`: it is the key at `path`, not the value. `unknown`: no schema covers what is inside.

    `others`: where else to look, keys or values as `path` is.
    """

    path: Path
    code: str
    message: str
    hint: str = ""
    at_key: bool = False
    others: tuple[Path, ...] = ()
    unknown: bool = False


@dataclass(frozen=True, slots=True)
class _Failure:
    """A validator's error, as far as it is used here. `schema`: the one that holds the failing keyword.

    `inside`: the path from the schema that this is an alternative of; `branch`: which alternative.
    """

    keyword: str
    rule: Any
    instance: Any
    schema: Mapping[str, Any]
    path: Path
    schema_path: Path
    inside: Path
    branch: str | int
    context: tuple[_Failure, ...]

    @classmethod
    def of(cls, error: ValidationError) -> _Failure:
        schema: Any = error.schema
        return cls(
            str(error.validator),
            error.validator_value,
            error.instance,
            schema if isinstance(schema, dict) else {},
            tuple(error.absolute_path),
            tuple(error.absolute_schema_path),
            tuple(error.relative_path),
            error.relative_schema_path[0] if error.relative_schema_path else "",
            tuple(cls.of(one) for one in error.context or ()),
        )


def translate(
    errors: Iterable[ValidationError],
    data: Any,
    schema: Mapping[str, Any],
    registry: Registry[Any],
    text: Callable[[Path], Raw | None],
) -> list[Problem]:
    """The problems behind `errors`, in no particular order; where a value has the wrong type, only that is said.

    `text` gives a scalar as it was written, or None where that is not known.
    """
    translation = _Translation(data, schema, registry, text)
    problems: list[Problem] = []
    failures = [_Failure.of(error) for error in errors]
    found = sorted(failures, key=lambda error: [(isinstance(part, str), part) for part in error.path])
    for _, group in groupby(found, key=lambda error: error.path):
        here = list(group)
        wrong_type = [error for error in here if error.keyword == "type" and not _is_of_name(error, data)]
        for error in wrong_type[:1] or here:
            problems.extend(translation.explain(error))
    return problems


def _is_of_name(error: _Failure, data: Any) -> bool:
    """Whether the error is about a key: `propertyNames` gives the path of the mapping, and the key as the instance."""
    return "propertyNames" in error.schema_path and isinstance(_at(data, error.path), dict)


def _at(data: Any, path: Path) -> Any:
    for part in path:
        data = data[part]
    return data


def _code(error: _Failure, default: str) -> str:
    return str(error.schema.get("x-code", default))


def _hint(error: _Failure, default: str) -> str:
    """What the schema says to write, or `default`, or else an example of the schema."""
    if "x-hint" in error.schema:
        return str(error.schema["x-hint"])
    examples = error.schema.get("examples")
    return default or (f"for example {write_flow(examples[0])}" if examples else "")


@dataclass(frozen=True, slots=True)
class _Translation:
    data: Any
    schema: Mapping[str, Any]
    registry: Registry[Any]
    text: Callable[[Path], Raw | None]

    def explain(self, error: _Failure) -> Iterator[Problem]:
        path = error.path
        keyword = error.keyword
        if _is_of_name(error, self.data):
            yield self.name(error, path)
        elif keyword in ("additionalProperties", "unevaluatedProperties"):
            yield from self.unknown_keys(error, path)
        elif keyword == "required":
            yield from self.missing(error, path)
        elif keyword == "uniqueItems":
            yield from self.repeated(error, path)
        elif keyword == "dependentRequired":
            yield from self.dependent(error, path)
        elif keyword == "not":
            yield self.excluded(error, path)
        elif keyword in ("anyOf", "oneOf"):
            yield from self.alternatives(error, path)
        elif keyword == "None":
            yield Problem(path, "BP207", f"{name_place(path)} is not allowed here", "remove it", at_key=True)
        elif error.instance is None and keyword in _SHAPES:
            yield self.null(error, path, _wanted(error))
        elif keyword == "type":
            yield self.type(error, path, _wanted(error))
        elif keyword in ("enum", "const"):
            yield self.choice(error, path)
        elif keyword in ("minItems", "minProperties", "minLength") and not error.instance:
            yield _empty(path)
        elif keyword in BOUNDS:
            yield _bound(error, path)
        elif keyword == "pattern":
            message = f"{name_place(path)} is {show(error.instance)}, which is not written as it should be"
            hint = _hint(error, f"it must match {error.rule}")
            yield Problem(path, _code(error, "BP204"), message, hint)
        else:
            yield Problem(
                path,
                _code(error, "BP207"),
                f"{name_place(path)} breaks the rule {show(keyword)}",
                _hint(error, ""),
            )

    def name(self, error: _Failure, path: Path) -> Problem:
        key = str(error.instance)
        message = f"{show(key)} is not a legal name here"
        if not key.isascii():
            message += f": {code_points(key)}"
        rule = str(error.rule)
        hint = _hint(
            error, f"it must match {rule}" if error.keyword == "pattern" else f"{error.keyword}: {rule}"
        )
        return Problem((*path, key), _code(error, "BP301"), message, hint, at_key=True)

    # ── keys ──

    def unknown_keys(self, error: _Failure, path: Path) -> Iterator[Problem]:
        known: dict[str, Any] = error.schema.get("properties", {})
        retired: dict[str, Any] = error.schema.get("x-retired", {})
        patterns = error.schema.get("patternProperties", ())
        keys = (key for key in error.instance if key not in known)
        strange = [key for key in keys if not any(re.search(one, key) for one in patterns)]
        for number, key in enumerate(strange):
            at = (*path, key)
            if number == KEY_LIMIT:
                message = f"{len(strange) - number} more unknown keys in {name_place(path)}, from here on"
                yield Problem(at, "BP201", message, "correct the others first", at_key=True, unknown=True)
                return
            if key in retired:
                since, instead = retired[key].get("since", ""), retired[key].get("instead", "")
                message = f"the key {show(key)} is retired" + (f" since {since}" if since else "")
                yield Problem(
                    at, "BP209", message, f"write {instead}" if instead else "remove it", True, unknown=True
                )
            elif key in _RESERVED or key.startswith(_RESERVED_PREFIX):
                message = f"the key {show(key)} belongs to the tool"
                yield Problem(at, "BP210", message, "remove it", at_key=True, unknown=True)
            else:
                message = f"unknown key {show(key)} in {name_place(path)}"
                if not key.isascii():
                    message += f": {code_points(key)}"
                yield Problem(at, "BP201", message, self.suggest(key, known), at_key=True, unknown=True)

    def suggest(self, key: str, known: Mapping[str, Any]) -> str:
        """What an unknown key may have been meant to be."""
        before, colon, after = key.partition(":")
        if colon and before in known:
            return f"write a blank after the colon: {show(f'{before}: {after}')}"
        levels = find_levels(self.schema, self.registry).get(key, ())
        legal = f"legal under {' and '.join(levels)}" if levels else ""
        near = find_nearest(key, known)
        if near is not None:
            return f"did you mean {show(near)}?" + (f" ({legal})" if legal else "")
        return legal or (f"known keys: {list_words(sorted(known))}" if known else "remove it")

    def missing(self, error: _Failure, path: Path) -> Iterator[Problem]:
        properties = error.schema.get("properties", {})
        for key in error.rule:
            if key in error.instance:
                continue
            about = resolve(properties.get(key, {}), self.schema, self.registry)
            title, examples = about.get("title", ""), about.get("examples") or ()
            described = f" ({title})" if title and title.lower() != key.lower().replace("_", " ") else ""
            example = f"{key}: {write_flow(examples[0])}" if examples else f"{key}:"
            message = f"{show(key)}{described} is missing in {name_place(path)}"
            yield Problem(path, _code(error, "BP202"), message, f"add `{example}`", at_key=True)

    def dependent(self, error: _Failure, path: Path) -> Iterator[Problem]:
        for key, needed in error.rule.items():
            lacking = [one for one in needed if one not in error.instance] if key in error.instance else []
            if lacking:
                message = f"{show(key)} needs {list_words(lacking)} beside it"
                hint = _hint(error, f"add {list_words(lacking)}, or remove {show(key)}")
                yield Problem((*path, key), _code(error, "BP207"), message, hint, at_key=True)

    def excluded(self, error: _Failure, path: Path) -> Problem:
        rule = error.rule
        keys = [*rule.get("required", ())] if isinstance(rule, dict) else []
        if not keys or not isinstance(error.instance, dict):
            message = f"{name_place(path)} is {show(error.instance)}, which is not allowed here"
            return Problem(path, _code(error, "BP207"), message, _hint(error, ""))
        if len(keys) == 1:
            message, hint = f"{show(keys[0])} is not allowed here", "remove it"
        else:
            message, hint = f"{list_words(keys)} exclude each other", "keep one of them"
        return self.clash(error, path, keys, message, hint)

    def clash(self, error: _Failure, path: Path, keys: Sequence[str], message: str, hint: str) -> Problem:
        """A problem of several keys of one mapping, told at the one that the author wrote last."""
        *others, last = [(*path, key) for key in error.instance if key in keys]
        return Problem(
            last, _code(error, "BP207"), message, _hint(error, hint), at_key=True, others=tuple(others)
        )

    def repeated(self, error: _Failure, path: Path) -> Iterator[Problem]:
        first: dict[str, int] = {}
        for index, item in enumerate(error.instance):
            earlier = first.setdefault(json.dumps(item, sort_keys=True), index)
            if earlier != index:
                message = f"{show(item)} is listed twice in {name_place(path)}"
                code = _code(error, "BP601")
                yield Problem((*path, index), code, message, "keep one of them", others=((*path, earlier),))

    # ── alternatives ──

    def alternatives(self, error: _Failure, path: Path) -> Iterator[Problem]:
        branches = error.rule
        if isinstance(error.instance, dict) and all(set(one) <= {"required"} for one in branches):
            yield self.one_of_keys(error, path)
            return
        context = sorted(error.context, key=lambda one: int(one.branch))
        by_branch = [list(group) for _, group in groupby(context, key=lambda one: one.branch)]
        shapes = [[one for one in group if one.keyword == "type" and not one.inside] for group in by_branch]
        if shapes and all(shapes):
            wanted = [name for group in shapes for name in _wanted(group[0])]
            yield self.null(error, path, wanted) if error.instance is None else self.type(error, path, wanted)
            return
        near = [group for group in by_branch if not any(_rules_out(one) for one in group)]
        if len(near) == 1:
            for one in near[0]:
                yield from self.explain(one)
            return
        titles = [str(one["title"]) for one in branches if isinstance(one, dict) and "title" in one]
        forms = f": {', '.join(titles)}" if titles else ""
        number = "more than one" if not context else "none"
        message = f"{name_place(path)} fits {number} of the allowed forms{forms}"
        yield Problem(path, _code(error, "BP207"), message, _hint(error, ""))

    def one_of_keys(self, error: _Failure, path: Path) -> Problem:
        groups = [branch.get("required", []) for branch in error.rule]
        choice = " or ".join(" with ".join(show(key) for key in group) for group in groups)
        met = [group for group in groups if all(key in error.instance for key in group)]
        if not met:
            only = "exactly one" if error.keyword == "oneOf" else "one"
            message = f"{only} of {choice} is needed in {name_place(path)}"
            return Problem(path, _code(error, "BP207"), message, _hint(error, "add it"), at_key=True)
        keys = [key for group in met for key in group]
        message = f"{list_words(dict.fromkeys(keys))} exclude each other"
        return self.clash(error, path, keys, message, "keep one of them")

    # ── values ──

    def null(self, error: _Failure, path: Path, wanted: Sequence[str]) -> Problem:
        raw = self.text(path)
        if raw is not None and raw.text and "string" in wanted:
            return _to_quote(path, raw.text)
        if error.keyword == "enum" and raw is not None and raw.text in error.rule:
            return _to_quote(path, raw.text)
        return _empty(path)

    def type(self, error: _Failure, path: Path, wanted: Sequence[str]) -> Problem:
        value, raw = error.instance, self.text(path)
        if raw is not None and raw.plain:
            if "string" in wanted and not isinstance(value, str):
                return _to_quote(path, raw.text)
            form = plain_form(raw.text) if raw.ambiguous else None
            if raw.ambiguous and {"integer", "number", "boolean"} & set(wanted):
                message = f"{show(raw.text)} is not {name_types(wanted)} to every YAML reader"
                hint = f"write {form}" if form is not None else f"write {name_types(wanted)}"
                return Problem(path, "BP108", message, hint)
        message = f"{name_place(path)} must be {name_types(wanted)}, not {describe(value)}"
        return Problem(path, "BP204", message, suggest_retyped(value, wanted) or _hint(error, ""))

    def choice(self, error: _Failure, path: Path) -> Problem:
        value, raw = error.instance, self.text(path)
        one_only = error.keyword == "const"
        known = [error.rule] if one_only else list(error.rule)
        if raw is not None and raw.plain and not isinstance(value, str) and raw.text in known:
            return _to_quote(path, raw.text)
        code = _code(error, "BP205")
        if code == "BP208":
            message = f"{name_place(path)} is {show(value)}, which this tool does not read"
            return Problem(path, code, message, f"it reads: {list_words(known)}")
        near = (
            find_nearest(value, [one for one in known if isinstance(one, str)])
            if isinstance(value, str)
            else None
        )
        hint = f"write {show(known[0])}" if one_only else f"one of {list_words(known)}"
        if near is not None and not one_only:
            hint = f"did you mean {show(near)}? {hint}"
        return Problem(path, code, f"{name_place(path)} cannot be {show(value)}", hint)


def _rules_out(error: _Failure) -> bool:
    """Whether this error of one alternative shows that another alternative was meant."""
    if error.keyword == "type" and not error.inside:
        return True
    one_only = error.keyword == "const" or (error.keyword == "enum" and len(error.rule) == 1)
    return len(error.inside) <= (1 if one_only else 0) and error.keyword in ("const", "enum")


def _wanted(error: _Failure) -> list[str]:
    """The types that the failing schema would take."""
    if error.keyword == "type":
        value = error.rule
        return [value] if isinstance(value, str) else list(value)
    return []


def _to_quote(path: Path, text: str) -> Problem:
    return Problem(
        path,
        "BP108",
        f"{name_place(path)} must be text, and unquoted {show(text)} is not",
        f"quote it: {quote(text)}",
    )


def _empty(path: Path) -> Problem:
    hint = (
        "write what is meant, or remove the key"
        if path and isinstance(path[-1], str)
        else "write what is meant"
    )
    return Problem(path, "BP203", f"{name_place(path)} is empty, which means neither all nor a default", hint)


def _bound(error: _Failure, path: Path) -> Problem:
    value = error.instance
    seen = show(value) if isinstance(value, int | float) else f"{len(value)} long"
    hint = f"allowed: {spell_bounds(error.schema)}"
    return Problem(path, _code(error, "BP206"), f"{name_place(path)} is {seen}, out of bounds", hint)
