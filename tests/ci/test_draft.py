"""A campaign drafted from another: what is copied, what is bumped, and what a person has to decide."""

from __future__ import annotations

from pathlib import Path

import pytest

from ci.changes.draft import Undraftable, draft_campaign
from ci.cli.exits import Exit
from ci.command_line import run
from renderer.steering import load_templates
from schemas.files.tree import read_tree
from schemas.repository import CAMPAIGNS, read_repository
from schemas.yaml.document import read_yaml
from tests.support.worlds.builders import CAMPAIGN, PROMPT, RELEASES, campaign, read, snapshot, swap, tree

ROOT = Path(__file__).parents[2]
TODAY = "2019-06-01"

PROC8 = """\
# What is known of proc8: its tag was first recommended with release-03-01-00.
schema: campaign/1
title: "Phase 2, once more: proc8"   # as the talk calls it
kind: reprocessing
ticket: BIIDP-1200

description: |
  Better tracking.
  # no comment
supersedes:
  - proc7
  # and what proc7 superseded
runs:
  - {experiment: 3, ranges: "529-613",   exclude: "600"}   # all good ones
release: release-03-00-00
global_tags:
  - name: data_reprocessing_proc8     # the first of the chain
    mode: snapshot
  - {name: data_reprocessing_proc7, mode: snapshot}
site: local
layout: plain
steps:
    reco:   # indented otherwise
        application: basf2
        template: raw_to_mdst/1
        input: {level: raw}
        outputs: [mdst,
                  cdst]
limits: {max_units: 4000}
# the end
"""

PROC9 = """\
# TODO: this header is that of proc8
# What is known of proc8: its tag was first recommended with release-03-01-00.
schema: campaign/1
title: "Phase 2, once more: proc9"
kind: reprocessing
state: held
# TODO: the ticket is that of proc8
ticket: BIIDP-1200

# TODO: the description is that of proc8
description: |
  Better tracking.
  # no comment
supersedes: [proc8]
  # and what proc7 superseded
runs:
  - {experiment: 3, ranges: "529-613",   exclude: "600"}   # all good ones
# TODO: the release is that of proc8; the newest known is release-04-00-00 (2019-10-04)
release: release-03-00-00
# TODO: release-04-00-00 recommends data_reprocessing_proc9
global_tags:
  # TODO: the tag is that of proc8, not data_reprocessing_proc9, which has no snapshot here yet
  - name: data_reprocessing_proc8     # the first of the chain
    mode: snapshot
  # TODO: the tag is that of proc7, not data_reprocessing_proc9, which has no snapshot here yet
  - {name: data_reprocessing_proc7, mode: snapshot}
site: local
layout: plain
steps:
    reco:   # indented otherwise
        application: basf2
        template: raw_to_mdst/1
        input: {level: raw}
        outputs: [mdst,
                  cdst]
limits: {max_units: 4000}
# the end
"""

NEWER = swap(
    RELEASES, ('{date: "2019-10-04"}', '{date: "2019-10-04", recommended_tag: data_reprocessing_proc9}')
)


def draft(text, name="proc9", of="proc8", **files):
    repository, findings = read(tree(**{f"{CAMPAIGNS}/{of}/campaign.yaml": text, **files}))
    assert not findings
    return draft_campaign(repository, repository.campaigns[of], text, name, TODAY)


def test_a_copy_keeps_comments_and_order_and_says_what_is_open():
    made = draft(PROC8, releases=NEWER)
    assert made.text == PROC9
    assert len(made.decisions) == PROC9.count("# TODO: ") == 7


def test_what_others_have_decided_is_not_asked_again():
    plain = swap(
        PROC8,
        ("ticket: BIIDP-1200\n", ""),
        ("description: |\n  Better tracking.\n  # no comment\n", ""),
        ("release: release-03-00-00", "release: release-04-00-00"),
        ("data_reprocessing_proc8     #", "data_other     #"),
        ("  - {name: data_reprocessing_proc7, mode: snapshot}\n", ""),
    )
    assert draft(plain).decisions == ("this header is that of proc8",)
    assert draft(plain.removeprefix(plain.splitlines(keepends=True)[0])).decisions == ()


def test_a_title_that_names_nobody_is_a_decision():
    made = draft(CAMPAIGN, of="proc7")
    assert made.text.startswith(
        "schema: campaign/1\n# TODO: the title is that of proc7\ntitle: Phase 2 reprocessing\n"
    )
    longer = campaign(("title: Phase 2 reprocessing", "title: As proc7b, and not preproc7"))
    assert made.decisions[0] in draft(longer, of="proc7").decisions, "a part of another name is not a name"


def test_only_a_reprocessing_supersedes_and_a_day_that_has_passed_is_a_decision():
    made = draft(swap(PROMPT, ("state: held", "state: held\nsupersedes: [proc7]")), "GCR5c", "GCR5b")
    assert made.text == swap(
        PROMPT,
        ("title:", "# TODO: the title is that of GCR5b\ntitle:"),
        (
            "  - {experiment: 5",
            "  # TODO: 2019-04-30 has passed: no run that begins now is taken in\n  - {experiment: 5",
        ),
    )
    coming = swap(
        PROMPT, ("2019-04-30", TODAY), ("title: Cosmic", "title: 'GCR5b: cosmic"), ("come", "come'")
    )
    assert draft(coming, "GCR5c", "GCR5b").decisions == (), "the day itself has not passed"


