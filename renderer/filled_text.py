"""The text of a template with its settings filled in, as Python literals."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path
from typing import Any

import jinja2
import jinja2.sandbox


def fill_text(source: str, settings: Mapping[str, Any], bases: Path) -> str:
    """The text `source` with the literals of `settings`; it may extend or include the texts in the folder `bases`.

    Raises:
        ValueError: the text uses a setting that is missing, or cannot be filled; the message begins with ", line N" or ": ".
    """
    try:
        return _environment(bases).from_string(source).render(settings)
    except (
        jinja2.TemplateError,
        ArithmeticError,
        AttributeError,
        LookupError,
        TypeError,
        ValueError,
    ) as error:
        line = getattr(error, "lineno", None)
        raise ValueError(f"{f', line {line}' if line else ''}: {error}") from error


@cache
def _environment(bases: Path) -> jinja2.Environment:
    return jinja2.sandbox.ImmutableSandboxedEnvironment(
        loader=jinja2.FileSystemLoader(bases),
        undefined=jinja2.StrictUndefined,
        finalize=_spell,
        autoescape=False,
        keep_trailing_newline=True,
        trim_blocks=True,
        lstrip_blocks=True,
    )


def _spell(value: Any) -> Any:
    """The Python literal of a value, in ASCII."""
    if isinstance(value, jinja2.Undefined):
        return value
    if isinstance(value, list | tuple) and all(isinstance(item, str | int | float | bool) for item in value):
        return f"[{', '.join(map(ascii, value))}]"
    if isinstance(value, str | int | float | bool):
        return ascii(value)
    raise jinja2.TemplateRuntimeError(f"a {type(value).__name__} cannot be put into a steering script")
