"""Checks values against the JSON Schemas beside this module: findings for authors, short lines for our own files."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from itertools import islice
from pathlib import Path as FilePath
from typing import Any

import jsonschema_rs
from jsonschema import Draft202012Validator, ValidationError
from jsonschema.validators import extend
from referencing import Registry

from schemas.findings.finding import MOST, Finding
from schemas.json_schema.problems import Problem, translate
from schemas.yaml.composer import Path
from schemas.yaml.document import Document, read_yaml
from schemas.yaml.scalars import plain_form, quote, show

_OF_A_TEXT = frozenset(("type", "pattern", "title", "description", "examples", "x-code", "x-hint"))
"""The keywords of a schema that checks only the pattern of a text."""


@cache
def load_schema(name: str) -> Mapping[str, Any]:
    """The schema in `NAME.schema.json` beside this module; nothing is downloaded.

    Raises:
        FileNotFoundError: there is no such schema.
    """
    file = FilePath(__file__).parents[1] / f"{name}.schema.json"
    schema: Mapping[str, Any] = json.loads(file.read_bytes())
    return schema


def check_rendered(data: Any, name: str) -> None:
    """Checks that a generated value is valid. It runs 10⁵ times, and costs a hundredth of a check with findings.

    Raises:
        ValueError: the value is not valid for the schema `name`; the text says the first problem.
    """
    try:
        _load_quick(name).validate(data)
    except jsonschema_rs.ValidationError as problem:
        place = "/".join(map(str, problem.instance_path))
        raise ValueError(f"not valid for {name}/1 at {place}: {problem.message}") from None


@cache
def _load_quick(name: str) -> jsonschema_rs.Validator:
    return jsonschema_rs.validator_for(json.dumps(load_schema(name)))


def read_valid(file: str, content: bytes, schema: str) -> Document | None:
    """The YAML document in `content`, or None when it is not a document or not valid for `schema`."""
    document, findings = read_yaml(file, content)
    return None if document is None or findings or validate(document, load_schema(schema)) else document


def validate(document: Document, schema: Mapping[str, Any]) -> tuple[Finding, ...]:
    """What `schema` finds wrong in `document`, sorted by place, without duplicates.

    Annotations of the schema that steer the findings: `x-code` (the code for a failing keyword beside it), `x-hint` (what
    to write), `x-retired` (`{"key": {"since": …, "instead": …}}`). Patterns match the whole text, in ASCII terms. What the
    reader has already reported is not reported again.
    """
    problems = translate(_errors(document.data, schema), document.data, schema, document.text)
    problems = [one for one in problems if not _is_refused(document, one.path)]
    reported = {one.path for one in problems}
    unknown = {one.path for one in problems if one.unknown}
    for path, text in document.ambiguous():
        inside = any(path[:length] in unknown for length in range(1, len(path) + 1))
        if path not in reported and not inside and not _is_refused(document, path):
            other = plain_form(text)
            doubt = f", others as `{other}`" if other is not None else ""
            message = f"unquoted {show(text)} is not text to every YAML reader{doubt}"
            problems.append(Problem(path, "BP108", message, f"quote it: {quote(text)}"))
    return tuple(sorted({_finding(document, one) for one in problems}))


def validate_json(value: Any, schema: Mapping[str, Any]) -> tuple[str, ...]:
    """What `schema` finds wrong in a value read from JSON: sorted lines such as `/units/3: …`.

    Of many problems only the first ones are reported, because each one is expensive and nobody reads a hundred thousand lines.
    """
    errors = islice(_errors(value, schema), MOST)
    problems = translate(errors, value, schema, lambda _path: None)
    return tuple(sorted({f"{_pointer(one.path)}: {one.message}" for one in problems}))


def _finding(document: Document, problem: Problem) -> Finding:
    locate = document.key_place if problem.at_key else document.place
    others = ", ".join(locate(path).spell() for path in problem.others)
    also = f" (see also {others})" if others else ""
    return Finding(locate(problem.path), problem.code, problem.message + also, problem.hint)


def _is_refused(document: Document, path: Path) -> bool:
    return any(path[:length] in document.refused for length in range(len(path) + 1))


def _pointer(path: Path) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path) or "/"


# ── the validator ──


def _errors(value: Any, schema: Mapping[str, Any]) -> Iterator[ValidationError]:
    errors: Iterator[ValidationError] = _STRICT(dict(schema), registry=Registry()).iter_errors(value)
    return errors


def _match_whole(_validator: Any, pattern: str, instance: Any, _schema: Any) -> Iterator[ValidationError]:
    """Matches the whole text; JSON Schema only searches, and its `$` accepts a final line break."""
    if isinstance(instance, str) and re.fullmatch(pattern, instance, re.ASCII) is None:
        yield ValidationError(f"does not match {pattern}")


def _check_items(validator: Any, items: Any, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """The keyword `items` of JSON Schema, ten times faster for a long list of texts with one pattern, such as runs.

    A list that is too long has its own error, so its items are not checked.
    """
    if isinstance(instance, list) and len(instance) > schema.get("maxItems", len(instance)):
        return
    if not (isinstance(instance, list) and items.get("type") == "string" and items.keys() <= _OF_A_TEXT):
        yield from Draft202012Validator.VALIDATORS["items"](validator, items, instance, schema)
        return
    fits = re.compile(items.get("pattern", "(?s:.*)"), re.ASCII).fullmatch
    for index, item in enumerate(instance):
        if not (isinstance(item, str) and fits(item)):
            yield from validator.descend(item, items, path=index)


def _is_integer(_checker: Any, instance: Any) -> bool:
    return isinstance(instance, int) and not isinstance(instance, bool)


_STRICT: Any = extend(  # type: ignore[no-untyped-call]  # jsonschema leaves it untyped
    Draft202012Validator,
    validators={"pattern": _match_whole, "items": _check_items},
    type_checker=Draft202012Validator.TYPE_CHECKER.redefine("integer", _is_integer),
)
