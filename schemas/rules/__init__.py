"""The rules beyond the schemas, for mistakes that no single file shows. They read the repository only."""

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
"""All rules: the functions `check_…` of the modules here. A rule sees what the schemas have accepted, raises nothing, and reads
only the repository.
"""


def check_repository(repository: Repository) -> tuple[Finding, ...]:
    """The findings of all rules, sorted by place, without duplicates."""
    return tuple(sorted({finding for rule in RULES for finding in rule(repository)}))
