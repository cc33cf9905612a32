"""Translates the errors of a JSON Schema validator into problems that an author understands."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from schemas.json_schema.levels import find_levels, resolve
from schemas.yaml.composer import Path
from schemas.yaml.document import find_value
from schemas.yaml.scalars import Raw, code_points, plain_form, quote, show
from schemas.yaml.wording import (
    BOUNDS,
    describe,
    find_nearest,
    list_words,
    name_place,
    name_types,
    spell_bounds,
    suggest,
    suggest_retyped,
    write_flow,
)

Error = Any
"""A `ValidationError` of jsonschema; its type hints say that every attribute may be unset."""

KEY_LIMIT = 50
"""The largest number of unknown keys of one mapping that are reported one by one."""

_RESERVED = frozenset({"attempt", "fingerprint"})
_RESERVED_PREFIX = "b2p-"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing to correct.

    `at_key`: the problem is the key at `path`, not the value. `unknown`: the schema says nothing about the content.
    `others`: paths of other places to look at, keys or values as for `path`.
    """

    path: Path
    code: str
    message: str
    hint: str = ""
    at_key: bool = False
    others: tuple[Path, ...] = ()
    unknown: bool = False


def translate(
    errors: Iterable[Error],
    data: Any,
    schema: Mapping[str, Any],
    text: Callable[[Path], Raw | None],
) -> list[Problem]:
    """The problems behind `errors`, unsorted; a value of the wrong type gets no other problem.

    `text` returns a scalar as it was written, or None when that is not known.
    """
    translation = _Translation(data, schema, text)
    problems: list[Problem] = []
    found = sorted(errors, key=lambda error: [(isinstance(part, str), part) for part in error.absolute_path])
    for _, group in groupby(found, key=lambda error: error.absolute_path):
        here = list(group)
        wrong_type = [one for one in here if one.validator == "type" and not translation.is_of_name(one)]
        for error in wrong_type[:1] or here:
            problems.extend(translation.explain(error))
    return problems


