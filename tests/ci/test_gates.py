"""What a pull request may change: judged against its base, from git's objects alone."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from ci.changes import commits
from ci.changes.change import read_change
from ci.changes.export import write_export
from ci.changes.gates import judge_change
from ci.changes.project import judge_files
from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.ledger.store.database import State, opened
from reconciler.model.run import Run
from reconciler.planning.resolution import follow_lock
from reconciler.run_catalogue.run_import import import_runs
from schemas.files.tree import read_tree
from schemas.manifest.runs import parse_runs, run_key, split_key
from schemas.policy.scopes import digest_scopes
from schemas.repository import read_repository
from tests.support.worlds import builders
from tests.support.worlds.builders import CAMPAIGN, FILES, SKIMS, swap, tree
from tests.support.worlds.history import make_history

RUNS = tuple(run_key(3, number) for number in (529, 530, 531))
RESTATE = ("limits:", "restate: {reason: dE/dx was missing, limit: 3}\nlimits:")
LOOSE = ("max_restate: 0", "max_restate: 3")
NEXT = ("release-03-00-00", "release-03-00-01")


def world(**changes):
    """A valid tree that can be launched from: with templates that are there, and a lock."""
    files = tree(releases=builders.RELEASES.replace("release-04-00-00", "release-03-00-01"))
    return {**files, **changes}


@pytest.fixture
def templates(monkeypatch):
    """The command line uses the templates that the valid tree names, as it would use those of the base."""
    text = "components = {{ components }}\nprune = {{ prune_tracks }}\n"
    made = {
        name: replace(one, text=text if name == "raw_to_mdst/1" else "")
        for name, one in builders.templates().items()
    }
    monkeypatch.setattr("ci.changes.project.load_templates", lambda: made)
    return made


@pytest.fixture
def history(tmp_path, templates):
    """A repository whose campaign proc7 has a lock on main."""
    made = make_history(tmp_path / "origin", world())
    lock(made, templates)
    return made


def lock(history, templates):
    repository, _ = read_repository(read_tree(history.root)[0], templates)
    made = follow_lock(repository.campaigns["proc7"], repository, RUNS)
    return history.commit("locked", **{FILES["lock"]: made.text()})


def judge(history, capsys, base="main~0", head="HEAD", *options):
    """Exit code, and the findings as code and place."""
    code = run(
        ["--root", str(history.root), "check", "--base", base, "--head", head, "--format=json", *options]
    )
    said = capsys.readouterr()
    found = json.loads(said.out) if said.out else []
    return code, [(one["code"], one["file"].rpartition("/")[2], one["line"]) for one in found], said


def test_a_lock_that_says_that_its_parts_are_as_they_were_is_held_against_the_base(
    history, templates, capsys
):
    """With the right digests, so that no other rule sees it: the calibration comes back, and says it was never away."""
    file = FILES["campaign"]
    changed = swap(CAMPAIGN, ("529-613, 620", "529-614, 620"))
    history.commit("other runs", **{file: changed})
    base = lock(history, templates)
    history.commit("back", **{file: CAMPAIGN})
    head = lock(history, templates)
    assert judge(history, capsys, base, head)[:2] == (Exit.FINE, [])
    declared = read_repository(read_tree(history.root)[0], templates)[0].campaigns["proc7"]
    edited = replace(declared.lock, since=(("calibration", 1), ("everything", 3), ("release", 1)))
    edited = replace(edited, scopes=digest_scopes(edited, declared.campaign, declared.document.data))
    head = history.commit("edited", **{FILES["lock"]: edited.text()})
    code, found, said = judge(history, capsys, base, head)
    assert (code, found) == (Exit.FINDINGS, [("BP605", "campaign.lock", 1)])
    assert "as it was since generation 1; by the lock on the base it is since 3" in said.out


def propose(history, templates=None, **changes):
    """A branch with one commit on top of main, and the lock renewed where templates are given."""
    base = history.git("rev-parse", "HEAD")
    head = history.commit("proposed", **changes)
    return base, lock(history, templates) if templates else head


def test_a_new_campaign_is_fine(history, capsys):
    other = swap(builders.PROMPT, ("experiment: 5", "experiment: 6"))
    base, head = propose(history, **{"productions/campaigns/GCR6/campaign.yaml": other})
    assert judge(history, capsys, base, head)[:2] == (Exit.FINE, [])


def test_a_title_changes_and_a_release_does_not(history, templates, capsys):
    text = swap(CAMPAIGN, ("Phase 2 reprocessing", "Another title"))
    base, head = propose(history, templates, **{FILES["campaign"]: text})
    assert judge(history, capsys, base, head)[:2] == (Exit.FINE, [])
    base, head = propose(history, templates, **{FILES["campaign"]: swap(text, NEXT)})
    code, found, _ = judge(history, capsys, base, head)
    assert (code, found) == (Exit.FINDINGS, [("BP609", "campaign.yaml", 9)])


@pytest.mark.parametrize(
    ("file", "change", "line"),
    [
        ("campaign", ("prune_tracks: false", "prune_tracks: true"), 15),
        ("campaign", ("outputs: [mdst, cdst]", "outputs: [mdst]"), 15),
        ("campaign", ("mode: snapshot", "mode: running, on_change: restate"), 10),
        ("snapshot", ("0123456789abcdef0123456789abcdef", "1123456789abcdef0123456789abcdef"), 10),
        ("skims", ("nTracksLE >= 3", "nTracksLE >= 4"), 21),
    ],
    ids=lambda value: value[1] if isinstance(value, tuple) else None,
)
def test_what_determines_data_is_frozen_wherever_it_stands(history, templates, capsys, file, change, line):
    text = swap(history.root.joinpath(FILES[file]).read_text(), change)
    if file == "snapshot":
        body = [one for one in text.splitlines() if not one.startswith("#")]
        text = builders.snapshot("data_reprocessing_proc7", *body)
    base, head = propose(history, templates, **{FILES[file]: text})
    code, found, _ = judge(history, capsys, base, head)
    assert code == Exit.FINDINGS
    assert {one[0] for one in found} == {"BP609"}
    assert line in [one[2] for one in found]


def test_outputs_runs_and_limits_may_be_added(history, templates, capsys):
    text = swap(CAMPAIGN, ("[mdst, cdst]", "[mdst, cdst, dst]"), ('"1-20"', '"1-30"'), ("4000", "5000"))
    base, head = propose(history, templates, **{FILES["campaign"]: text})
    assert judge(history, capsys, base, head)[:2] == (Exit.FINE, [])


def test_restate_says_that_all_is_made_again_once(history, templates, capsys):
    text = swap(CAMPAIGN, NEXT, RESTATE, LOOSE)
    base, head = propose(history, templates, **{FILES["campaign"]: text})
    assert judge(history, capsys, base, head)[:2] == (Exit.FINE, [])
    # what was said for one change is not said for the next one
    base, head = propose(
        history,
        templates,
        **{
            FILES["campaign"]: swap(
                text, ("[mdst, cdst]", "[cdst, mdst]"), ("prune_tracks: false", "prune_tracks: true")
            )
        },
    )
    assert [one[0] for one in judge(history, capsys, base, head)[1]] == ["BP609"]


def test_a_campaign_without_a_lock_was_never_launched(tmp_path, templates, capsys):
    history = make_history(tmp_path / "origin", world())
    base, head = propose(history, templates, **{FILES["campaign"]: swap(CAMPAIGN, NEXT)})
    assert judge(history, capsys, base, head)[:2] == (Exit.FINE, [])


def put_back(lock):
    """What is done to a lock of generation 2, and the lock that was there before."""
    return {
        "gone": lambda now, first: None,
        "put back": lambda now, first: first,
        "another": lambda now, first: now.replace("mdst", "mDST"),
    }[lock]


@pytest.mark.parametrize("lock_is", ["gone", "put back", "another"])
def test_a_lock_stays_and_its_generation_only_grows(history, templates, capsys, lock_is):
    first = (history.root / FILES["lock"]).read_text()
    _, base = propose(history, templates, **{FILES["campaign"]: swap(CAMPAIGN, ('"1-20"', '"1-30"'))})
    now = (history.root / FILES["lock"]).read_text()
    assert judge(history, capsys, "HEAD~1", base)[:2] == (Exit.FINE, [])
    head = history.commit("undone", **{FILES["lock"]: put_back(lock_is)(now, first)})
    code, found, said = judge(history, capsys, base, head)
    assert code == Exit.FINDINGS
    assert "BP611" in {one[0] for one in found}
    assert "run `b2prod resolve proc7`" in said.out


def test_what_was_launched_is_frozen_without_a_lock_too(history, templates):
    base = history.commit("the lock is gone", **{FILES["lock"]: None})
    head = history.commit("another release", **{FILES["campaign"]: swap(CAMPAIGN, NEXT)})
    change = read_change(history.root, base, head)
    before, after = (judge_files(files, ())[0] for files in (change.before, change.after))
    assert {one.code for one in judge_change(change, before, after, {"proc7"})} == {"BP609"}


@pytest.mark.parametrize("age", [timedelta(hours=1), timedelta(days=2)], ids=["of today", "old"])
def test_an_old_state_does_not_free_what_was_launched_since(history, templates, tmp_path, capsys, age):
    state, export = State(tmp_path / "state"), tmp_path / "state.zip"
    text = swap(CAMPAIGN, NEXT, ('  - {experiment: 4, ranges: "1-20"}\n', ""))
    base, head = propose(history, templates, **{FILES["campaign"]: text})
    runs = parse_runs(" ".join(json.loads((history.root / FILES["lock"]).read_text())["runs"]))
    with opened(state) as engine:  # a ledger in which nothing was launched yet
        import_runs(engine, [Run(*split_key(key), "physics") for key in runs])
    write_export(state, export, None, datetime.now(UTC) - age)
    code, found, _ = judge(history, capsys, base, head, f"--state-export={export}")
    assert (code, [one[0] for one in found]) == (
        (Exit.FINDINGS, ["BP609"]) if age > timedelta(days=1) else (Exit.FINE, [])
    )


@pytest.mark.parametrize(
    ("other", "kind"),
    [
        ("ci/changes/gates.py", "code: `ci/changes/gates.py`"),
        (".gitlab-ci.yml", "pipeline: `.gitlab-ci.yml`"),
        (".github/workflows/plan.yml", "pipeline"),
        ("renderer/templates/raw_to_mdst/1.py.j2", "templates"),
        ("productions/roles.yaml", "policy"),
        ("productions/allowed_signers", "policy"),
        ("productions/sites/evil.yaml", "policy"),
        ("README.md", "code"),
    ],
)
def test_w63_campaigns_come_alone(history, capsys, other, kind):
    text = swap(CAMPAIGN, ("Phase 2 reprocessing", "Another title"))
    base, head = propose(history, **{FILES["campaign"]: text, other: "x\n"})
    code, found, said = judge(history, capsys, base, head)
    assert code == Exit.FINDINGS
    assert "BP705" in {one[0] for one in found}
    assert kind in said.out
    # and each alone is not objected to for that
    base, head = propose(history, **{FILES["campaign"]: swap(text, ("Another", "A third"))})
    assert "BP705" not in {one[0] for one in judge(history, capsys, base, head)[1]}


def test_a_snapshot_may_come_with_its_campaign(history, capsys):
    new = {
        "productions/global-tags/other.iov": builders.snapshot("other"),
        FILES["campaign"]: CAMPAIGN + "\n",
    }
    base, head = propose(history, **new)
    assert judge(history, capsys, base, head)[:2] == (Exit.FINE, [])


def test_w58_a_launched_campaign_stays(history, capsys):
    gone = {FILES["campaign"]: None, FILES["lock"]: None}
    base, head = propose(history, **gone)
    code, found, _ = judge(history, capsys, base, head)
    assert (code, found) == (Exit.FINDINGS, [("BP607", "campaign.yaml", 1)])
    # what was never launched may go, and what is finished moves to the archive
    history.git("reset", "-q", "--hard", base)
    base, head = propose(history, **{FILES["prompt"]: None})
    assert judge(history, capsys, base, head)[:2] == (Exit.FINE, [])
    stopped = swap(CAMPAIGN, ("kind: reprocessing", "kind: reprocessing\nstate: stopped"))
    archive = {file.replace("campaigns", "archive"): "" for file in gone}
    archive = dict(zip(archive, (stopped, history.root.joinpath(FILES["lock"]).read_text()), strict=True))
    base, head = propose(history, **gone, **archive)
    assert [one for one in judge(history, capsys, base, head)[1] if one[0] != "BP605"] == []
    back = dict.fromkeys(archive) | {FILES["campaign"]: CAMPAIGN}
    base, head = propose(history, **back)
    assert "BP610" in {one[0] for one in judge(history, capsys, base, head)[1]}


def test_names_are_never_used_again_even_when_the_folder_is_long_gone(history, capsys):
    history.commit("gone", **{FILES["prompt"]: None})
    again = {FILES["prompt"].replace("GCR5b", "gcr5B"): builders.PROMPT}
    base, head = propose(history, **again)
    code, found, said = judge(history, capsys, base, head)
    assert (code, found) == (Exit.FINDINGS, [("BP610", "campaign.yaml", 1)])
    assert "`GCR5b`" in said.out


def test_new_rules_bind_what_is_touched_and_no_history(history, capsys):
    history.commit(
        "an old slip", **{FILES["prompt"]: swap(builders.PROMPT, ("layout: plain", "layout: plian"))}
    )
    other = swap(builders.PROMPT, ("experiment: 5", "experiment: 6"))
    base, head = propose(history, **{"productions/campaigns/GCR6/campaign.yaml": other})
    assert judge(history, capsys, base, head)[:2] == (Exit.FINE, [])
    touched = swap(builders.PROMPT, ("layout: plain", "layout: plian"), ("Cosmic runs", "Cosmics"))
    base, head = propose(history, **{FILES["prompt"]: touched})
    assert [one[0] for one in judge(history, capsys, base, head)[1]] == ["BP506"]
    # what a change breaks elsewhere is its own, though that file is not touched
    base, head = propose(history, **{FILES["layouts"]: builders.LAYOUTS.replace("plain:", "plian:")})
    assert ("BP506", "campaign.yaml", 13) in judge(history, capsys, base, head)[1]


def test_the_base_that_moved_on_is_what_is_merged_with(history, capsys):
    fork = history.git("rev-parse", "HEAD")
    other = swap(builders.PROMPT, ("experiment: 5", "experiment: 6"))
    head = history.commit("proposed", **{"productions/campaigns/GCR6/campaign.yaml": other})
    history.git("reset", "-q", "--hard", fork)
    base = history.commit("meanwhile", **{FILES["prompt"]: swap(builders.PROMPT, ("Cosmic runs", "Cosmics"))})
    change = read_change(history.root, base, head)
    assert set(change.paths) == {"productions/campaigns/GCR6/campaign.yaml"}
    assert b"Cosmics" in change.after[FILES["prompt"]]
    clash = history.commit("clash", **{"productions/campaigns/GCR6/campaign.yaml": other + "\n"})
    code, _, said = judge(history, capsys, clash, head)
    assert code == Exit.USAGE
    assert "changed on the base too" in said.err


def test_s21_what_a_criss_cross_merge_undoes_is_not_judged_but_refused(history, capsys):
    """Two merges, each of the other's branch: of either commit that both have, the undoing is not a change."""
    history.git("checkout", "-q", "-b", "evil")
    mine = history.commit("harmless", README="x")
    history.git("checkout", "-q", "main")
    text = swap(CAMPAIGN, ("max_units: 4000", "max_units: 1000"))
    theirs = history.commit("a lower limit", **{FILES["campaign"]: text})
    history.git("merge", "-q", "--no-ff", "-m", "merged", mine)
    base = history.git("rev-parse", "HEAD")
    history.git("checkout", "-q", "evil")
    history.git("merge", "-q", "--no-ff", "-m", "merged too", theirs)
    history.write({FILES["campaign"]: CAMPAIGN})
    history.git("commit", "-q", "-a", "--amend", "-m", "merged, and undone")
    head = history.commit("more", README="y")
    assert len(history.git("merge-base", "--all", base, head).split()) == 2
    code, _, said = judge(history, capsys, base, head)
    assert code == Exit.USAGE
    assert "`git merge` the base into it once more, or rebase" in said.err
    history.git("merge", "-q", "-m", "as told", base)
    assert FILES["campaign"] in read_change(history.root, base, "HEAD").paths


