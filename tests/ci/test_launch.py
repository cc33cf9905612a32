"""Nobody launches a campaign alone: what was tried against a reconciler, with real repositories and real keys.

A campaign cannot be launched by any one person, by an edited lock, a moved tag, a replayed or expired approval, a rebase,
an evil merge, or a second key of the same person.
"""

from __future__ import annotations

import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256

import pytest
from sqlalchemy import delete, update

from ci.approvals.evidence import SIGNATURE, name_revocation
from ci.cli.exits import Exit
from reconciler.execution.apply import reconcile
from reconciler.execution.turn_options import TurnOptions
from reconciler.ledger.reading.latest_time import read_latest
from reconciler.ledger.schema.decision_tables import launches, trust_roots
from reconciler.ledger.schema.tables import intents
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.trust import list_revoked, list_withdrawals, read_launch, record_withdrawals
from reconciler.outside.errors import GuardRefused, SourceUnavailable
from schemas.policy.statement import REVOKE, Ceilings
from tests.support.inputs.keys import ORDER, PERSON
from tests.support.worlds.builders import snapshot
from tests.support.worlds.signable_checkout import SignableCheckout
from tests.support.worlds.worlds import QUIET


@pytest.fixture
def signed(signable):
    """Approved by four people, committed."""
    signable.sign(*ORDER)
    signable.commit("approvals")
    return signable


def refused(signable, capsys) -> str:
    """What a launch that is refused tells; nothing was started."""
    capsys.readouterr()
    assert signable.launch() == Exit.REFUSED
    assert signable.starts == []
    assert signable.attempts() == {}
    return capsys.readouterr().err


def test_what_nobody_approved_is_not_launched(signable, capsys):
    told = refused(signable, capsys)
    assert "proc7 may not be launched" in told
    for role in ORDER:
        assert f"{role} " in told
        assert f"b2prod approve proc7 --role {role}" in told


@pytest.mark.quick
def test_what_four_people_approved_is_launched_and_their_approvals_are_recorded(signed):
    assert signed.launch() == Exit.FINE
    assert len(signed.produced()) == 2
    with reading(signed.state) as connection:
        launch = read_launch(connection, "proc7")
    assert launch.generation == signed.repository().campaigns["proc7"].lock.generation
    assert {approval for _, approval in signed.rows(intents, "id", "approval")} == {launch.approval}


def test_without_a_pinned_root_nothing_is_launched(tmp_path, circle, capsys):
    signable = SignableCheckout(tmp_path, circle)
    signable.sign(*ORDER)
    signable.commit()
    with opened(signable.state) as engine, engine.begin() as connection:
        connection.execute(delete(trust_roots))
    assert "b2prod trust pin" in refused(signable, capsys)


@pytest.mark.parametrize("person", ["proposer", "coordinator", "release"])
def test_no_one_person_launches(signable, capsys, person):
    """In every role that they have."""
    roles = [role.name for role in signable.circle.policy().roles.roles if PERSON[person] in role.people]
    signable.sign(*[role for role in roles if role in ORDER], person=PERSON[person])
    signable.commit("by myself", GIT_AUTHOR_EMAIL=PERSON["calibration"])
    assert refused(signable, capsys).count("MISSING") >= 3


def test_a_second_key_of_the_same_person_launches_nothing(signable, capsys):
    signable.sign("proposer", "calibration", "release")
    signable.sign("coordinator", key="another key of the proposer")
    signable.commit()
    assert "it was made with another key" in refused(signable, capsys)
    everybody = "".join(map(signable.circle.line, PERSON.values()))
    line = signable.circle.line("another key of the proposer").replace(
        "another key of the proposer", PERSON["coordinator"]
    )
    signers = everybody.replace(signable.circle.line(PERSON["coordinator"]), line)
    for name, text in signable.circle.root(signers=signers).items():
        signable.write(name, text)
    signable.sign(*ORDER[:3])
    signable.sign("coordinator", key="another key of the proposer")
    signable.commit("with the key in the list")
    assert "the policy was another one" in refused(signable, capsys)


def test_approvals_that_are_not_committed_do_not_count(signable, capsys):
    signable.sign(*ORDER)
    assert refused(signable, capsys).count("nobody has signed") == 4


def test_what_is_launched_is_what_is_committed(signed, capsys):
    """The work tree has another title than the commit that was approved; even that is told."""
    signed.change(("A campaign of a test", "Another campaign"))
    assert "is not what is in the commit" in refused(signed, capsys)


