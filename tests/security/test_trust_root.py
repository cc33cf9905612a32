"""The trust root and time: what administrators are shown is what they sign, and nothing comes back with a clock."""

from __future__ import annotations

import io
import json
import shutil
import subprocess
import time
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.approvals.root import FOLDER, find_pinned
from ci.approvals.root_text import describe_changes, describe_merges
from ci.changes.commits import read_commit
from ci.cli.exits import Exit
from reconciler.ledger.reading.latest_time import read_latest, record_latest
from reconciler.ledger.store.database import State, opened, reading
from reconciler.ledger.writing.operator_actions import PauseWriter
from reconciler.ledger.writing.transaction import Writer
from reconciler.model.states import PauseKind
from reconciler.outside.clock import Clock
from reconciler.outside.errors import GuardRefused
from schemas.policy.policy import REVOKED, ROLES, SIGNERS, read_policy
from schemas.policy.signers import fingerprint
from tests.support.inputs.keys import ORDER, PERSON, make_key, write_roles

SITE_FILE = "productions/sites/local.yaml"
TWO = (PERSON["coordinator"], PERSON["data-owner"])


@pytest.fixture
def call(signable, capsys, monkeypatch):
    """Calls b2prod with something typed; exit code and all that was told."""
    monkeypatch.delenv("SSH_AUTH_SOCK", raising=False)

    def called(*words, typed="2\n"):
        capsys.readouterr()
        monkeypatch.setattr("sys.stdin", io.StringIO(typed))
        code = signable.call(*words)
        told = capsys.readouterr()
        assert "Traceback" not in told.out + told.err
        return code, told.out + told.err

    return called


def sign(call, circle, person, *more, typed="2\n"):
    return call("trust", "sign", "--key", circle.key(person).file, *more, typed=typed)


def propose(signable, *changes, site="") -> None:
    """Commits a root with version 2."""
    signable.write(ROLES, write_roles(("version: 1", "version: 2"), *changes))
    if site:
        (signable.root / SITE_FILE).write_text((signable.root / SITE_FILE).read_text() + site)
    signable.commit("a new root")


# ── time ──


def test_an_approval_that_was_seen_to_be_over_is_over_when_the_clock_goes_back(signable):
    now = datetime.now(UTC)
    signable.sign(*ORDER, not_after=(now + timedelta(days=1)).replace(microsecond=0))
    signable.commit()
    with opened(signable.state):
        pass
    later, _ = signable.gate(lambda: now + timedelta(days=1, seconds=1)).sort(["proc7"])
    assert later == []
    assert signable.gate(lambda: now).sort(["proc7"])[0] == [], (
        "the clock went back, and the approval came with it"
    )
    with pytest.raises(GuardRefused, match="it held until"):
        signable.gate(lambda: now).verify(["proc7"], signable.state_view().plan)


@pytest.mark.parametrize(
    "before", [timedelta(microseconds=1), timedelta(milliseconds=500), timedelta(days=300)]
)
def test_what_ended_a_moment_ago_has_ended(signable, before):
    end = (datetime.now(UTC) + timedelta(days=1)).replace(microsecond=0)
    signable.sign(*ORDER, not_after=end)
    signable.commit()
    assert signable.gate(lambda: end + timedelta(microseconds=1)).sort(["proc7"])[0] == []
    assert signable.gate(lambda: end + timedelta(microseconds=1) - before).sort(["proc7"])[0] == []


def test_whatever_the_ledger_writes_is_a_time_that_it_saw(signable):
    ahead = datetime.now(UTC).replace(microsecond=0) + timedelta(days=200)
    signable.sign(*ORDER)
    signable.commit()
    with opened(signable.state) as engine:
        writer = PauseWriter(Writer(engine, None, Clock(time=ahead.timestamp)))
        assert writer.pause("site:other", PauseKind.OPERATOR, "looked at", "x")
    with reading(signable.state) as connection:
        assert read_latest(connection) == ahead
    assert signable.launch() == Exit.REFUSED


