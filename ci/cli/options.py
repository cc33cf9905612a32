"""What several verbs share: types, helps and readers of their options and arguments."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import rich_click as click

from ci.cli.exits import WrongUse
from reconciler.outside.errors import GuardRefused
from schemas.manifest.runs import RunSet, parse_runs
from schemas.yaml.wording import find_nearest

FILE = click.Path(dir_okay=False, path_type=Path)
"""The path of a file, which may be missing."""
EXISTING_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
FOLDER = click.Path(file_okay=False, path_type=Path)

writes_json = click.option("--json", "as_json", is_flag=True, help="Write JSON.")
reasoned = click.option("--reason", required=True, help="Why; kept in the ledger with your name.")
processes_option = click.option(
    "--processes", type=click.IntRange(1, 256), help="How many read at once; else one for each processor."
)
key_option = click.option(
    "--key", envvar="B2PROD_KEY", type=click.Path(path_type=Path), help="The SSH key; else the agent's."
)


class FiniteRange(click.FloatRange):
    """A number in a range; `nan` is in no range."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        """The value as a number."""
        number = float(super().convert(value, param, ctx))
        if math.isnan(number):
            self.fail(f"{value!r} is not a number", param, ctx)
        return number


def read_runs(text: str) -> RunSet:
    """The runs that a text lists, as in "3:529-613,620".

    Raises:
        WrongUse: the text is not a list of runs.
    """
    try:
        return parse_runs(text)
    except ValueError as error:
        raise WrongUse(str(error)) from error


def read_run(text: str) -> int:
    """The key of the one run that a text names, as in "3:529".

    Raises:
        WrongUse: the text does not name exactly one run.
    """
    try:
        (key,) = parse_runs(text)
    except ValueError as error:
        raise WrongUse(f"{text!r} is not a run; write it as in 3:529") from error
    return key


def refuse_unknown_name(what: str, name: str, known: Iterable[str]) -> None:
    """Checks that a name is known.

    Raises:
        WrongUse: it is unknown; the message has the most similar name, and lists the known ones in their order.
    """
    known = list(known)
    if name not in known:
        raise WrongUse(tell_unknown(what, name, known))


def tell_unknown(what: str, name: str, known: Iterable[str]) -> str:
    """There is no such thing: which one was probably meant, and which there are, in their order."""
    known = list(known)
    return f"there is no {what} {name}{_ask_nearest(name, known)}; there are: {', '.join(known) or 'none'}"


def tell_unknown_step(campaign: str, step: str, known: Iterable[str]) -> str:
    """A campaign has no such step: which one was probably meant, and which it has, in their order."""
    known = list(known)
    return f"{campaign} has no step {step}{_ask_nearest(step, known)}; it has {', '.join(known) or 'none'}"


def _ask_nearest(name: str, known: Iterable[str]) -> str:
    near = find_nearest(name, known)
    return f" (did you mean {near}?)" if near else ""


def confirm(expected: str, question: str, refusal: str) -> None:
    """Asks a person to type a word, on stderr.

    Raises:
        GuardRefused: something else was typed.
    """
    if click.prompt(question, type=str, err=True).strip() != expected:
        raise GuardRefused(refusal)