@pytest.mark.parametrize(
    ("path", "mode", "code"),
    [
        ("productions/campaigns/proc9/campaign.yaml", "120000", "BP304"),
        ("productions/sites/kekcc.yaml", "100755", "BP304"),
    ],
)
def test_s14_only_plain_files_are_read(history, capsys, path, mode, code):
    base = history.git("rev-parse", "HEAD")
    head = history.plant(path, b"/etc/passwd", mode)
    result, found, said = judge(history, capsys, base, head)
    assert result == Exit.FINDINGS
    assert (code, path.rpartition("/")[2], 1) in found
    assert "root:" not in said.out


def test_s14_submodules_are_not_followed(history, capsys):
    base = history.git("rev-parse", "HEAD")
    history.git("update-index", "--add", "--cacheinfo", f"160000,{base},productions/skims/menu2.yaml")
    head = history.git("commit-tree", history.git("write-tree"), "-p", base, "-m", "planted")
    assert "a submodule" in judge(history, capsys, base, head)[2].out


def test_a_tree_that_unfolds_without_end_is_refused(history, capsys, monkeypatch):
    """A bomb of trees: ten folders in ten folders in …, in a few kilobytes."""
    monkeypatch.setattr(commits, "ENTRY_LIMIT", 5000)
    base = history.git("rev-parse", "HEAD")
    blob = history.git("hash-object", "-w", "--stdin", data=b"x")
    bomb = history.git("mktree", data=f"100644 blob {blob}\tx\n".encode())
    for _ in range(10):
        rows = "".join(f"040000 tree {bomb}\t{number}\n" for number in range(10))
        bomb = history.git("mktree", data=rows.encode())
    rows = history.git("ls-tree", f"{base}:productions") + f"\n040000 tree {bomb}\tzzz\n"
    productions = history.git("mktree", data=rows.encode())
    top = history.git("mktree", data=f"040000 tree {productions}\tproductions\n".encode())
    head = history.git("commit-tree", top, "-p", base, "-m", "bomb")
    code, _, said = judge(history, capsys, base, head)
    assert code == Exit.UNAVAILABLE
    assert "too deep or too large" in said.err or "more than 5000" in said.err


