"""The codes of findings: what each checks, why, a wrong and a right example. A released code never changes meaning."""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

WIDTH = 100
"""Columns of a terminal that `explain` fills at most."""


@dataclass(frozen=True, slots=True)
class Code:
    """One class of findings. `rule`: what is checked; `why`: what happens without; `wrong` and `right`: YAML, or a path."""

    code: str
    title: str
    rule: str
    why: str
    wrong: str
    right: str


def _read_codes() -> Mapping[str, Code]:
    # TOML, not YAML: the examples hold just what our YAML reader refuses
    tables = tomllib.loads(Path(__file__).with_name("codes.toml").read_text("utf-8"))
    return MappingProxyType({code: Code(code, **texts) for code, texts in tables.items()})


CODES: Mapping[str, Code] = _read_codes()
"""Every code that a finding may have, in order."""


def explain(code: str) -> str:
    """What there is to know about a code, as plain text of at most 100 columns.

    Raises:
        KeyError: there is no such code.
    """
    about = CODES[code.upper()]
    parts = [
        f"{about.code}: {about.title}",
        textwrap.fill(about.rule, WIDTH),
        textwrap.fill(f"Why: {about.why}", WIDTH),
    ]
    parts += [f"{label}:\n{textwrap.indent(text.rstrip(), '    ')}" for label, text in _examples(about)]
    return "\n\n".join(parts) + "\n"


def _examples(about: Code) -> tuple[tuple[str, str], ...]:
    return ("Wrong", about.wrong), ("Right", about.right)
