"""The verbs of approval: what a person sees before signing, what is written, and what is told of it afterwards."""

from __future__ import annotations

import io
import json
import os
import shutil
import subprocess
import time

import pytest

from ci.cli.exits import Exit
from tests.support.inputs.keys import ORDER, PERSON, write_roles
from tests.support.worlds.builders import swap
from tests.support.worlds.processes import wait_until

FOLDER = "productions/campaigns/proc7/approvals"


@pytest.fixture
def call(signable, capsys, monkeypatch):
    """Calls b2prod with something typed; exit code, stdout and stderr."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)

    def called(*words, typed=""):
        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = signable.call(*words)
        told = capsys.readouterr()
        assert "Traceback" not in told.out + told.err
        return code, told.out, told.err

    return called


def approve(call, circle, role, *more, person=None, typed="proc7\n"):
    key = circle.key(person or PERSON[role]).file
    return call("approve", "proc7", "--role", role, "--key", key, *more, typed=typed)


def files(signable):
    return sorted(path.name for path in (signable.root / FOLDER).rglob("*") if path.is_file())


def test_four_people_approve_and_the_campaign_is_launched(signable, call, circle):
    for role in ORDER:
        code, _, told = approve(call, circle, role)
        assert code == Exit.FINE, told
        assert f"{PERSON[role]}, in the role {role}" in told
    assert len(files(signable)) == 8
    assert call("approvals", "proc7")[0] == Exit.REFUSED, "not committed yet"
    signable.commit("approvals")
    code, table, _ = call("approvals", "proc7")
    assert code == Exit.FINE
    assert "approved" in table
    assert all(person in table for person in (PERSON[role] for role in ORDER))
    assert signable.launch() == Exit.FINE
    assert len(signable.produced()) == 2


def test_the_decision_is_shown_before_anybody_signs(signable, call, circle):
    override = (
        "    parameters: {trigger_mode: all}",
        "    overrides:\n      - {module: SetupGenfitExtrapolation, parameter: noiseBrems, value: true, reason: under study, ticket: BIIDP-1120}",
    )
    signable.commit("as it is merged")
    signable.change(override, ("raw_to_mdst/1", "raw_to_mdst/2"), ("max_units: 100", "max_units: 90"))
    code, shown, told = approve(call, circle, "coordinator", typed="no\n")
    assert code == Exit.REFUSED, told
    assert files(signable) == []
    assert "that was not proc7; nothing was signed" in told
    for text in (
        "release-03-00-00",
        "tag_a",
        "max_units 90, max_restate 10",
        "IT DEVIATES FROM THE STANDARD, in 1 thing",
        "SetupGenfitExtrapolation.noiseBrems = true; under study (BIIDP-1120)",
        "compared with proc7 as it was merged",
        "max_units  100 → 90",
        "submit 2",
        "2 units, 3 jobs",
        "CPU time not known",
    ):
        assert text in shown, shown


def test_what_an_event_took_before_tells_what_is_to_come(signable, call, circle):
    """The ledger knows CPU time and size of what the superseded campaign made."""
    signable.sign(*ORDER)
    signable.commit()
    assert signable.launch() == Exit.FINE
    manifest = signable.root / "productions/campaigns/proc7/campaign.yaml"
    text = swap(manifest.read_text(), ("kind: calibration", "kind: calibration\nsupersedes: [proc7]"))
    signable.write(
        "productions/campaigns/proc9/campaign.yaml", swap(text, ("release-03-00-00", "release-03-00-01"))
    )
    signable.lock()
    key = circle.key(PERSON["coordinator"]).file
    code, shown, _ = call("approve", "proc9", "--role", "coordinator", "--key", key, typed="proc9\n")
    assert code == Exit.FINE
    assert "compared with proc7" in shown
    assert "release-03-00-00 (2019-01-05) → release-03-00-01" in shown


@pytest.mark.parametrize(
    ("role", "person", "told"),
    [
        ("calibration", "release", "does not have the role calibration; who has:"),
        ("physics", "release", "there is no role physics"),
        ("data-owner", "data-owner", "there is no retirement proc7"),
    ],
)
def test_who_may_not_is_told_so(signable, call, circle, role, person, told):
    code, _, said = approve(call, circle, role, person=PERSON[person])
    assert code == Exit.USAGE
    assert told in said
    assert files(signable) == []


def test_a_key_that_nobody_has(signable, call, circle):
    code, _, told = approve(call, circle, "release", person="outsider@example.org")
    assert code == Exit.USAGE
    assert "nobody in productions/allowed_signers has the key" in told
    assert call("approve", "proc7", "--role", "release", "--key", "missing")[0] == Exit.USAGE
    assert "--key FILE" in call("approve", "proc7", "--role", "release")[2]


def test_a_key_that_nobody_touches_ends_in_words(signable, call, circle, tmp_path, monkeypatch):
    double = tmp_path / "bin/ssh-keygen"
    double.parent.mkdir()
    double.write_text("#!/bin/sh\nexec sleep 60\n")
    double.chmod(0o755)
    monkeypatch.setenv("PATH", str(double.parent), prepend=os.pathsep)
    monkeypatch.setattr("ci.ssh.signing.PATIENCE", 0.2)
    code, _, told = approve(call, circle, "release")
    assert code == Exit.USAGE
    assert "did not end within" in told
    assert "run this again" in told
    double.unlink()
    (double.parent / "git").symlink_to(shutil.which("git"))
    monkeypatch.setenv("PATH", str(double.parent))
    code, _, told = approve(call, circle, "release")
    assert (code, "install OpenSSH's client" in told) == (Exit.USAGE, True)
    assert files(signable) == []


def test_a_key_in_an_agent(signable, call, circle, tmp_path, monkeypatch):
    socket = tmp_path / "agent"
    with subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL) as agent:
        try:
            wait_until(socket.exists)
            monkeypatch.setenv("SSH_AUTH_SOCK", str(socket))
            for person in ("outsider@example.org", PERSON["release"]):
                subprocess.run(
                    ["ssh-add", "-q", circle.key(person).file], check=True, env={**os.environ}, timeout=30
                )
            code, _, told = call("approve", "proc7", "--role", "release", typed="proc7\n")
        finally:
            agent.terminate()
    assert code == Exit.FINE, told
    signable.commit()
    roles = json.loads(call("approvals", "proc7", "--json")[1])["roles"]
    assert [one["role"] for one in roles if one["by"]] == ["release"]


def test_approvals_tells_what_is_missing_and_the_command(signable, call, circle):
    approve(call, circle, "release", "--days", "7", "--max-actions", "1")
    signable.commit()
    code, table, _ = call("approvals", "proc7")
    assert code == Exit.REFUSED
    for role in ("proposer", "calibration", "coordinator"):
        assert f"b2prod approve proc7 --role {role}" in table
    assert "b2prod approve proc7 --role release" not in table
    found = json.loads(call("approvals", "proc7", "--json")[1])
    assert [one["missing"] for one in found["roles"]] == [1, 0, 1, 1]
    assert not found["complete"]
    signable.sign("proposer", "calibration", "coordinator")
    signable.commit()
    code, _, told = call("reconcile", "--once", "proc7")
    assert code == Exit.REFUSED
    assert "its max_actions is 1, asked for are 2" in told


def test_nobody_approves_for_longer_than_the_policy_allows(signable, call, circle):
    assert approve(call, circle, "release", "--days", "91")[0] == Exit.USAGE
    assert files(signable) == []


def test_taking_it_back(signable, call, circle):
    approve(call, circle, "release")
    code, _, told = approve(call, circle, "release", "--revoke")
    assert code == Exit.FINE, told
    signable.commit()
    assert "it was revoked" in call("approvals", "proc7")[1]
    approve(call, circle, "release", "--comment", "after all")
    signable.commit()
    second = time.time() // 1 + 1
    wait_until(lambda: time.time() >= second)  # it begins in the second after the revocation
    assert [one["by"] for one in json.loads(call("approvals", "proc7", "--json")[1])["roles"]][1] == [
        PERSON["release"]
    ]
    code, _, told = approve(
        call, circle, "release", "--revoke", "--of", PERSON["release"], person=PERSON["data-owner"]
    )
    assert code == Exit.FINE, told
    signable.commit()
    assert "it was revoked" in call("approvals", "proc7")[1]
    assert approve(call, circle, "calibration", "--revoke")[0] == Exit.USAGE, "there is nothing to take back"


def test_without_a_pinned_root_approvals_goes_by_the_checkout_and_says_so(signable, call, circle, tmp_path):
    approve(call, circle, "release")
    code, table, told = call("--state", tmp_path / "other", "approvals", "proc7")
    assert code == Exit.REFUSED
    assert "no trust root is pinned here" in told
    assert PERSON["release"] in table


# ── retirements ──

RETIREMENT = """\
schema: retirement/1
title: The first pass
datasets: [{campaign: prod6}]
reason: superseded
successor: proc7
quarantine_days: 30
"""


@pytest.fixture
def retiring(signable):
    text = (signable.root / "productions/campaigns/proc7/campaign.yaml").read_text()
    signable.write("productions/archive/prod6/campaign.yaml", swap(text, ("kind:", "state: stopped\nkind:")))
    signable.write("productions/retirements/first.yaml", RETIREMENT)
    signable.commit()
    return signable


def test_a_retirement_is_approved_by_the_data_owner_for_exactly_its_actions(retiring, call, circle):
    key = circle.key(PERSON["data-owner"]).file
    assert call("check")[0] == Exit.FINE
    code, table, _ = call("approvals", "first", "--retirement")
    assert code == Exit.REFUSED
    assert "b2prod approve first --role data-owner" in table
    code, shown, told = call("approve", "first", "--role", "data-owner", "--key", key, typed="first\n")
    assert code == Exit.FINE, told
    assert "prod6: 0 outputs, 0.0 GB" in shown
    assert "30 days" in shown
    retiring.commit()
    assert call("check")[0] == Exit.FINE
    assert call("approvals", "first", "--retirement")[0] == Exit.FINE
    retiring.write(
        "productions/retirements/first.yaml",
        swap(RETIREMENT, ("{campaign: prod6}", "{campaign: prod6, step: reco}")),
    )
    assert call("approvals", "first", "--retirement")[0] == Exit.REFUSED, "not even before it is committed"
    retiring.commit()
    code, table, _ = call("approvals", "first", "--retirement")
    assert code == Exit.REFUSED
    assert "what data-owner answers for has changed since" in table
    retiring.write(
        "productions/retirements/first.yaml", swap(RETIREMENT, ("The first pass", "The very first pass"))
    )
    retiring.commit()
    assert call("approvals", "first", "--retirement")[0] == Exit.FINE, "its title is not an action"


def test_a_retirement_is_not_for_others_to_approve(retiring, call, circle):
    key = circle.key(PERSON["coordinator"]).file
    assert call("approve", "first", "--role", "data-owner", "--key", key, typed="first\n")[0] == Exit.USAGE
    assert call("approve", "second", "--role", "data-owner", "--key", key, typed="second\n")[0] == Exit.USAGE


# ── the trust root ──


def change_roles(signable, *changes):
    signable.write("productions/roles.yaml", write_roles(("version: 1", "version: 2"), *changes))


def test_a_root_that_revokes_a_key_leaves_what_others_signed(signable, call, circle):
    signable.sign(*ORDER)
    signable.commit()
    for name, text in circle.root(
        roles=write_roles(("version: 1", "version: 2")), revoked=circle.key(PERSON["release"]).public + "\n"
    ).items():
        signable.write(name, text)
    signable.commit()
    for person in (PERSON["coordinator"], PERSON["data-owner"]):
        assert sign_root(call, circle, person)[0] == Exit.FINE
    signable.commit()
    assert call("trust", "pin")[0] == Exit.FINE
    code, table, _ = call("approvals", "proc7")
    assert code == Exit.REFUSED
    assert f"the key of {PERSON['release']} is revoked" in table
    roles = json.loads(call("approvals", "proc7", "--json")[1])["roles"]
    assert [one["role"] for one in roles if one["missing"]] == ["release"]


def sign_root(call, circle, person, typed="2\n"):
    return call("trust", "sign", "--key", circle.key(person).file, typed=typed)


def test_the_trust_root_moves_only_when_enough_administrators_of_the_old_one_signed(signable, call, circle):
    mine = f"people: [{PERSON['coordinator']}, {PERSON['proposer']}, {PERSON['data-owner']}]"
    change_roles(signable, (mine, mine.replace(PERSON["data-owner"], PERSON["other"])))
    signable.commit()
    code, _, told = call("trust", "pin")
    assert code == Exit.REFUSED
    assert "2 administrators" in told
    assert sign_root(call, circle, PERSON["release"])[0] == Exit.USAGE
    assert sign_root(call, circle, PERSON["other"])[0] == Exit.USAGE, "an administrator of the new root only"
    assert sign_root(call, circle, PERSON["coordinator"], typed="1\n")[0] == Exit.REFUSED
    assert sign_root(call, circle, PERSON["coordinator"])[0] == Exit.FINE
    signable.commit()
    assert call("trust", "pin")[0] == Exit.REFUSED
    assert "MISSING (1 of 2)" in call("trust", "show")[1]
    assert sign_root(call, circle, PERSON["data-owner"])[0] == Exit.FINE
    assert call("trust", "pin")[0] == Exit.REFUSED, "what is not committed does not count"
    signable.commit()
    code, _, told = call("trust", "pin")
    assert code == Exit.FINE
    assert "moved the trust root" in told
    assert "pinned already" in call("trust", "pin")[2]


def test_a_second_administrator_signs_on_their_own_machine(signable, call, circle, tmp_path):
    """Where nothing is pinned, and the branch has the new root already: what it follows is on main."""
    change_roles(signable, ("validity_days: 90", "validity_days: 30"))
    laptops = [("--state", tmp_path / name, "trust", "sign", "--key") for name in ("one", "two")]
    before = signable.git("rev-parse", "HEAD")
    signable.git("checkout", "-q", "-b", "roles")
    signable.commit("a new root")
    assert call(*laptops[0], circle.key(PERSON["coordinator"]).file, typed="2\n")[0] == Exit.FINE
    signable.commit("signed once")
    code, _, told = call(*laptops[1], circle.key(PERSON["data-owner"]).file, typed="2\n")
    assert code == Exit.FINE, told
    signable.commit("signed twice")
    signable.git("checkout", "-q", "main")
    signable.git("merge", "-q", "--ff-only", "roles")
    code, _, told = call(*laptops[1], circle.key(PERSON["proposer"]).file, typed="2\n")
    assert code == Exit.USAGE
    assert "`b2prod trust sign --base REV`" in told
    words = (*laptops[1], circle.key(PERSON["proposer"]).file, "--base", before)
    assert call(*words, typed="2\n")[0] == Exit.FINE
    assert call("trust", "pin")[0] == Exit.FINE


def test_a_root_that_changes_a_site_alone_is_signed_after_it_was_committed(signable, call, circle, tmp_path):
    site = signable.root / "productions/sites/local.yaml"
    change_roles(signable)
    site.write_text(site.read_text() + "environment: [PATH]\n")
    signable.git("checkout", "-q", "-b", "site")
    signable.commit("another site")
    words = ("--state", tmp_path / "laptop", "trust", "sign", "--key", circle.key(PERSON["proposer"]).file)
    assert call(*words, typed="2\n")[0] == Exit.FINE


def test_a_root_that_moved_and_is_not_pinned_sends_nobody_to_sign_again_and_again(signable, call, circle):
    change_roles(signable, ("validity_days: 90", "validity_days: 30"))
    signable.commit("a new root, which nobody signed")
    code, _, told = approve(call, circle, "release")
    assert code == Exit.FINE
    assert "roles or keys here are not those that are pinned" in told
    signable.commit("signed for the new root")
    code, table, _ = call("approvals", "proc7")
    assert code == Exit.REFUSED
    assert "the policy was another one when it was signed" in table
    remedy = table.partition("run next")[2]
    assert (
        remedy.index("b2prod trust sign") < remedy.index("b2prod trust pin") < remedy.index("b2prod approve")
    )
    for person in (PERSON["coordinator"], PERSON["data-owner"]):
        assert sign_root(call, circle, person)[0] == Exit.FINE
    signable.commit("signed")
    assert call("trust", "pin")[0] == Exit.FINE
    table = call("approvals", "proc7")[1]
    assert "trust pin" not in table
    assert "b2prod approve proc7 --role release" not in table


def test_a_root_that_changed_after_it_was_signed_is_not_moved_to(signable, call, circle):
    change_roles(signable)
    signable.commit()
    for person in (PERSON["coordinator"], PERSON["data-owner"]):
        assert sign_root(call, circle, person)[0] == Exit.FINE
    change_roles(signable, ("default: [proposer, release, calibration, coordinator]", "default: [proposer]"))
    signable.commit()
    assert call("trust", "pin")[0] == Exit.REFUSED
    site = signable.root / "productions/sites/local.yaml"
    change_roles(signable)
    site.write_text(site.read_text() + "environment: [PATH]\n")
    signable.commit()
    assert call("trust", "pin")[0] == Exit.REFUSED, "sites belong to the root"


def test_a_root_that_is_no_text_is_not_pinned_and_its_file_is_told(signable, call):
    (signable.root / "productions/sites/logo.png").write_bytes(b"\x89PNG")
    signable.commit()
    for words in (("trust", "pin"), ("trust", "sign")):
        code, table, told = call(*words)
        assert code == Exit.FINDINGS
        assert "productions/sites/logo.png" in table + told
        assert "`git rm productions/sites/logo.png`" in table + told


def test_a_root_never_goes_back(signable, call, circle):
    signable.write("productions/roles.yaml", write_roles(("validity_days: 90", "validity_days: 91")))
    signable.commit()
    code, _, told = call("trust", "pin")
    assert code == Exit.REFUSED
    assert "raise `version`" in told
    assert sign_root(call, circle, PERSON["coordinator"])[0] == Exit.USAGE


def test_a_site_can_name_the_root_that_it_began_with(signable, call, circle, tmp_path, monkeypatch):
    digest = call("trust", "show")[1].split()[1]
    signable.sign(*ORDER)
    signable.commit()
    monkeypatch.setenv("B2PROD_TRUST", "0" * 64)
    code, _, told = call("reconcile", "--once", "proc7")
    assert code == Exit.REFUSED
    assert "does not come from" in told
    assert call("--state", tmp_path / "other", "trust", "pin")[0] == Exit.REFUSED
    monkeypatch.setenv("B2PROD_TRUST", "nonsense")
    assert call("reconcile", "--once", "proc7")[0] == Exit.USAGE
    monkeypatch.setenv("B2PROD_TRUST", digest)
    assert call("--state", tmp_path / "other", "trust", "pin")[0] == Exit.FINE
    assert call("reconcile", "--once", "proc7")[0] == Exit.FINE
