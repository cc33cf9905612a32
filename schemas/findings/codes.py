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


# TOML, not YAML: the examples hold just what our YAML reader refuses
_TABLES = tomllib.loads(Path(__file__).with_name("codes.toml").read_text("utf-8"))
CODES: Mapping[str, Code] = MappingProxyType({code: Code(code, **texts) for code, texts in _TABLES.items()})
"""Every code that a finding may have, in order."""


def explain(code: str) -> str:
    """What there is to know about a code, as plain text of at most 100 columns.

    Raises:
        KeyError: there is no such code.
    """
    about = CODES[code.upper()]
    parts = (
        f"{about.code}: {about.title}",
        textwrap.fill(about.rule, WIDTH),
        textwrap.fill(f"Why: {about.why}", WIDTH),
        f"Wrong:\n{textwrap.indent(about.wrong.rstrip(), '    ')}",
        f"Right:\n{textwrap.indent(about.right.rstrip(), '    ')}",
    )
    return "\n\n".join(parts) + "\n"