def test_an_edited_lock_launches_nothing(signed, capsys):
    file = signed.root / "productions/campaigns/proc7/campaign.lock"
    file.write_text(file.read_text().replace("3:1-2", "3:1"))
    signed.commit("edited")
    assert signed.launch() == Exit.FINDINGS
    assert "BP605" in capsys.readouterr().err
    assert signed.starts == []


def test_a_lock_that_was_edited_with_its_manifest_launches_nothing(signed, capsys):
    signed.change(("max_units: 100", "max_units: 100000"))
    signed.commit("more")
    told = refused(signed, capsys)
    assert "what coordinator answers for has changed since" in told
    assert "what proposer answers for has changed since" in told
    assert "--role release" not in told, "limits are not the release manager's"


def test_s29_a_moved_tag_launches_nothing(signed, capsys):
    moved = snapshot("tag_a", "CDCGeometry 2 " + "1" * 32 + " 0,0,-1,-1")
    signed.write("productions/global-tags/tag_a.iov", moved)
    signed.commit("the tag moved")
    assert signed.launch() == Exit.FINDINGS
    assert signed.starts == []
    signed.lock()
    signed.commit("and the lock with it")
    assert "what calibration answers for has changed since" in refused(signed, capsys)


def test_s28_approvals_of_another_campaign_launch_nothing(signed, capsys):
    folder = signed.root / "productions/campaigns"
    shutil.copytree(folder / "proc7", folder / "proc9")
    manifest = folder / "proc9/campaign.yaml"
    manifest.write_text(manifest.read_text().replace('"1-2"', '"1"'))
    shutil.rmtree(folder / "proc7")
    signed.lock()
    signed.commit("proc9")
    capsys.readouterr()
    assert signed.call("reconcile", "--once", "proc9") == Exit.REFUSED
    assert "it is for campaign/proc7" in capsys.readouterr().err
    assert signed.starts == []


def test_s28_an_older_generation_is_not_launched_again(signed, capsys):
    first = signed.git("rev-parse", "HEAD")
    signed.change(('ranges: "1-2"', 'ranges: "1"'))
    signed.sign(*ORDER)
    signed.commit("one run less")
    assert signed.launch() == Exit.FINE
    starts = signed.starts
    signed.git("reset", "-q", "--hard", first)
    capsys.readouterr()
    assert signed.launch() == Exit.REFUSED
    assert "this is generation 2 of proc7, and 3 was launched already" in capsys.readouterr().err
    assert signed.starts == starts


def test_an_expired_approval_launches_nothing(signed):
    later = datetime.now(UTC) + timedelta(days=31)
    gate = signed.gate(lambda: later)
    with pytest.raises(GuardRefused, match="it held until"):
        reconcile(signed.state, signed.repository(), ["proc7"], QUIET, TurnOptions(gate))
    assert signed.starts == []


def test_s21_an_evil_merge_launches_nothing(signable, capsys):
    """What nobody signed comes with the merge commit alone; its trailers say that everybody agreed."""
    signable.git("checkout", "-q", "-b", "proposal")
    signable.sign(*ORDER)
    signable.commit("approvals")
    signable.git("checkout", "-q", "main")
    signable.commit("meanwhile")
    signable.git("merge", "-q", "--no-ff", "--no-commit", "proposal")
    signable.change(('ranges: "1-2"', 'ranges: "1"'))
    trailers = "".join(f"\nApproved-by: {PERSON[role]}" for role in ORDER)
    signable.commit(f"Merge branch 'proposal'\n{trailers}")
    assert len(signable.git("rev-list", "--parents", "-n1", "HEAD").split()) == 3
    assert refused(signable, capsys).count("MISSING") == 3, "who answers for the release saw what is merged"


def test_an_honest_merge_and_a_squash_keep_approvals(signable):
    signable.git("checkout", "-q", "-b", "proposal")
    signable.sign(*ORDER)
    signable.commit("approvals")
    signable.git("checkout", "-q", "main")
    signable.git("merge", "-q", "--squash", "proposal")
    signable.commit("squashed, by somebody else", GIT_AUTHOR_EMAIL="bot@example.org")
    assert signable.launch() == Exit.FINE