def test_a_clock_that_had_been_wrong_is_set_back_by_an_operators_word(signable, call):
    now = datetime.now(UTC)
    signable.sign(*ORDER)
    signable.commit()
    with opened(signable.state) as engine, engine.begin() as connection:
        record_latest(connection, now + timedelta(days=4000))
        record_latest(connection, now)
    assert signable.launch() == Exit.REFUSED
    assert "the clock of this machine is behind" in call("trust", "show")[1]
    assert call("trust", "clock", "--set-back", typed="yes\n")[0] == Exit.REFUSED
    assert signable.launch() == Exit.REFUSED
    assert call("trust", "clock", "--set-back", typed=f"{now:%Y-%m-%d}\n")[0] == Exit.FINE
    assert signable.launch() == Exit.FINE


# ── roots ──


def test_the_work_tree_is_not_what_is_signed_shown_or_pinned(signable, call, circle):
    before = call("trust", "show")[1]
    signable.write(ROLES, write_roles(("version: 1", "version: 2")))
    for words in (("trust", "show"), ("trust", "pin"), ("trust", "sign", "--key", circle.key(TWO[0]).file)):
        code, told = call(*words)
        assert code == Exit.REFUSED, words
        assert ROLES in told
    assert not (signable.root / FOLDER).exists()
    assert call("trust", "show", "--head", "HEAD") == (Exit.FINE, before)
    signable.commit()
    assert sign(call, circle, TWO[0])[0] == Exit.FINE


DIRT = {
    "a site that is not committed": lambda root: (root / "productions/sites/other.yaml").write_text("x"),
    "a site that is gone": lambda root: (root / SITE_FILE).unlink(),
    "a site that is a link to the same bytes": lambda root: (
        (root / SITE_FILE).rename(root / "local.yaml"),
        (root / SITE_FILE).symlink_to(root / "local.yaml"),
    ),
    "keys": lambda root: (root / SIGNERS).write_text((root / SIGNERS).read_text() + "# x\n"),
    "revocations": lambda root: (root / REVOKED).write_text("# other\n"),
    "sites in a link": lambda root: (
        (root / "productions/sites").rename(root / "sites"),
        (root / "productions/sites").symlink_to(root / "sites"),
    ),
    "staged and hidden from git's status": lambda root: (
        (root / SITE_FILE).write_text((root / SITE_FILE).read_text() + "environment: [PATH]\n"),
        subprocess.run(["git", "update-index", "--assume-unchanged", SITE_FILE], cwd=root, check=True),
    ),
}


@pytest.mark.parametrize("dirt", DIRT)
def test_a_dirty_policy_is_refused(dirt, signable, call, circle, tmp_path):
    DIRT[dirt](signable.root)
    for words in (("trust", "show"), ("--state", tmp_path / "other", "trust", "pin"), ("trust", "pin")):
        assert call(*words)[0] == Exit.REFUSED, words
    assert sign(call, circle, TWO[0])[0] == Exit.REFUSED
    assert find_pinned(State(tmp_path / "other")) is None


CHANGES = {
    "a person more": (
        [(f"people: [{PERSON['calibration']}, ", f"people: [{PERSON['calibration']}, {PERSON['other']}, ")],
        "",
        f"roles.calibration.people: + {PERSON['other']}",
    ),
    "one administrator is enough": (
        [("threshold: 2", "threshold: 1")],
        "",
        "administrators.threshold: 2 → 1",
    ),
    "nobody must sign for calibration": (
        [
            (
                "default: [proposer, release, calibration, coordinator]",
                "default: [proposer, release, coordinator]",
            )
        ],
        "",
        "requires.default: - calibration",
    ),
    "a role that is there already signs": (
        [("scope: calibration", "scope: release")],
        "",
        "roles.calibration.scope",
    ),
    "the merge is the approval": (
        [("mode: signatures", "mode: merge\nbranch: main")],
        "",
        "whoever can merge to main",
    ),
    "a site's environment": (
        [],
        "environment: [HOME, KRB5CCNAME]\n",
        'environment: ["HOME", "KRB5CCNAME"] (new)',
    ),
    "a command": ([], "prestage: {command: [/tmp/evil, now]}\n", '"/tmp/evil", "now"'),
}


@pytest.mark.parametrize("change", CHANGES)
def test_who_signs_a_root_is_shown_what_changes(change, signable, call, circle):
    changes, site, told = CHANGES[change]
    propose(signable, *changes, site=site)
    for answer in (sign(call, circle, TWO[0]), call("trust", "show"), call("trust", "pin")):
        assert told in answer[1], answer[1]