@dataclass(frozen=True, slots=True)
class _Translation:
    data: Any
    schema: Mapping[str, Any]
    text: Callable[[Path], Raw | None]

    def is_of_name(self, error: Error) -> bool:
        """Whether the error is about a key: for `propertyNames`, the path is the mapping's and the instance is the key."""
        at = tuple(error.absolute_path)
        return "propertyNames" in error.absolute_schema_path and isinstance(find_value(self.data, at), dict)

    def explain(self, error: Error) -> Iterable[Problem]:
        keyword, path = error.validator, tuple(error.absolute_path)
        explanations: Mapping[str, Callable[[Error, Path], Iterable[Problem]]] = {
            "additionalProperties": self.unknown_keys,
            "unevaluatedProperties": self.unknown_keys,
            "required": self.missing,
            "uniqueItems": _find_repeated,
            "dependentRequired": _find_dependent,
            "anyOf": self.alternatives,
            "oneOf": self.alternatives,
        }
        if self.is_of_name(error):
            return [_name(error, path)]
        if keyword in explanations:
            return explanations[keyword](error, path)
        return [self.explain_value(error, keyword, path)]

    def explain_value(self, error: Error, keyword: str | None, path: Path) -> Problem:
        here = name_place(path)
        if keyword == "not":
            return _exclude(error, path)
        if keyword is None:
            return Problem(path, "BP207", f"{here} is not allowed here", "remove it", at_key=True)
        if keyword in ("type", "enum", "const"):
            wanted = _wanted(error)
            if error.instance is None:
                return self.null(error, path, wanted)
            return self.type(error, path, wanted) if wanted else self.choice(error, path)
        if keyword in ("minItems", "minProperties", "minLength") and not error.instance:
            return _empty(path)
        if keyword in BOUNDS:
            value = error.instance
            seen = show(value) if isinstance(value, int | float) else f"{len(value)} long"
            hint = f"allowed: {spell_bounds(error.schema)}"
            return _problem(error, path, "BP206", f"{here} is {seen}, out of bounds", hint)
        if keyword == "pattern":
            message = f"{here} is {show(error.instance)}, which is not written as it should be"
            return _problem(error, path, "BP204", message, f"it must match {error.validator_value}")
        return _problem(error, path, "BP207", f"{here} breaks the rule {show(keyword)}")

    # ── keys ──

    def unknown_keys(self, error: Error, path: Path) -> Iterator[Problem]:
        known: dict[str, Any] = error.schema.get("properties", {})
        retired: dict[str, Any] = error.schema.get("x-retired", {})
        patterns = error.schema.get("patternProperties", ())
        keys = (key for key in error.instance if key not in known)
        strange = [key for key in keys if not any(re.search(one, key) for one in patterns)]
        for key in strange[:KEY_LIMIT]:
            code, hint = "BP201", "remove it"
            if key in retired:
                since, instead = retired[key].get("since"), retired[key].get("instead")
                code, message = "BP209", f"the key {show(key)} is retired"
                message += f" since {since}" if since else ""
                hint = f"write {instead}" if instead else hint
            elif key in _RESERVED or key.startswith(_RESERVED_PREFIX):
                code, message = "BP210", f"the key {show(key)} belongs to the tool"
            else:
                message = f"unknown key {show(key)} in {name_place(path)}{_spell_odd(key)}"
                hint = self.suggest(key, known)
            yield Problem((*path, key), code, message, hint, at_key=True, unknown=True)
        if rest := strange[KEY_LIMIT:]:
            message = f"{len(rest)} more unknown keys in {name_place(path)}, from here on"
            hint = "correct the others first"
            yield Problem((*path, rest[0]), "BP201", message, hint, at_key=True, unknown=True)

    def suggest(self, key: str, known: Mapping[str, Any]) -> str:
        """A hint on the key that the author may have meant."""
        before, colon, after = key.partition(":")
        if colon and before in known:
            return f"write a blank after the colon: {show(f'{before}: {after}')}"
        levels = find_levels(self.schema).get(key, ())
        legal = f"legal under {' and '.join(levels)}" if levels else ""
        near = find_nearest(key, known)
        if near is not None:
            return f"did you mean {show(near)}?" + (f" ({legal})" if legal else "")
        return legal or (f"known keys: {list_words(sorted(known))}" if known else "remove it")

    def missing(self, error: Error, path: Path) -> Iterator[Problem]:
        properties = error.schema.get("properties", {})
        for key in error.validator_value:
            if key in error.instance:
                continue
            about = resolve(properties.get(key, {}), self.schema)
            title, examples = about.get("title", ""), about.get("examples") or ()
            described = f" ({title})" if title and title.lower() != key.lower().replace("_", " ") else ""
            example = f"{key}: {write_flow(examples[0])}" if examples else f"{key}:"
            message = f"{show(key)}{described} is missing in {name_place(path)}"
            yield Problem(path, _code(error, "BP202"), message, f"add `{example}`", at_key=True)

    # ── alternatives ──

    def alternatives(self, error: Error, path: Path) -> Iterable[Problem]:
        branches = error.validator_value
        if isinstance(error.instance, dict) and all(set(one) <= {"required"} for one in branches):
            return [_one_of_keys(error, path)]
        context = sorted(error.context, key=_find_branch)
        by_branch = [list(group) for _, group in groupby(context, key=_find_branch)]
        shapes = [[one for one in group if _is_shape(one)] for group in by_branch]
        if shapes and all(shapes):
            wanted = [name for group in shapes for name in _wanted(group[0])]
            tell = self.null if error.instance is None else self.type
            return [tell(error, path, wanted)]
        near = [group for group in by_branch if not any(_rules_out(one) for one in group)]
        if len(near) == 1:
            return [problem for one in near[0] for problem in self.explain(one)]
        titles = [str(one["title"]) for one in branches if isinstance(one, dict) and "title" in one]
        forms = f": {', '.join(titles)}" if titles else ""
        number = "none" if context else "more than one"
        message = f"{name_place(path)} fits {number} of the allowed forms{forms}"
        return [_problem(error, path, "BP207", message)]

    # ── values ──

    def null(self, error: Error, path: Path, wanted: Sequence[str]) -> Problem:
        raw = self.text(path)
        if raw is not None and raw.text and "string" in wanted:
            return _to_quote(path, raw.text)
        if error.validator == "enum" and raw is not None and raw.text in error.validator_value:
            return _to_quote(path, raw.text)
        return _empty(path)

    def type(self, error: Error, path: Path, wanted: Sequence[str]) -> Problem:
        value, raw = error.instance, self.text(path)
        if raw is not None and raw.plain:
            if "string" in wanted and not isinstance(value, str):
                return _to_quote(path, raw.text)
            if raw.ambiguous and {"integer", "number", "boolean"} & set(wanted):
                message = f"{show(raw.text)} is not {name_types(wanted)} to every YAML reader"
                return Problem(path, "BP108", message, f"write {plain_form(raw.text) or name_types(wanted)}")
        message = f"{name_place(path)} must be {name_types(wanted)}, not {describe(value)}"
        return Problem(path, "BP204", message, suggest_retyped(value, wanted) or _hint(error, ""))

    def choice(self, error: Error, path: Path) -> Problem:
        value, raw = error.instance, self.text(path)
        one_only = error.validator == "const"
        known = [error.validator_value] if one_only else list(error.validator_value)
        if raw is not None and raw.plain and not isinstance(value, str) and raw.text in known:
            return _to_quote(path, raw.text)
        code = _code(error, "BP205")
        if code == "BP208":
            message = f"{name_place(path)} is {show(value)}, which this tool does not read"
            return Problem(path, code, message, f"it reads: {list_words(known)}")
        every = f"one of {list_words(known)}"
        hint = f"write {show(known[0])}" if one_only else suggest(value, known, every, link="")
        return Problem(path, code, f"{name_place(path)} cannot be {show(value)}", hint)