def test_a_rebase_neither_gives_approvals_nor_takes_them(signable, capsys):
    signable.git("checkout", "-q", "-b", "proposal")
    signable.sign("proposer", "release", "calibration")
    signable.commit("approvals")
    signable.git("checkout", "-q", "main")
    signable.commit("meanwhile")
    signable.git("checkout", "-q", "proposal")
    signable.git("rebase", "-q", "main", GIT_COMMITTER_EMAIL=PERSON["coordinator"])
    assert refused(signable, capsys).count("MISSING") == 1
    signable.sign("coordinator")
    signable.commit("the last one")
    signable.git("rebase", "-q", "--force-rebase", "main", GIT_COMMITTER_EMAIL="bot@example.org")
    assert signable.launch() == Exit.FINE


def test_a_rebase_that_changes_content_launches_nothing(signed, capsys):
    signed.change(('ranges: "1-2"', 'ranges: "1"'), lock=False)
    signed.git("add", "-A", "productions")
    signed.git("commit", "-q", "--amend", "--no-edit")
    signed.lock()
    signed.git("add", "-A", "productions")
    signed.git("commit", "-q", "--amend", "--no-edit")
    assert refused(signed, capsys).count("MISSING") == 3


def test_s24_authors_and_committers_prove_nothing(signable, capsys):
    for role in ORDER:
        signable.sign(role, key="outsider@example.org")
        signable.commit(role, GIT_AUTHOR_EMAIL=PERSON[role], GIT_COMMITTER_EMAIL=PERSON[role])
    assert refused(signable, capsys).count("MISSING") == 4


def test_a23_roles_edited_in_the_same_change_launch_nothing(signable, capsys):
    mine = PERSON["proposer"]
    roles = signable.circle.root()["productions/roles.yaml"]
    signable.write(
        "productions/roles.yaml",
        roles.replace("default: [proposer, release, calibration, coordinator]", "default: [release]"),
    )
    signable.sign("release", person=mine)
    signable.commit("I may")
    told = refused(signable, capsys)
    assert told.count("MISSING") == 4
    assert "the policy was another one when it was signed" in told


def test_a_site_that_was_given_other_commands_runs_nothing(signed, capsys):
    file = signed.root / "productions/sites/local.yaml"
    file.write_text(file.read_text() + "environment: [LD_PRELOAD]\n")
    signed.commit("a variable more")
    assert "sites/local.yaml is not as it is in the pinned trust root" in refused(signed, capsys)


def test_a_launch_that_is_refused_is_not_remembered_as_one(signable):
    with pytest.raises(GuardRefused, match="may not be launched"):
        signable.gate().verify(["proc7"], signable.state_view().plan)
    with reading(signable.state) as connection:
        assert read_launch(connection, "proc7") is None


def test_a_look_at_what_may_be_launched_is_remembered_as_no_launch_but_time_moves_on(signed):
    now = datetime.now(UTC).replace(microsecond=0)
    for moment in (now + timedelta(days=1), now + timedelta(days=2)):
        assert signed.gate(lambda moment=moment: moment).sort(["proc7"]) == (["proc7"], {})
        with reading(signed.state) as connection:
            assert read_launch(connection, "proc7") is None
            assert read_latest(connection) == moment


def test_a_plan_that_was_made_of_another_manifest_launches_nothing(signed):
    plan = signed.state_view().plan
    (mine,) = plan.campaigns
    for pin in dict(mine.pins):
        other = replace(
            mine, pins=tuple((name, "0" * 64 if name == pin else value) for name, value in mine.pins)
        )
        with pytest.raises(GuardRefused, match="what would be launched is not what is in"):
            signed.gate().verify(["proc7"], replace(plan, campaigns=(other,)))


def test_a_site_that_was_committed_with_other_words_launches_nothing_whatever_lies_in_the_work_tree(
    signed, capsys
):
    file = signed.root / "productions/sites/local.yaml"
    pinned = file.read_text()
    file.write_text(f"{pinned}# another word\n")
    signed.commit("the site")
    file.write_text(pinned)
    assert "is not as it is in the pinned trust root" in refused(signed, capsys)


