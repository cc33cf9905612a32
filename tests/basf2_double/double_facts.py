"""The facts of one state of basf2 that this double behaves by: the JSON file that the environment's BASF2_FACTS names."""

from __future__ import annotations

import ast
import json
import os
from pathlib import Path
from typing import Any

FACTS: dict[str, Any] = json.loads(Path(os.environ["BASF2_FACTS"]).read_text())


def has(called: str) -> bool:
    """Whether this state has a function."""
    return called in FACTS["functions"]


def behaves(what: str) -> Any:
    """The value of one line of the state's behaviour."""
    return FACTS["behaviour"][what]["value"]


def bind(called: str, *given: Any, **named: Any) -> dict[str, Any]:
    """The values of a function's parameters, as Python binds them.

    Raises:
        TypeError: a parameter is not known, is given twice, or is missing.
    """
    parameters = FACTS["functions"][called]["parameters"]
    plain = [name for name in parameters if not name.startswith("*")]
    if len(given) > len(plain):
        raise TypeError(f"{called}() takes {len(plain)} positional arguments but {len(given)} were given")
    bound = dict(zip(plain, given, strict=False))
    for name, value in named.items():
        if name not in plain:
            raise TypeError(f"{called}() got an unexpected keyword argument {name!r}")
        if name in bound:
            raise TypeError(f"{called}() got multiple values for argument {name!r}")
        bound[name] = value
    for name in plain:
        if name not in bound:
            if parameters[name] is None:
                raise TypeError(f"{called}() missing the required argument {name!r}")
            bound[name] = read_default(parameters[name])
    return bound


def read_default(text: str) -> Any:
    """A default of the facts; None where it is no literal."""
    try:
        return ast.literal_eval(text)
    except (SyntaxError, ValueError):
        return None
