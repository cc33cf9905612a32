"""Attacks by scripts: a program that somebody merges runs only as it was read, and where the people of a site allow it."""

from __future__ import annotations

import pytest

from schemas.repository import read_repository
from tests.support.inputs.keys import ORDER
from tests.support.inputs.scripts import CONVERT, SCRIPT
from tests.support.worlds.processes import find_processes, wait_until
from tests.support.worlds.signable_checkout import SignableCheckout

FILE = "productions/scripts/convert_raw/1"
SITE = "productions/sites/local.yaml"


class ScriptCheckout(SignableCheckout):
    """A signable checkout whose campaign runs a script, at a site that allows it."""

    allowed = "scripts: [convert_raw]\n"

    def _productions(self, campaign):
        found = super()._productions(CONVERT)
        found[SITE] += self.allowed
        return found | {FILE: SCRIPT.format(root=self.root)}

    def refuse(self, capsys):
        """A turn that launches nothing: what it said."""
        capsys.readouterr()
        code = self.launch()
        told = "".join(capsys.readouterr())
        assert code != 0, told
        assert not list(self.root.glob("called-*"))
        assert self.attempts() == {}
        assert find_processes(self.state.attempts) == []
        return told


@pytest.fixture
def scripted(tmp_path, circle):
    return ScriptCheckout(tmp_path, circle)


def test_a_script_runs_once_all_have_signed(scripted, capsys):
    assert scripted.refuse(capsys).count("nobody has signed") == 4
    scripted.sign(*ORDER)
    scripted.commit()
    wait_until(lambda: scripted.launch() == 0 and len(scripted.produced()) == 2, 60)


@pytest.mark.parametrize("again", [False, True], ids=["as it was locked", "locked again"])
def test_a_script_that_was_changed_after_it_was_signed_does_not_run(scripted, capsys, again):
    scripted.sign(*ORDER)
    scripted.commit()
    scripted.write(FILE, f"{SCRIPT.format(root=scripted.root)}touch {scripted.root}/called-evil\n")
    if again:
        scripted.lock()
    scripted.commit("a small mend")
    told = scripted.refuse(capsys)
    assert ("MISSING" if again else "set of scripts") in told


def test_a_script_that_was_changed_in_the_work_tree_alone_does_not_run(scripted, capsys):
    scripted.sign(*ORDER)
    scripted.commit()
    scripted.write(FILE, "#!/bin/sh\ntouch called-evil\n")
    scripted.refuse(capsys)


def test_a_site_that_allows_other_scripts_runs_none_of_it(tmp_path, circle, capsys, monkeypatch):
    monkeypatch.setattr(ScriptCheckout, "allowed", "scripts: [other]\n")
    signable = ScriptCheckout(tmp_path / "checkout", circle)
    signable.sign(*ORDER)
    signable.commit()
    assert "BP524" in signable.refuse(capsys)


def test_what_the_pinned_site_does_not_allow_is_not_made_right_by_a_signed_campaign(scripted, capsys):
    text = (scripted.root / SITE).read_text()
    scripted.write(SITE, text.replace("scripts: [convert_raw]", "scripts: [other]"))
    scripted.commit("the site as its people want it")
    scripted.pin()
    scripted.write(SITE, text)
    scripted.sign(*ORDER)
    scripted.commit("the site as the author wants it")
    told = scripted.refuse(capsys)
    assert "pinned" in told or "does not let" in told


@pytest.mark.parametrize(
    "name",
    [
        "../../../bin/sh",
        "/bin/sh",
        "convert_raw/../1",
        "convert_raw/1/2",
        "convert_raw",
        ".git/1",
        "A/1",
        "a/0",
        "a/1 ",
    ],
)
def test_a_file_of_a_strange_name_is_no_script(name):
    repository, findings = read_repository({f"productions/scripts/{name}": b"#!/bin/sh\n"}, {})
    assert repository.scripts == {}
    assert any(one.place.file.startswith("productions/scripts/") for one in findings)
