"""Checks values against the JSON Schemas beside this module: findings for authors, short lines for our own files."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from functools import cache, cached_property
from itertools import islice
from pathlib import Path as FilePath
from typing import Any

import jsonschema_rs

from schemas.findings.finding import MOST, Finding
from schemas.json_schema.problems import Problem, translate
from schemas.yaml.composer import Path
from schemas.yaml.document import Document, read_yaml
from schemas.yaml.scalars import plain_form, quote, show


class Schema(dict[str, Any]):
    """A JSON Schema, which is not changed any more."""

    @cached_property
    def quick(self) -> jsonschema_rs.Validator:
        """A validator in Rust: a hundred times faster, with errors that no author could use."""
        return jsonschema_rs.validator_for(json.dumps(self))

    def suits(self, value: Any) -> bool:
        """Whether a value is surely valid. What is not may be valid all the same: 1.0 as a number, or a very large integer."""
        try:
            return self.quick.is_valid(value) and not _has_whole_float(value)
        except (ValueError, OverflowError):  # it has no such integers, and no half characters
            return False


@cache
def load_schema(name: str) -> Schema:
    """The schema in `NAME.schema.json` beside this module; nothing is downloaded.

    Raises:
        FileNotFoundError: there is no such schema.
    """
    file = FilePath(__file__).parents[1] / f"{name}.schema.json"
    return Schema(json.loads(file.read_bytes()))


def check_rendered(data: Any, name: str) -> None:
    """Checks that a generated value is valid. It runs 10⁵ times, and costs a hundredth of a check with findings.

    Raises:
        ValueError: the value is not valid for the schema `name`; the text says the first problem.
    """
    try:
        load_schema(name).quick.validate(data)
    except jsonschema_rs.ValidationError as problem:
        place = "/".join(map(str, problem.instance_path))
        raise ValueError(f"not valid for {name}/1 at {place}: {problem.message}") from None


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
    problems = translate(_find_errors(document.data, schema), document.data, schema, document.text)
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
    errors = islice(_find_errors(value, schema), MOST)
    problems = translate(errors, value, schema, lambda _path: None)
    return tuple(sorted({f"{_pointer(one.path)}: {one.message}" for one in problems}))


def _find_errors(value: Any, schema: Mapping[str, Any]) -> Iterator[Any]:
    if isinstance(schema, Schema) and schema.suits(value):
        return iter(())
    from schemas.json_schema.strict_validator import find_errors  # noqa: PLC0415 -- jsonschema loads in 0.05 s

    return find_errors(value, schema)


def _has_whole_float(value: Any) -> bool:
    """Whether a float without a fraction is anywhere in a value: Rust takes it for an integer, and b2prod does not."""
    if isinstance(value, dict):
        return any(map(_has_whole_float, value.values()))
    if isinstance(value, list):
        return any(map(_has_whole_float, value))
    return isinstance(value, float) and value.is_integer()


def _finding(document: Document, problem: Problem) -> Finding:
    locate = document.key_place if problem.at_key else document.place
    others = ", ".join(locate(path).spell() for path in problem.others)
    also = f" (see also {others})" if others else ""
    return Finding(locate(problem.path), problem.code, problem.message + also, problem.hint)


def _is_refused(document: Document, path: Path) -> bool:
    return any(path[:length] in document.refused for length in range(len(path) + 1))


def _pointer(path: Path) -> str:
    return "".join(f"/{str(part).replace('~', '~0').replace('/', '~1')}" for part in path) or "/"