def test_who_signs_a_root_is_shown_whose_key_changes(signable, call, circle, tmp_path):
    key = make_key(tmp_path, "another")
    lines = (signable.root / SIGNERS).read_text().splitlines()
    mine = circle.key(PERSON["release"]).public
    changed = [line.replace(mine, key.public) for line in lines if PERSON["other"] not in line]
    signable.write(SIGNERS, "\n".join(changed) + "\n")
    signable.write(REVOKED, f"{mine}\n")
    propose(signable, (f", {PERSON['other']}]", "]"))
    code, told = sign(call, circle, TWO[0])
    assert code == Exit.FINE
    old, new = fingerprint(circle.key(PERSON["release"]).blob), fingerprint(key.blob)
    assert f"ANOTHER KEY of {PERSON['release']}: {old} (ssh-ed25519) → {new} (ssh-ed25519)" in told
    assert f"{PERSON['other']} has no key any more" in told
    assert f"revokes the key {old}" in told


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(0, 9) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=8,
)


@given(
    st.dictionaries(st.text(max_size=6), VALUES, max_size=4),
    st.dictionaries(st.text(max_size=6), VALUES, max_size=4),
)
def test_no_difference_of_a_root_goes_unsaid_and_none_acts_on_a_terminal(old, new):
    """Whatever is in a file of a root: where the values differ, something of it is shown."""
    sides = [{SITE_FILE: json.dumps(one).encode(), ROLES: json.dumps(one).encode()} for one in (old, new)]
    told = describe_changes(*sides)
    assert all(line.replace("→", "").isascii() and line.isprintable() for line in told)
    if json.dumps(old) != json.dumps(new):
        assert SITE_FILE in told
        assert ROLES in told
        shown = [line for line in told if line.startswith("  ")]
        if json.dumps(old, sort_keys=True) != json.dumps(new, sort_keys=True):
            assert not any("only its layout" in line for line in shown)


def test_what_is_shown_is_plain_text():
    evil = "x\u202e\u001b[2J"
    (line,) = describe_changes({}, {f"productions/sites/{evil}": b"x"})[:1]
    assert line.isascii()
    assert line.isprintable()


@pytest.mark.parametrize("where", ["", "/x", "/x/administrator.json", "/x/administrator.json.sig"])
def test_signing_writes_through_no_link(where, signable, call, circle, tmp_path):
    propose(signable)
    policy, _ = read_policy(read_commit(signable.root).files)
    person = f"administrator.{TWO[0]}"
    path = f"{FOLDER}{where}".replace("/x", f"/{policy.root[:16]}").replace("administrator", person)
    outside = tmp_path / "outside"
    if where.endswith(("json", "sig")):
        outside.write_text("mine")
    else:
        outside.mkdir()
    (signable.root / path).parent.mkdir(parents=True, exist_ok=True)
    (signable.root / path).symlink_to(outside)
    code, told = sign(call, circle, TWO[0])
    assert code == Exit.REFUSED
    assert "a symbolic link" in told
    assert (
        [one.name for one in outside.iterdir()] == [] if outside.is_dir() else outside.read_text() == "mine"
    )


