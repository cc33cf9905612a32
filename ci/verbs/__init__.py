"""The verbs of the command line. A verb's module is imported when it is called: importing all takes seconds."""

from __future__ import annotations

import gc
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from pkgutil import resolve_name
from types import MappingProxyType
from typing import Any

import rich_click as click

from reconciler.outside.signals import begin


@dataclass(frozen=True, slots=True)
class Verb:
    """A verb: its command as `module:name` below this package, and its line in the help, the first paragraph of its docstring."""

    place: str
    line: str


PANELS: Mapping[str, Mapping[str, Verb]] = {
    panel: {name: Verb(*verb) for name, verb in verbs.items()}
    for panel, verbs in tomllib.loads(Path(__file__).with_name("verbs.toml").read_text("utf-8")).items()
}
"""The verbs by name, in the panels of the help."""

VERBS: Mapping[str, Verb] = MappingProxyType(
    {name: verb for panel in PANELS.values() for name, verb in panel.items()}
)


class Verbs(click.RichGroup):
    """The group of all verbs: it shows their lines, and imports only the verb that is called."""

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """The verb that the arguments begin with, imported."""
        if args and args[0] in VERBS:
            self.add_command(load_verb(args[0]))
        if not gc.isenabled():  # see `ci.entry`; what is loaded is never garbage
            gc.freeze()
            gc.enable()
        begin()
        return super().resolve_command(ctx, args)


class Parts(click.RichGroup):
    """The group of a verb, of which only the command that is called is imported; `parts` are `module:name` by the command's name."""

    def __init__(self, *arguments: Any, parts: Mapping[str, str], **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._parts = parts

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 -- click passes it
        """The names of the commands, sorted."""
        return sorted(self._parts)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 -- the same
        """The command with this name, or None."""
        return _load(self._parts[cmd_name]) if cmd_name in self._parts else None


def load_verb(name: str) -> click.Command:
    """The command of a verb."""
    return _load(VERBS[name].place)


def _load(place: str) -> click.Command:
    command: click.Command = resolve_name(f"{__name__}.{place}")
    return command