def _code(error: Error, default: str) -> str:
    return str(_annotate(error, "x-code", default))


def _hint(error: Error, default: str) -> str:
    """The schema's own hint, else `default`, else an example from the schema."""
    examples = _annotate(error, "examples", ())
    example = f"for example {write_flow(examples[0])}" if examples else ""
    return str(_annotate(error, "x-hint", default or example))


def _annotate(error: Error, key: str, default: Any) -> Any:
    return error.schema.get(key, default) if isinstance(error.schema, dict) else default


def _problem(
    error: Error, path: Path, code: str, message: str, hint: str = "", *, at_key: bool = False
) -> Problem:
    """A problem; if the schema has a code and a hint beside the keyword, they replace the given ones."""
    return Problem(path, _code(error, code), message, _hint(error, hint), at_key)


def _spell_odd(key: str) -> str:
    return "" if key.isascii() else f": {code_points(key)}"


def _name(error: Error, path: Path) -> Problem:
    key, rule = str(error.instance), str(error.validator_value)
    message = f"{show(key)} is not a legal name here{_spell_odd(key)}"
    hint = f"it must match {rule}" if error.validator == "pattern" else f"{error.validator}: {rule}"
    return _problem(error, (*path, key), "BP301", message, hint, at_key=True)


def _find_dependent(error: Error, path: Path) -> Iterator[Problem]:
    for key, needed in error.validator_value.items():
        lacking = [one for one in needed if one not in error.instance] if key in error.instance else []
        if lacking:
            message = f"{show(key)} needs {list_words(lacking)} beside it"
            hint = f"add {list_words(lacking)}, or remove {show(key)}"
            yield _problem(error, (*path, key), "BP207", message, hint, at_key=True)


def _find_repeated(error: Error, path: Path) -> Iterator[Problem]:
    first: dict[str, int] = {}
    for index, item in enumerate(error.instance):
        earlier = first.setdefault(json.dumps(item, sort_keys=True), index)
        if earlier != index:
            message = f"{show(item)} is listed twice in {name_place(path)}"
            code = _code(error, "BP601")
            yield Problem((*path, index), code, message, "keep one of them", others=((*path, earlier),))


def _exclude(error: Error, path: Path) -> Problem:
    rule = error.validator_value
    keys = rule.get("required", []) if isinstance(rule, dict) else []
    if not keys or not isinstance(error.instance, dict):
        message = f"{name_place(path)} is {show(error.instance)}, which is not allowed here"
        return _problem(error, path, "BP207", message)
    if len(keys) == 1:
        return _clash(error, path, keys, f"{show(keys[0])} is not allowed here", "remove it")
    return _clash(error, path, keys)


def _one_of_keys(error: Error, path: Path) -> Problem:
    groups = [branch.get("required", []) for branch in error.validator_value]
    met = [key for group in groups if all(one in error.instance for one in group) for key in group]
    if met:
        return _clash(error, path, list(dict.fromkeys(met)))
    choice = " or ".join(" with ".join(show(key) for key in group) for group in groups)
    only = "exactly one" if error.validator == "oneOf" else "one"
    message = f"{only} of {choice} is needed in {name_place(path)}"
    return _problem(error, path, "BP207", message, "add it", at_key=True)


def _clash(
    error: Error,
    path: Path,
    keys: Sequence[str],
    message: str = "",
    hint: str = "keep one of them",
) -> Problem:
    """A problem of several keys of one mapping, reported at the last one of the file."""
    *others, last = [(*path, key) for key in error.instance if key in keys]
    message = message or f"{list_words(keys)} exclude each other"
    return Problem(last, _code(error, "BP207"), message, _hint(error, hint), True, tuple(others))


def _find_branch(error: Error) -> int:
    """The index of the alternative of its parent to which the error belongs."""
    return int(error.relative_schema_path[0])


def _is_shape(error: Error) -> bool:
    """Whether the alternative itself has the wrong type, not something inside it."""
    return error.validator == "type" and not error.relative_path


def _rules_out(error: Error) -> bool:
    """Whether this error shows that the author meant another alternative."""
    if _is_shape(error):
        return True
    keyword, rule = error.validator, error.validator_value
    one_only = keyword == "const" or (keyword == "enum" and len(rule) == 1)
    return len(error.relative_path) <= (1 if one_only else 0) and keyword in ("const", "enum")


def _wanted(error: Error) -> list[str]:
    """The types that the failing schema accepts."""
    if error.validator != "type":
        return []
    wanted = error.validator_value
    return [wanted] if isinstance(wanted, str) else list(wanted)


def _to_quote(path: Path, text: str) -> Problem:
    message = f"{name_place(path)} must be text, and unquoted {show(text)} is not"
    return Problem(path, "BP108", message, f"quote it: {quote(text)}")


def _empty(path: Path) -> Problem:
    instead = ", or remove the key" if path and isinstance(path[-1], str) else ""
    message = f"{name_place(path)} is empty, which means neither all nor a default"
    return Problem(path, "BP203", message, f"write what is meant{instead}")
