"""Branches beside those of a data level: where a step can have them, what they change, and who is told of them."""

from __future__ import annotations

import json

import pytest

from reconciler.execution.launch.preparation import WorkPreparation, list_work
from renderer.steering import load_templates
from schemas.repository import read_repository
from schemas.rules import check_repository
from tests.support.inputs.fingerprints import EVERYTHING, declare, moved
from tests.support.worlds.builders import campaign, check, tree
from tests.support.worlds.worlds import ONE_STEP, World

WHY = "reason: under study, ticket: BIIDP-1120"
RECO = "    outputs: [mdst]\n"


def judge(files):
    """What is objected to, with the templates of this version."""
    repository, findings = read_repository(files, load_templates())
    return [*findings, *check_repository(repository)]


def branches(*names, why=WHY):
    listed = ", ".join(f"{{name: {name}, {why}}}" for name in names)
    return "    outputs: [mdst, cdst]\n", f"    outputs: [mdst, cdst]\n    additional_branches: [{listed}]\n"


def test_additional_branches_move_fingerprints_and_neither_their_order_nor_the_words_about_them_do():
    kind = ("kind: reprocessing", "kind: calibration")
    plain = declare(campaign(kind))
    one = declare(campaign(kind, branches("BKLMHit1ds")))
    assert moved(plain, one) == EVERYTHING
    two = declare(campaign(kind, branches("BKLMHit1ds", "BKLMDigits")))
    assert moved(one, two) == EVERYTHING
    assert not moved(two, declare(campaign(kind, branches("BKLMDigits", "BKLMHit1ds"))))
    words = "reason: other words, ticket: BIIDP-7"
    assert not moved(one, declare(campaign(kind, branches("BKLMHit1ds", why=words))))


def test_additional_branches_reach_a_job_and_are_told(tmp_path):
    added = f"{RECO}    additional_branches: [{{name: BKLMHit1ds, reason: alignment, ticket: BII-4458}}]\n"
    world = World(tmp_path, (RECO, added), campaign=ONE_STEP)
    state_view = world.state_view()
    writer = WorkPreparation(world.state, world.repository())
    item, _ = next(writer.prepare(list_work(state_view.views), {}))
    job = json.loads(writer.render(item.split()[0])["job.json"])
    branch = {"name": "BKLMHit1ds", "reason": "alignment", "ticket": "BII-4458"}
    assert job["additional_branches"] == [branch]
    (told,) = state_view.plan.campaigns[0].deviations
    assert told.data() == {
        "what": "additional branch BKLMHit1ds",
        "steps": ["reco"],
        "reason": "alignment",
        "ticket": "BII-4458",
    }
    lock = world.repository().campaigns["proc7"].lock
    world.change(("BII-4458", "BII-4459"))
    after = world.repository().campaigns["proc7"].lock
    assert dict(after.scopes)["calibration"] != dict(lock.scopes)["calibration"], "who agreed is approved"


@pytest.mark.parametrize(
    ("template", "release", "given", "says"),
    [
        ("raw_to_mdst/5", "release-03-00-00", "outputs: [mdst, cdst]", None),
        ("raw_to_cdst/5", "release-06-00-00", "outputs: [cdst]", None),
        (
            "raw_to_cdst/1",
            "release-03-00-00",
            "outputs: [cdst]",
            "raw_to_cdst/1 does not set `additional_branches`; choose raw_to_cdst/3",
        ),
        (
            "merge/3",
            "release-03-00-00",
            "outputs: [raw]",
            "merge/3 does not set `additional_branches`; choose a template that does",
        ),
        (
            "raw_to_mdst/5",
            "release-03-00-00",
            "outputs: [dst]",
            "the step reco writes dst alone, which has all branches as it is; remove it, or write another data level",
        ),
    ],
)
def test_additional_branches_stand_where_the_template_writes_them(template, release, given, says):
    steps = (
        f"steps:\n  reco:\n    application: basf2\n    template: {template}\n    input: {{level: raw}}\n"
        f"    {given}\n    additional_branches: [{{name: BKLMHit1ds, {WHY}}}]\n"
        "limits: {max_units: 4000, max_restate: 0}\n"
    )
    text = campaign(("kind: reprocessing", "kind: calibration"), ("release-03-00-00", release))
    files = tree(
        campaign=text[: text.index("steps:")] + steps,
        releases=f'schema: releases/1\nreleases:\n  {release}: {{date: "2019-01-02"}}\n',
    )
    found = [f"{one.message}; {one.hint}" for one in judge(files) if one.code == "BP512"]
    assert found == ([says] if says else [])


@pytest.mark.parametrize(
    ("changes", "code", "says"),
    [
        ((branches("BKLMHit1ds"),), "BP513", "`additional_branches` in a campaign of `kind: reprocessing`"),
        (
            (("kind: reprocessing", "kind: calibration"), branches("BKLMHit1ds", "BKLMHit1ds")),
            "BP512",
            "the branch BKLMHit1ds is added twice",
        ),
        (
            (
                ("kind: reprocessing", "kind: calibration"),
                (
                    "    skims: [hlt_hadron, hlt_bhabha]\n",
                    f"    skims: [hlt_hadron, hlt_bhabha]\n    additional_branches: [{{name: A, {WHY}}}]\n",
                ),
            ),
            "BP207",
            "`additional_branches` means nothing where the application is uproot",
        ),
        ((("kind: reprocessing", "kind: calibration"), branches("'BKLM*'")), "BP204", "BKLM*"),
    ],
    ids=["reprocessing", "twice", "uproot", "pattern"],
)
def test_additional_branches_that_cannot_be_are_refused(changes, code, says):
    found = [(one.code, one.message) for one in check(tree(campaign=campaign(*changes)))]
    assert any(seen == code and says in message for seen, message in found), found