def test_an_approval_and_a_lock_are_written_through_no_link(signable, call, circle, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    folder = signable.root / "productions/campaigns/proc7"
    (folder / "approvals").symlink_to(outside)
    assert call(
        "approve", "proc7", "--role", "release", "--key", circle.key(PERSON["release"]).file, typed="proc7\n"
    )[0]
    assert list(outside.iterdir()) == []
    (folder / "approvals").unlink()
    (folder / "campaign.lock").unlink()
    (folder / "campaign.lock").symlink_to(outside / "lock")
    assert call("resolve", "proc7")[0] != Exit.FINE
    assert list(outside.iterdir()) == []


def test_what_is_signed_is_the_step_from_the_root_that_was_shown(signable, call, circle, tmp_path):
    """A root on main that nobody pinned hides what it changed from who compares with it."""
    propose(signable, site="environment: [HOME]\n")
    signable.git("checkout", "-q", "-b", "next")
    signable.write(ROLES, write_roles(("version: 1", "version: 3")))
    signable.commit("harmless, it seems")
    for person in TWO:
        code, told = sign(call, circle, person, typed="3\n")
        assert code == Exit.FINE
        assert "HOME" in told, "the root that is pinned here is what it is held against"
    shutil.rmtree(signable.root / FOLDER)
    laptop = ("--state", tmp_path / "laptop", "trust", "sign", "--key")
    for person in TWO:
        code, told = call(*laptop, circle.key(person).file, typed="3\n")
        assert code == Exit.FINE
        assert "HOME" not in told
    signable.commit("signed on laptops")
    code, told = call("trust", "pin")
    assert code == Exit.REFUSED
    assert "follows another root" in told


def test_a_statement_about_a_root_is_taken_back_for_good(signable, call, circle):
    propose(signable, ("threshold: 2", "threshold: 1"))
    for person in TWO:
        assert sign(call, circle, person)[0] == Exit.FINE
    signed = signable.commit("signed by two")
    mine = circle.key(TWO[1]).file
    assert (
        call("trust", "revoke", "--key", circle.key(PERSON["release"]).file, typed=f"{TWO[1]}\n")[0]
        == Exit.USAGE
    )
    assert call("trust", "revoke", "--key", mine, typed="no\n")[0] == Exit.REFUSED
    assert call("trust", "revoke", "--key", mine, typed=f"{TWO[1]}\n")[0] == Exit.FINE
    signable.commit("taken back")
    code, told = call("trust", "pin")
    assert code == Exit.REFUSED
    assert "it was revoked" in told
    signable.git("reset", "-q", "--hard", signed)
    code, told = call("trust", "pin")
    assert code == Exit.REFUSED, "the revocation was taken away"
    assert "it was revoked" in told
    assert "it was revoked" in call("trust", "show")[1]
    time.sleep(1.1)
    assert sign(call, circle, TWO[1])[0] == Exit.FINE
    signable.commit("signed again")
    assert call("trust", "pin")[0] == Exit.FINE


def test_a_revocation_that_one_turn_saw_is_remembered(signable, call, circle):
    propose(signable, ("threshold: 2", "threshold: 1"))
    for person in TWO:
        assert sign(call, circle, person)[0] == Exit.FINE
    signed = signable.commit("signed by two")
    laptop = ("--state", signable.root / "laptop")
    words = (*laptop, "trust", "revoke", "--of", TWO[1], "--base", "HEAD~1", "--key", circle.key(TWO[0]).file)
    assert call(*words, typed=f"{TWO[1]}\n")[0] == Exit.FINE
    signable.commit("another takes it back")
    signable.call("reconcile", "--once")
    signable.git("reset", "-q", "--hard", signed)
    assert call("trust", "pin")[0] == Exit.REFUSED


def test_a_revocation_counts_wherever_it_lies_and_those_of_strangers_do_not(signable, call, circle):
    propose(signable)
    for person in TWO:
        assert sign(call, circle, person)[0] == Exit.FINE
    signed = signable.commit("signed")
    assert call("trust", "revoke", "--key", circle.key(TWO[0]).file, typed=f"{TWO[0]}\n")[0] == Exit.FINE
    ((folder,), others) = [*(signable.root / FOLDER).iterdir()], signable.root / FOLDER / "0000000000000000"
    others.mkdir()
    for file in list(folder.glob("*.revoked.json*")):
        file.rename(others / file.name.replace(".revoked.json", ".json"))
    signable.commit("the revocation under another name, in another folder")
    assert call("trust", "pin")[0] == Exit.REFUSED
    assert signed


# ── what a merge may do ──


def test_a_root_that_exempts_a_site_says_what_a_merge_does_there(signable, call):
    exemption = (
        "requires:\n",
        "requires:\n  exemptions:\n    - {site: local, engine: local, area: data, nobody: true, reason: tests}\n",
    )
    propose(signable, exemption)
    told = call("trust", "show")[1]
    assert "merges      under the repository's root" in told
    for words in (
        "nobody signs",
        "whoever can merge a campaign",
        "on this machine, as the user of the reconciler",
    ):
        assert words in told
    assert "under the pinned root" not in told
    told = call("--state", signable.root / "other", "trust", "pin")[1]
    assert "whoever can merge a campaign" in told
    assert "merges      under the pinned root" in call("--state", signable.root / "other", "trust", "show")[1]


def test_where_all_is_signed_a_merge_does_nothing(circle):
    assert describe_merges(circle.policy().roles) == []