def test_a_campaign_that_repeats_on_purpose_is_a_decision():
    made = draft(campaign(("site:", "reuse: never\nsite:")), of="proc7")
    assert "whether proc9 repeats on purpose what others made, as proc7 does" in made.decisions


def own_manifests():
    files, _ = read_tree(ROOT)
    found = [file for file in sorted(files) if file.startswith(CAMPAIGNS) and file.endswith("campaign.yaml")]
    return [pytest.param(files, file, id=file.split("/")[2]) for file in found]


@pytest.mark.parametrize(("files", "file"), own_manifests())
def test_every_campaign_of_this_repository_can_be_copied(files, file):
    repository, _ = read_repository(files, load_templates())
    name, text = file.split("/")[2], files[file].decode()
    made = draft_campaign(repository, repository.campaigns[name], text, "another", TODAY)
    document, findings = read_yaml("campaign.yaml", made.text.encode())
    assert not findings
    assert list(document.data["steps"]) == list(repository.campaigns[name].document.data["steps"])
    kept = [line for line in made.text.splitlines() if "# TODO: " not in line]
    new = [line for line in kept if line not in text.splitlines()]
    assert {line.partition(":")[0] for line in new} <= {"title", "state", "supersedes"}
    gone = [line for line in text.splitlines() if line not in kept]
    assert {line.partition(":")[0] for line in gone if line[:1] not in " #"} <= {
        "title",
        "state",
        "supersedes",
    }


def test_a_manifest_on_one_line_is_refused():
    document, _ = read_yaml("x", swap(PROMPT, ("state: held\n", "")).encode())
    text = str(document.data).replace("'", '"')
    with pytest.raises(Undraftable, match="each top-level key on its own line"):
        draft(text, "GCR5c", "GCR5b", prompt=text)


# ── the verb ──


@pytest.fixture
def checkout(tmp_path, capsys):
    """A valid repository on disk; returns what calls b2prod there, and the root."""
    for name, content in tree(
        **{f"{CAMPAIGNS}/proc7/campaign.yaml": CAMPAIGN, "releases": NEWER, "snapshot": snapshot()}
    ).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)

    def call(*arguments):
        capsys.readouterr()
        code = run(["--root", str(tmp_path), *arguments])
        return code, *capsys.readouterr()

    call.root = tmp_path
    return call


def test_new_writes_the_manifest_alone_and_check_lists_what_is_open(checkout):
    (checkout.root / f"{CAMPAIGNS}/proc7/campaign.lock").write_text("{}")
    code, _, err = checkout("new", "proc8", "--from", "proc7")
    assert code == Exit.FINE
    assert err == (
        f"wrote {CAMPAIGNS}/proc8/campaign.yaml; 5 decisions to make, `b2prod check proc8` lists them\n"
    )
    folder = checkout.root / CAMPAIGNS / "proc8"
    assert [path.name for path in folder.iterdir()] == ["campaign.yaml"]
    code, out, _ = checkout("check", "proc8")
    assert code == Exit.FINDINGS
    assert [line.partition(": ")[2] for line in out.splitlines() if "BP706" in line] == [
        "BP706 to be decided: the title is that of proc7",
        "BP706 to be decided: the ticket is that of proc7",
        "BP706 to be decided: the release is that of proc7; the newest known is release-04-00-00 (2019-10-04)",
        "BP706 to be decided: release-04-00-00 recommends data_reprocessing_proc9",
        "BP706 to be decided: the tag is that of proc7, not data_reprocessing_proc8, which has no snapshot here yet",
    ]
    file = folder / "campaign.yaml"
    decided = [line for line in file.read_text().splitlines(keepends=True) if "# TODO" not in line]
    file.write_text("".join(decided))
    (checkout.root / f"{CAMPAIGNS}/proc7/campaign.lock").unlink()
    assert checkout("check")[:2] == (Exit.FINE, "")


def test_an_undecided_campaign_is_neither_resolved_nor_planned(checkout):
    checkout("new", "proc8", "--from", "proc7")
    for verb in ("resolve", "plan", "render"):
        code, _, err = checkout(verb, "proc8")
        assert code == Exit.FINDINGS
        assert "BP706" in err


def test_a_draft_can_be_compared_with_its_original(checkout):
    checkout("new", "mine", "--from", "GCR5b")
    code, out, _ = checkout("diff", "GCR5b", "mine")
    assert code == Exit.FINE
    assert "the same: release, global tags, steering, runs, outputs, site and layout" in out


def test_a_campaign_that_cannot_be_read_is_not_copied(checkout):
    (checkout.root / f"{CAMPAIGNS}/proc7/campaign.yaml").write_text(campaign(("title:", "tilte:")))
    code, _, err = checkout("new", "proc8", "--from", "proc7")
    assert code == Exit.FINDINGS
    assert "BP201" in err
    assert not (checkout.root / CAMPAIGNS / "proc8").exists()
