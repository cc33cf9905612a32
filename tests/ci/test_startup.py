"""What starts with the command line: no verb pays for what another one needs."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from ci.command_line import b2prod
from ci.verbs import VERBS, load_verb

EVENTS = {"uproot", "awkward", "scipy"}
"""What reads files of events, and knows statistics: more than a second."""
LEDGER = {"sqlalchemy", "alembic", "psycopg"}
OTHERS = {"git", "numpy", "httpx", "prometheus_client", "cryptography"}


def load(*modules, whole=False):
    """The packages, or the whole names of modules, that are there once these are imported, in a process of its own."""
    code = f"import json, sys, {', '.join(modules)}; print(json.dumps([*sys.modules]))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True)
    return {name if whole else name.partition(".")[0] for name in json.loads(done.stdout)}


@pytest.mark.parametrize("module", ["ci.command_line", "ci.verbs.campaigns.check"])
def test_a_help_and_a_check_load_nothing_that_reads_events_or_the_ledger(module):
    assert not load("ci.command_line", module) & (EVENTS | LEDGER | OTHERS)


def test_a_table_in_a_pipe_needs_nothing_that_draws_on_terminals():
    assert "rich" not in load("ci.command_line", "ci.verbs.data.dataset_listing")


def test_a_part_of_a_verb_does_not_load_the_others():
    there = load("ci.command_line", "ci.verbs.data.datasets", "ci.verbs.data.dataset_listing", whole=True)
    assert "reconciler.datasets.frozen_contents" not in there


def test_a_plan_loads_nothing_that_reads_commits_or_runs_jobs():
    assert not load("ci.verbs.campaigns.plan") & (EVENTS | OTHERS)


def test_no_verb_loads_what_reads_events_before_it_comes_to_that():
    modules = {f"ci.verbs.{verb.place.partition(':')[0]}" for verb in VERBS.values()}
    assert not load(*sorted(modules)) & EVENTS


@pytest.mark.parametrize("name", VERBS)
def test_a_verb_says_the_line_of_the_help_itself(name):
    verb = load_verb(name)
    assert verb.name == name
    assert VERBS[name].line == " ".join(verb.help.partition("\n\n")[0].split())
    assert name in b2prod.commands