def test_an_exemption_holds_for_the_site_as_it_was_pinned(signable, capsys):
    """A site may be exempted by name, but not be given another engine afterwards."""
    text = signable.circle.root()["productions/roles.yaml"]
    exemption = "  exemptions:\n    - {site: local, engine: local, area: data, nobody: true, reason: tests}\n"
    signable.write("productions/roles.yaml", text + exemption)
    signable.commit("exempted")
    signable.pin()
    site = signable.root / "productions/sites/local.yaml"
    before = site.read_text()
    site.write_text(before.replace("storage: data", "storage: data/../../elsewhere"))
    assert signable.launch() == Exit.FINDINGS
    site.write_text(before.replace("storage: data", "storage: elsewhere"))
    signable.lock()
    signable.commit("another place")
    assert refused(signable, capsys).count("MISSING") == 4
    site.write_text(before)
    signable.lock()
    signable.commit("back")
    assert signable.launch() == Exit.FINE


def revoke(signable, file):
    taken = sha256(file.read_bytes()).hexdigest()
    said = replace(signable.statement("release", action=REVOKE, generation=None), digest=taken)
    gone = file.with_name(name_revocation(file.name))
    gone.write_bytes(said.data())
    gone.with_name(gone.name + SIGNATURE).write_bytes(signable.circle.key(said.principal).sign(said.data()))
    return gone


def test_a_revocation_ends_a_launch_before_its_next_batch_and_is_remembered(signed, capsys):
    gate = signed.gate()
    state_view = signed.state_view("proc7")
    assert gate.verify(["proc7"], state_view.plan).keys() == {"proc7"}
    (file,) = signed.root.glob("productions/campaigns/proc7/approvals/*/release.*.json")
    gone = revoke(signed, file)
    signed.commit("taken back")
    with pytest.raises(GuardRefused, match="it was revoked"):
        gate.verify(["proc7"], state_view.plan)
    with reading(signed.state) as connection:
        assert len(list_revoked(connection)) == 1
    gone.unlink()
    signed.commit("and the revocation taken away")
    assert "it was revoked" in refused(signed, capsys)
    signed.sign("release", not_before=datetime.now(UTC).replace(microsecond=0))
    signed.commit("signed again")
    assert signed.launch() == Exit.FINE


def keep(signable, file):
    """Puts a statement somewhere else once more, as it lies in git's history."""
    old = file.read_text(), file.with_name(file.name + SIGNATURE).read_text()

    def restore():
        for end, text in zip(("", SIGNATURE), old, strict=True):
            signable.write(f"productions/campaigns/proc7/approvals/z/x.json{end}", text)
        signable.commit("as it was")

    return restore


def test_s20_an_earlier_statement_from_the_history_launches_nothing(signed, capsys):
    """Neither after its signer lowered a ceiling, nor after they took the last one back and that was cleaned up."""
    (file,) = signed.root.glob("productions/campaigns/proc7/approvals/*/release.*.json")
    restore = keep(signed, file)
    later = datetime.now(UTC).replace(microsecond=0)
    signed.sign("release", not_before=later, ceilings=Ceilings(max_actions=1))
    signed.commit("one at a time")
    assert "its max_actions is 1, asked for are 2" in refused(signed, capsys)
    file.unlink()
    restore()
    assert "it was revoked before, or a later one took its place" in refused(signed, capsys)


def test_s20_what_was_taken_back_is_remembered_of_a_campaign_that_is_left_out(signed, capsys):
    (file,) = signed.root.glob("productions/campaigns/proc7/approvals/*/release.*.json")
    restore = keep(signed, file)
    gone = revoke(signed, file)
    signed.commit("taken back")
    assert signed.call("reconcile", "--once") == Exit.REFUSED, "left out, and so never verified"
    gone.unlink()
    file.unlink()
    restore()
    assert "it was revoked" in refused(signed, capsys)


def test_s20_what_was_taken_back_is_remembered_of_a_campaign_with_nothing_to_do(signed, capsys):
    (file,) = signed.root.glob("productions/campaigns/proc7/approvals/*/release.*.json")
    restore = keep(signed, file)
    assert signed.launch() == Exit.FINE
    gone = revoke(signed, file)
    signed.commit("taken back")
    assert signed.launch() == Exit.FINE, "nothing is to be done"
    gone.unlink()
    file.unlink()
    restore()
    signed.register_runs([3])
    signed.register(3, "raw.3.0.root")
    signed.change(('ranges: "1-2"', 'ranges: "1-3"'))
    signed.sign("proposer", "calibration", "coordinator")
    signed.commit("a run more")
    starts = signed.starts
    assert signed.launch() == Exit.REFUSED
    assert "it was revoked" in capsys.readouterr().err
    assert signed.starts == starts


