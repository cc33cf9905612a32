"""A new rule or verb needs changes exactly in the places that CONTRIBUTING names."""

from __future__ import annotations

import inspect
import re
from importlib import import_module
from pathlib import Path

import pytest
from rich_click import Command, Group

from ci.verbs import VERBS, load_verb
from schemas.findings.codes import CODES
from schemas.rules import RULES

ROOT = Path(__file__).parents[2]
MODULES = sorted({verb.place.partition(":")[0] for verb in VERBS.values()})


def find_codes(function):
    """The codes of findings in a rule's module, if functions of the module share the writing of findings."""
    return set(re.findall(r"\bBP[0-9]{3}\b", inspect.getsource(inspect.getmodule(function))))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_yields_codes_that_are_explained(rule):
    assert find_codes(rule)
    assert find_codes(rule) <= set(CODES)


def test_every_command_is_a_verb_or_belongs_to_the_group_of_one():
    verbs = {name: load_verb(name) for name in VERBS}
    assert {name: verb.name for name, verb in verbs.items()} == {name: name for name in VERBS}
    groups = [verb for verb in verbs.values() if isinstance(verb, Group)]
    parts = [group.get_command(None, name) for group in groups for name in group.list_commands(None)]
    there = [
        one
        for module in MODULES
        for one in vars(import_module(f"ci.verbs.{module}")).values()
        if isinstance(one, Command)
    ]
    known = {id(one) for one in (*verbs.values(), *parts)}
    assert not [one.name for one in there if id(one) not in known]


def test_every_module_of_verbs_is_reached_by_the_table():
    """The module that the table names imports, or names, the modules that have commands of its group."""
    there = {
        f"{path.parent.name}.{path.stem}"
        for path in (ROOT / "ci" / "verbs").glob("*/*.py")
        if path.stem != "__init__"
    }
    texts = [(ROOT / f"ci/verbs/{one.replace('.', '/')}.py").read_text() for one in MODULES]
    for module in there - set(MODULES):
        assert any(f"from ci.verbs.{module} import" in text or f'"{module}:' in text for text in texts), (
            module
        )
