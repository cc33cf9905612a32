"""The README is true."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ci.cli.exits import Exit
from ci.command_line import b2prod
from schemas.findings.codes import CODES
from tests.support.worlds.builders import check, tree

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def test_the_campaign_in_ten_lines_is_valid():
    text, runs = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    path, _, manifest = text.partition("\n")
    assert len(manifest.splitlines()) <= 10
    assert not check(tree(**{path.removeprefix("# "): manifest, "campaign": None}))
    other = re.sub("^runs: .*\n", runs, manifest, flags=re.MULTILINE)
    assert not check(tree(**{"productions/campaigns/mixed/campaign.yaml": other, "campaign": None}))


@pytest.mark.slow
def test_the_campaign_in_ten_lines_runs_as_printed(tmp_path):
    """The commands run word for word in a copy of a fresh checkout."""
    section = README.partition("## A campaign in ten lines")[2].partition("\n## ")[0]
    text, commands = re.findall(r"```(?:yaml|console)\n(.*?)```", section, re.DOTALL)
    path, _, manifest = text.partition("\n")
    shutil.copytree(ROOT / "productions", tmp_path / "productions")
    file = tmp_path / path.removeprefix("# ")
    file.parent.mkdir()
    file.write_text(manifest)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("B2PROD_")}
    environment |= {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONSAFEPATH": "1",
    }
    told = ""
    for line in commands.splitlines():
        done = subprocess.run(
            line.removeprefix("$ ").split(),
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, (line, done.stdout + done.stderr)
        told += done.stdout + done.stderr
    assert "5 units produced, 0 failed" in told
    rate = re.search(r"hlt_hadron +5 +([\d,]+) +([\d,]+) ", told)
    read, kept = (int(count.replace(",", "")) for count in rate.groups())
    assert read > kept > 100
    assert len(list((tmp_path / ".b2prod" / "data").rglob("*.root"))) == 5


def test_the_verbs_are_those_of_the_command_line():
    told = set(
        re.findall(
            r"`([a-z0-9-]+)(?: [^`]*)?`",
            "\n".join(line for line in README.splitlines() if line.startswith("| `")),
        )
    )
    assert set(b2prod.commands) <= told


def test_the_exit_codes_are_those_that_are_given():
    told = {
        int(number)
        for number in re.findall(
            r"(?<![0-9])([0-9]{1,3}) (?:fine|findings|changes|usage|a source|refused|partly|a defect|interrupted)",
            README,
        )
    }
    assert told == {int(code) for code in Exit}


@pytest.mark.parametrize("document", ["README.md", "CONTRIBUTING.md"])
def test_files_and_codes_that_are_named_exist(document):
    text = (ROOT / document).read_text()
    for path in re.findall(
        r"`((?:schemas|renderer|reconciler|ci|tests|productions)/[A-Za-z0-9_./-]*)`", text
    ):
        assert (ROOT / path).exists(), path
    assert set(re.findall(r"BP[0-9]{3}", text)) <= set(CODES)
