"""The codes of findings: what each one checks, why, a wrong and a right example. A code in use never changes its meaning."""

from __future__ import annotations

import textwrap
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

WIDTH = 100
"""The largest width of the text of `explain`, in columns."""


@dataclass(frozen=True, slots=True)
class Code:
    """One kind of finding: `rule` says what is checked, `why` what happens otherwise; `wrong` and `right` are YAML or a path."""

    code: str
    title: str
    rule: str
    why: str
    wrong: str
    right: str


# TOML, because our YAML reader refuses some of the examples
_TABLES = tomllib.loads(Path(__file__).with_name("codes.toml").read_text("utf-8"))
CODES: Mapping[str, Code] = MappingProxyType({code: Code(code, **texts) for code, texts in _TABLES.items()})
"""All codes of findings, in order."""


def explain(code: str) -> str:
    """The description of a code as plain text of at most 100 columns.

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
