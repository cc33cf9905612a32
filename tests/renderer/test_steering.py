"""Steering scripts: what a value can become in one, and what it can't."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from renderer import steering
from renderer.steering import TemplateBroken, load_templates, render_steering

TEMPLATE = load_templates()["raw_to_mdst/1"]
GOLDEN = Path(__file__).parents[1] / "golden" / "raw_to_mdst-1.py"
NASTY = [
    'x"; import os',
    "'",
    "\\",
    "\n",
    "\u2028",
    "\0",
    "{{ 7*7 }}",
    '"""',
    "é",
    "#",
    "')\nimport os\n('",
]
scalars = st.one_of(
    st.text(),
    st.sampled_from(NASTY),
    st.integers(),
    st.booleans(),
    st.floats(allow_nan=False, allow_infinity=False),
)


def constants(text):
    """Every constant of a script, in order."""
    return [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]


def test_the_render_is_what_was_reviewed():
    settings = TEMPLATE.settings({"components": ("CDC", "ECL"), "prune_tracks": False})
    rendered = render_steering(TEMPLATE, settings)
    assert rendered == GOLDEN.read_text(), (
        f"if the change is meant, make raw_to_mdst/2, or rewrite {GOLDEN.name} by hand"
    )


@given(scalars)
def test_any_value_goes_out_as_itself_and_as_nothing_else(value):
    plain = replace(TEMPLATE, text="x = {{ a }}\ny = [{{ b }}]\n")
    text = render_steering(plain, {"a": value, "b": (value, value)})
    assert text.isascii()
    found = {}
    exec(text, {}, found)  # the test's own text, made of literals
    assert found == {"x": value, "y": [[value, value]]}
    assert type(found["x"]) is type(value)


@pytest.mark.parametrize("nasty", NASTY)
def test_code_in_a_value_stays_a_value(nasty):
    text = render_steering(TEMPLATE, TEMPLATE.settings({"trigger_mode": nasty}))
    plain = render_steering(TEMPLATE, TEMPLATE.settings({"trigger_mode": "all"}))
    assert nasty in constants(text)
    assert len(constants(text)) == len(constants(plain))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("x = {{ missing }}", "missing"),
        ("x = {{ a }", "line 1"),
        ("x = {{ a", "line 1"),
        ("x = (", "not Python"),
        ("{{ a.__class__.__mro__ }}", "unsafe|cannot be put"),
        ("x = {{ cycler.__init__.__globals__ }}", "unsafe|cannot be put"),
        ("{% if a == 'b' %}x = 1{% else %}y = 2{% endif %}", "more than a constant"),
    ],
)
def test_a_broken_template_is_said_to_be_broken(text, says):
    with pytest.raises(TemplateBroken, match=says):
        render_steering(replace(TEMPLATE, text=text), {"a": "b"})


def test_the_same_bytes_whatever_the_surroundings():
    """Renders in processes of other time zones, languages, hash seeds and working folders."""
    script = (
        "import json, sys; from renderer.steering import *; t = load_templates()['raw_to_mdst/1'];"
        "s = render_steering(t, t.settings({'components': ('CDC', 'ECL')}));"
        "json.dump([s, digest_steering(s)], sys.stdout)"
    )
    found = set()
    for zone, language, seed in (
        ("UTC", "C", "0"),
        ("Asia/Tokyo", "C.UTF-8", "1"),
        ("America/New_York", "POSIX", "12345"),
    ):
        with tempfile.TemporaryDirectory() as folder:
            environment = {
                "TZ": zone,
                "LANG": language,
                "LC_ALL": language,
                "PYTHONHASHSEED": seed,
                "PATH": "",
            }
            run = subprocess.run(
                [sys.executable, "-c", script], env=environment, cwd=folder, check=True, capture_output=True
            )
        found.add(run.stdout)
    assert len(found) == 1
    assert json.loads(found.pop())[0].startswith('"""RAW')


def test_a_template_is_read_when_it_is_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(steering, "TEMPLATES", tmp_path)
    (tmp_path / "own").mkdir()
    (tmp_path / "own/1.yaml").write_text("schema: template/1\n")
    templates = load_templates.__wrapped__()
    assert [*templates] == ["own/1"]
    assert "own/1" in templates
    with pytest.raises(TemplateBroken, match="own/1"):
        templates["own/1"]
