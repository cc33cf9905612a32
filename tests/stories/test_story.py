"""The whole story, with real git repositories and real keys: proposed, reviewed, approved, merged, launched; and refused."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from ci.changes.export import write_export
from ci.changes.gates import RECONCILER
from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.schema.tables import intents
from tests.support.inputs.keys import Circle, make_key
from tests.support.worlds.builders import snapshot
from tests.support.worlds.signable_checkout import SignableCheckout

MANIFEST = "productions/campaigns/proc7/campaign.yaml"
TAG = "productions/global-tags/tag_a.iov"


class Story:
    """`signable` is the repository that people push to; a pipeline and a reconciler each have a clone of it."""

    def __init__(self, folder, capsys):
        (folder / "keys").mkdir()
        self.folder, self.capsys = folder, capsys
        self.signable = SignableCheckout(folder / "checkout", Circle(folder / "keys"))
        self.key = make_key(folder, "reconciler")
        self.signable.write(RECONCILER, self.key.public)
        self.signable.commit("the reconciler's key")
        self.pipeline, self.service = folder / "pipeline", folder / "service"
        for clone in (self.pipeline, self.service):
            self.signable.git("clone", "-q", str(self.signable.root), str(clone))

    def propose(self, branch, *change):
        """A branch with a changed manifest, its lock written again; its commit."""
        self.signable.git("checkout", "-q", "-b", branch)
        if change:
            self.signable.change(*change)
        self.signable.lock()
        return self.signable.commit(f"propose {branch}")

    def review(self, head):
        """What the pipeline of a merge request says of a branch: comment and plan. It has the base, and no secrets."""
        made, export = self.folder / "review", self.folder / "state.zip"
        write_export(self.signable.state, export, self.key.file, datetime.now(UTC))
        self.signable.git("-C", str(self.pipeline), "fetch", "-q", "origin")
        arguments = [
            "--root",
            str(self.pipeline),
            "--state",
            str(self.folder / "none"),
            "review",
            "-o",
            str(made),
        ]
        code = run([*arguments, "--base", "origin/main", "--head", head, "--state-export", str(export)])
        assert code == Exit.FINE, self.capsys.readouterr().out
        return (made / "comment.md").read_text(), json.loads((made / "plan.json").read_text())

    def approve(self, *roles):
        self.signable.sign(*roles)
        self.signable.commit(f"approved by {', '.join(roles)}")

    def merge(self, branch):
        self.signable.git("checkout", "-q", "main")
        self.signable.git("merge", "-q", "--no-ff", "-m", f"merge {branch}", branch)

    def reconcile(self):
        """A turn of the reconciler, which asks what is on main; its exit code and what it said."""
        self.capsys.readouterr()
        before = ["--root", str(self.service), "--state", str(self.signable.state.folder)]
        code = run([*before, "reconcile", "--once", "--follow", "origin/main"])
        return code, self.capsys.readouterr().err

    def made(self):
        return sorted((step, number) for _, step, number, *_ in self.signable.produced())


def list_units(plan):
    groups = [group for one in plan["campaigns"] for group in one["groups"] if group["action"] == "submit"]
    return {(group["step"], group["runs"]) for group in groups}


@pytest.mark.slow
def test_from_a_proposal_to_outputs_and_what_is_refused_on_the_way(tmp_path, capsys):
    story = Story(tmp_path, capsys)

    # proposed on a branch, reviewed by the base's tool, from a state that is signed
    head = story.propose("hlt", ("trigger_mode: all", "trigger_mode: hlt"))
    comment, plan = story.review(head)
    assert "`proc7`: 2 units to submit" in comment
    assert comment.count("**missing**") == 4
    assert "signed by SHA256" in comment
    assert list_units(plan) == {("reco", "3:1-2")}

    # a merge is not an approval
    story.merge("hlt")
    code, said = story.reconcile()
    assert code == Exit.REFUSED
    assert "may not be launched" in said
    assert story.made() == []

    # three people are not enough where four are asked, and then exactly what was reviewed is launched
    story.signable.git("checkout", "-q", "hlt")
    story.approve("proposer", "release", "calibration")
    story.merge("hlt")
    code, said = story.reconcile()
    assert code == Exit.REFUSED
    assert "b2prod approve proc7 --role coordinator" in said
    assert story.made() == []
    story.signable.git("checkout", "-q", "hlt")
    story.approve("coordinator")
    comment, again = story.review("origin/hlt")
    assert again["digest"] == plan["digest"]
    assert "**missing**" not in comment
    story.merge("hlt")
    assert story.reconcile()[0] == Exit.FINE
    assert story.made() == [("reco", 1), ("reco", 2)]
    assert len({approval for _, approval in story.signable.rows(intents, "id", "approval")}) == 1
    assert story.reconcile()[0] == Exit.FINE
    assert len(story.made()) == 2

    # more runs: the approvals of before are stale, and say so of the one who has not signed again
    story.signable.register_runs([3])
    story.signable.register(3, "raw.3.0.root")
    head = story.propose("more", ('ranges: "1-2"', 'ranges: "1-3"'))
    comment, plan = story.review(head)
    assert list_units(plan) == {("reco", "3:3")}
    story.approve("proposer", "release", "coordinator")
    story.merge("more")
    code, said = story.reconcile()
    assert code == Exit.REFUSED
    assert "what calibration answers for has changed since" in said
    assert "b2prod approve proc7 --role calibration" in said

    # approved by all; then the tag moves before the launch, and nothing is launched
    story.signable.git("checkout", "-q", "more")
    story.approve("calibration")
    story.merge("more")
    before = (story.signable.root / TAG).read_text()
    story.signable.write(TAG, snapshot("tag_a", "CDCGeometry 2 " + "1" * 32 + " 0,0,-1,-1"))
    story.signable.commit("the tag moves")
    code, said = story.reconcile()
    assert code == Exit.FINDINGS
    assert "the lock pins another snapshot of tag_a" in said
    story.signable.lock()
    story.signable.commit("and the lock after it")
    code, said = story.reconcile()
    assert code == Exit.REFUSED
    assert "what calibration answers for has changed since" in said
    assert len(story.made()) == 2

    # as it was approved, it is launched: the one unit that was approved, and no other again
    story.signable.git("revert", "--no-edit", "HEAD", "HEAD~1")
    assert (story.signable.root / TAG).read_text() == before
    code, said = story.reconcile()
    assert code == Exit.FINE, said
    assert story.made() == [("reco", 1), ("reco", 2), ("reco", 3)]
