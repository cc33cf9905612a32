"""What a production host installs: all requirements of pyproject.toml, with exact versions and a hash for each file."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
LOCK = (ROOT / "ci/requirements.txt").read_text()
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())

PYTHONS = ("3.11", "3.12", "3.13", "3.14")

DECLARED = (
    *PROJECT["project"]["dependencies"],
    *(one for extra in PROJECT["project"]["optional-dependencies"].values() for one in extra),
    *PROJECT["build-system"]["requires"],
)


def read_lock(text):
    """The entries: requirement and hashes."""
    joined = re.sub(r"^ *#.*\n", "", text, flags=re.MULTILINE).replace("\\\n", " ")
    for line in joined.splitlines():
        requirement, *hashes = re.split(r" +--hash=", line.strip())
        yield Requirement(requirement), hashes


LOCKED = [*read_lock(LOCK)]


def is_for(requirement, python):
    environment = {"python_version": python, "python_full_version": f"{python}.0", "extra": ""}
    return requirement.marker is None or requirement.marker.evaluate(environment)


@pytest.mark.parametrize("python", PYTHONS)
@pytest.mark.parametrize("text", DECLARED)
def test_what_pyproject_asks_for_is_locked_once_for_each_python_and_in_a_version_that_it_takes(text, python):
    wanted = Requirement(text)
    found = [
        one
        for one, _ in LOCKED
        if canonicalize_name(one.name) == canonicalize_name(wanted.name) and is_for(one, python)
    ]
    assert len(found) == 1, f"{text}: run `nox -s lock`"
    (exact,) = found[0].specifier
    assert wanted.specifier.contains(exact.version, prereleases=True), f"{text}: run `nox -s lock`"


def test_each_is_one_exact_version_with_hashes_and_without_an_address():
    assert len(LOCKED) > len(DECLARED)
    for requirement, hashes in LOCKED:
        (exact,) = requirement.specifier
        assert exact.operator == "=="
        assert str(Version(exact.version)) in str(requirement)
        assert requirement.url is None
        assert hashes, requirement.name
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", one) for one in hashes), requirement.name
    # the host decides on the package index; a line that begins with an option would change it
    assert "://" not in LOCK
    options = re.findall(r"^ *(-\S*?)(?==|\s)", LOCK, re.MULTILINE)
    assert {*options} == {"--hash"}


def test_a_host_builds_b2prod_by_what_is_locked():
    assert PROJECT["dependency-groups"]["build"] == PROJECT["build-system"]["requires"]


def test_every_python_that_b2prod_runs_on_from_its_oldest_is_looked_at():
    supported = SpecifierSet(PROJECT["project"]["requires-python"])
    assert [one for one in PYTHONS if one in supported] == [*PYTHONS]
    assert str(supported) == f">={PYTHONS[0]}"