def test_what_counts_no_longer_only_moves_on(signable):
    whose, early, late = (
        ("release", "x@example.org"),
        datetime(2019, 2, 1, tzinfo=UTC),
        datetime(2019, 2, 2, tzinfo=UTC),
    )
    for given, kept in ((early, early), (late, late), (early, late)):
        with opened(signable.state) as engine, engine.begin() as connection:
            record_withdrawals(connection, "campaign/proc7", {whose: given})
            assert list_withdrawals(connection, "campaign/proc7") == {whose: kept}
            assert list_withdrawals(connection, "campaign/proc8") == {}


def test_the_scopes_of_what_was_launched_are_recorded_also_where_an_older_version_recorded_none(signed):
    def recorded():
        with reading(signed.state) as connection:
            return read_launch(connection, "proc7").scopes

    assert signed.launch() == Exit.FINE
    lock = signed.repository().campaigns["proc7"].lock
    expected = {name: (value, dict(lock.since)[name]) for name, value in lock.scopes}
    assert recorded() == expected
    with opened(signed.state) as engine, engine.begin() as connection:
        connection.execute(update(launches).values(scopes=None))
    assert recorded() is None
    assert signed.launch() == Exit.FINE, "nothing is to be done"
    assert recorded() == expected


def test_a_campaign_with_nothing_to_do_needs_no_approval_any_more(signed):
    assert signed.launch() == Exit.FINE
    later = datetime.now(UTC) + timedelta(days=31)
    assert signed.gate(lambda: later).verify(["proc7"], signed.state_view("proc7").plan) == {}
    assert signed.gate(lambda: later).sort(["proc7"]) == (["proc7"], {})


def test_a_campaign_that_is_not_approved_stops_no_other(signed, capsys):
    folder = signed.root / "productions/campaigns"
    shutil.copytree(folder / "proc7", folder / "proc9", ignore=shutil.ignore_patterns("approvals"))
    manifest = folder / "proc9/campaign.yaml"
    manifest.write_text(manifest.read_text().replace("kind: calibration", "kind: calibration\nreuse: never"))
    signed.register_runs([3])
    signed.register(3, "raw.3.0.root")
    manifest.write_text(manifest.read_text().replace('"1-2"', '"3"'))
    signed.lock()
    signed.commit("proc9")
    plan = signed.state_view("proc7", "proc9").plan
    assert signed.gate().verify(["proc7"], plan).keys() == {"proc7"}
    with pytest.raises(GuardRefused, match="proc9 may not be launched"):
        signed.gate().verify(["proc7", "proc9"], plan)
    capsys.readouterr()
    assert signed.call("reconcile", "--once") == Exit.REFUSED
    told = capsys.readouterr().err
    assert "left out: proc9 may not be launched" in told
    assert {campaign for campaign, *_ in signed.produced()} == {"proc7"}


def test_a_commit_that_cannot_be_read_is_told_as_such_and_is_no_defect_of_a_campaign(signed, monkeypatch):
    def fail(*_):
        raise SourceUnavailable("git is away")

    monkeypatch.setattr("ci.approvals.gate.read_commit", fail)
    with pytest.raises(SourceUnavailable, match="git is away"):
        signed.gate().sort(["proc7"])


def test_of_several_campaigns_one_of_which_nothing_can_be_read_stops_no_other(signed, monkeypatch):
    gate = signed.gate()
    judge = gate.judge

    def fail(plans):
        if plans.keys() <= {"proc7"}:
            return judge(plans)
        raise SourceUnavailable("git is away")

    monkeypatch.setattr(gate, "judge", fail)
    assert gate.sort(["proc7", "proc8"]) == (["proc7"], {"proc8": "git is away"})
    with pytest.raises(SourceUnavailable, match="git is away"):
        gate.sort(["proc8", "proc9"])


def test_mode_merge_is_a_choice_of_the_pinned_root(signable, capsys):
    text = signable.circle.root()["productions/roles.yaml"]
    signable.write("productions/roles.yaml", text.replace("mode: signatures", "mode: merge\nbranch: main"))
    signable.commit("we trust our branch")
    assert refused(signable, capsys).count("MISSING") == 4
    signable.pin()
    signable.git("checkout", "-q", "-b", "proposal")
    signable.commit("not merged")
    assert "is not on the branch main" in refused(signable, capsys)
    signable.git("checkout", "-q", "main")
    signable.git("merge", "-q", "proposal")
    assert signable.launch() == Exit.FINE
