"""The rules beyond the schemas: what no file by itself can show to be wrong. They see the repository only."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from importlib import import_module
from pkgutil import iter_modules

from schemas.findings.finding import Finding
from schemas.repository import Repository

Rule = Callable[[Repository], Iterator[Finding]]

RULES: tuple[Rule, ...] = tuple(
    function
    for module in (import_module(f"{__name__}.{one.name}") for one in iter_modules(__path__))
    for name, function in vars(module).items()
    if name.startswith("check_") and function.__module__ == module.__name__
)
"""Every rule: each function `check_…` of a module here. A rule takes what the schemas have accepted, raises nothing, and
reads nothing but the repository."""


def check_repository(repository: Repository) -> tuple[Finding, ...]:
    """What the rules object to, sorted by place, each thing once."""
    return tuple(sorted({finding for rule in RULES for finding in rule(repository)}))
