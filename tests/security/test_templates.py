"""Attacks through templates and through values that templates are filled with."""

from __future__ import annotations

import json
import re
import tomllib
from pathlib import Path

import pytest

from ci.cli.exits import Exit
from ci.command_line import run
from renderer.steering import TemplateBroken, load_templates, render_steering
from schemas.manifest.template import Template
from tests.support.worlds import example

ROOT = Path(__file__).parents[2]

ESCAPES = (
    "{{ lipsum.__globals__['os'].popen('touch CANARY').read() }}",
    "{{ cycler.__init__.__globals__.os.system('touch CANARY') }}",
    "{{ ''.__class__.__mro__[1].__subclasses__() }}",
    "{{ self.__init__.__globals__.__builtins__.__import__('os').system('touch CANARY') }}",
    "{{ ('{0.__class__.__init__.__globals__}').format(namespace) }}",
    "{{ '%s'|attr('format')('x') }}{{ ''|attr('__class__') }}",
    "{% set x = ['{0.__class__}'] %}{{ x|map('format', namespace)|list }}",  # CVE-2025-27516's kind
    "{% include '/etc/passwd' %}",
    "{% import 'os' as os %}{{ os.system('touch CANARY') }}",
    "{{ request.application.__globals__ }}",
)


def write(text):
    return Template("evil/1", "Evil", text, ("raw",), ("mdst",), ("release-03-",))


@pytest.mark.parametrize("escape", ESCAPES)
def test_s3_known_escapes_from_the_sandbox_are_broken_templates(escape, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(TemplateBroken):
        render_steering(write(f"x = {escape}\n"), {})
    assert list(tmp_path.iterdir()) == []


def test_s3_no_older_sandbox_is_installed():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    (wanted,) = [line for line in project["dependencies"] if line.startswith("jinja2")]
    least = tuple(
        map(int, re.findall(r"\d+", wanted)[1:] if wanted[5] == "2" else re.findall(r"\d+", wanted))
    )
    assert least >= (3, 1, 6)


@pytest.mark.parametrize("value", ["{{7*7}}", "{% if 1 %}x{% endif %}", "{# x #}"])
def test_s2_a_value_is_rendered_once(value):
    assert render_steering(write("x = {{ mode }}\n"), {"mode": value}) == f"x = {value!r}\n"


@pytest.mark.slow
def test_s1_a_template_of_a_pull_request_is_not_rendered(tmp_path, capsys):
    """The review goes by the templates of its own checkout; those that come with a change are text to it."""
    history, base, _ = example.propose(tmp_path)
    canary = tmp_path / "canary"
    payload = f"{{{{ lipsum.__globals__['os'].popen('touch {canary}').read() }}}}\n"
    names = sorted(name.partition("/")[0] for name in load_templates())
    evil = {f"renderer/templates/{name}/2.py.j2": payload for name in names}
    head = history.commit("evil templates", **evil, **{"ci/command_line.py": f"open({str(canary)!r}, 'w')\n"})
    arguments = [
        "--root",
        str(history.root),
        "review",
        "--base",
        base,
        "--head",
        head,
        "-o",
        str(tmp_path / "made"),
    ]
    assert run(arguments) == Exit.FINDINGS
    found = json.loads((tmp_path / "made/codequality.json").read_text())
    assert {one["check_name"] for one in found} == {"BP705"}
    assert not canary.exists()
    capsys.readouterr()
