"""Adding a rule or a verb touches the places that CONTRIBUTING names, and each of them once."""

from __future__ import annotations

import inspect
import re
from collections import Counter
from importlib import import_module
from pathlib import Path

import pytest

from ci.verbs import VERBS
from schemas.findings.codes import CODES
from schemas.rules import RULES

ROOT = Path(__file__).parents[2]
MODULES = sorted({verb.module for verb in VERBS.values()})


def find_codes(function):
    """The codes of findings in a rule's module, where functions of the module share the writing of findings."""
    return set(re.findall(r"\bBP[0-9]{3}\b", inspect.getsource(inspect.getmodule(function))))


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_a_rule_yields_codes_that_are_explained(rule):
    assert find_codes(rule)
    assert find_codes(rule) <= set(CODES)


def test_a_verb_is_one_command_of_the_module_that_its_line_names():
    commands = {
        module: [one.name for one in import_module(f"ci.verbs.{module}").COMMANDS] for module in MODULES
    }
    assert Counter(list(VERBS)) == Counter(name for names in commands.values() for name in names)
    assert all(name in commands[verb.module] for name, verb in VERBS.items())


def test_every_module_of_verbs_is_reached_by_the_table():
    """Modules that add commands to a group of another one are imported by the one that the table names."""
    there = {
        f"{path.parent.name}.{path.stem}"
        for path in (ROOT / "ci" / "verbs").glob("*/*.py")
        if path.stem != "__init__"
    }
    for module in there - set(MODULES):
        assert any(
            f"from ci.verbs.{module} import" in (ROOT / f"ci/verbs/{other.replace('.', '/')}.py").read_text()
            for other in MODULES
        ), module