def test_a_change_of_thousands_of_files_is_not_read(history, capsys):
    base = history.git("rev-parse", "HEAD")
    blob = history.git("hash-object", "-w", "--stdin", data=b"x: 1\n")
    rows = "".join(f"100644 blob {blob}\tc{number:05}.yaml\n" for number in range(2001))
    many = history.git("mktree", data=rows.encode())
    listed = history.git("ls-tree", f"{base}:productions") + f"\n040000 tree {many}\tzzz\n"
    productions = history.git("mktree", data=listed.encode())
    top = history.git("mktree", data=f"040000 tree {productions}\tproductions\n".encode())
    head = history.git("commit-tree", top, "-p", base, "-m", "many")
    code, _, said = judge(history, capsys, base, head)
    assert code == Exit.USAGE
    assert "2001 files" in said.err


@pytest.mark.parametrize("revision", ["--output=/tmp/x", "-h", "nonsense", "HEAD\n--all", ""])
def test_s8_a_revision_is_no_option(history, capsys, revision):
    code, _, said = judge(history, capsys, "main", revision)
    assert code == Exit.UNAVAILABLE
    assert "commit" in said.err


def test_a_history_that_was_cut_off_is_said(history, tmp_path, capsys):
    base, head = propose(history, README="x")
    shallow = tmp_path / "shallow"
    history.git("clone", "-q", "--depth=2", f"file://{history.root}", shallow)
    assert run(["--root", str(shallow), "check", "--base", base, "--head", head]) == Exit.UNAVAILABLE
    assert "in full" in capsys.readouterr().err


def test_a_commit_can_be_checked_and_is_never_written_to(history, capsys):
    wrong = history.commit("wrong", **{FILES["skims"]: SKIMS.replace("title:", "tilte:")})
    history.git("reset", "-q", "--hard", "HEAD~1")
    root = ["--root", str(history.root)]
    assert run([*root, "check", "--head", wrong]) == Exit.FINDINGS
    assert run([*root, "check"]) == Exit.FINE
    capsys.readouterr()
    assert run([*root, "resolve", "proc7", "--head", wrong]) == Exit.USAGE
    assert "--check" in capsys.readouterr().err
