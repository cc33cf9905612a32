"""Local databases as releases of basf2 read them: which line counts, and which revisions can be read at all."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.conditions.database_file import DatabaseFile
from reconciler.conditions.metadata_file import MetadataFile
from reconciler.conditions.source import UnknownTag
from reconciler.execution.launch.preparation import WorkPreparation, list_work
from renderer.identity.payloads import find_payloads
from renderer.identity.units import Chains, find_chains
from schemas.conditions.local_database import find_misreadings, list_readings, number_lines, settle_overlaps
from schemas.conditions.snapshot import LOCAL, Iov, freeze_tag, read_snapshot, write_snapshot
from schemas.manifest.runs import run_key
from tests.support.worlds.builders import snapshot
from tests.support.worlds.worlds import ONE_STEP, World

OLD, MIDDLE, NEW = "release-03-02-04", "release-05-01-12", "release-06-00-08"


def reads_old(lines, key):
    """`LocalDatabase::getData`: the lines from the last to the first, until one holds."""
    return next((one for one in reversed(lines) if one.first <= key < one.end), None)


def reads_middle(lines, key):
    """`TestingPayloadStorage::get` of 04 and 05: the highest revision; it begins with 0, which no line is above."""
    found, highest = None, 0
    for one in lines:
        if one.first <= key < one.end and highest < int(one.revision):
            found, highest = one, int(one.revision)
    return found


READS = {OLD: reads_old, "prerelease-03-00-00b": reads_old, MIDDLE: reads_middle, NEW: reads_old}


@st.composite
def databases(draw):
    intervals = st.tuples(st.integers(0, 9), st.integers(1, 6)).map(lambda pair: (pair[0], sum(pair)))
    lines = draw(st.lists(st.tuples(st.sampled_from("AB"), st.integers(1, 12), intervals), max_size=8))
    return [
        Iov(name, str(revision), f"{name}{revision}".ljust(32, "0"), first, end, line)
        for line, (name, revision, (first, end)) in enumerate(lines, 1)
    ]


@given(databases(), st.sampled_from(list(READS)))
def test_of_overlapping_lines_the_one_counts_that_the_release_takes(lines, release):
    kept = freeze_tag("mine", LOCAL, number_lines(lines))
    settled = settle_overlaps(kept, release)
    for key in range(16):
        used = find_payloads([settled], key)
        for name in "AB":
            wanted = READS[release]([one for one in lines if one.payload == name], key)
            assert (used[name].checksum if name in used else None) == (wanted and wanted.checksum)
    assert not list(find_misreadings(kept, release))
    ordered = sorted(settled.iovs, key=lambda one: (one.payload, one.first))
    assert all(one.payload != other.payload or one.end <= other.first for one, other in pairwise(ordered))


@pytest.mark.parametrize(
    ("release", "count", "words"),
    [
        ("release-02-01-00", 1, "up to 03"),
        ("prerelease-03-00-00b", 1, "up to 03"),
        ("release-04-00-00", 1, "04 and 05"),
        ("release-08-02-06", 1, "from 06 on"),
        ("light-2305-korat", 1, "from 06 on"),
        ("light-1908-kaon", 3, "up to 03"),
    ],
)
def test_which_releases_read_it_how(release, count, words):
    readings = list_readings(release)
    assert len(readings) == count
    assert words in readings[0].releases


@pytest.mark.parametrize(
    ("revision", "wrong"),
    [
        ("0c1baa", {OLD, MIDDLE}),
        ("cacd04", {OLD, MIDDLE}),
        ("012345", {OLD, MIDDLE}),
        ("99999999999", {OLD, MIDDLE}),
        ("0", {MIDDLE}),
        ("1", set()),
        ("123456", set()),
    ],
)
def test_revisions_that_a_release_takes_for_others(revision, wrong):
    kept = freeze_tag("mine", LOCAL, [Iov("A", revision, revision.ljust(32, "0")[:32], 0, 5)])
    found = {release for release in (OLD, MIDDLE, NEW) if list(find_misreadings(kept, release))}
    assert found == wrong


def test_without_the_order_of_lines_only_the_highest_revision_is_known():
    iovs = [Iov("A", "1", "1" * 32, 0, 9), Iov("A", "2", "2" * 32, 3, 5)]
    kept = freeze_tag("mine", LOCAL, iovs)
    assert not list(find_misreadings(kept, MIDDLE))
    for release in (OLD, NEW):
        (found,) = find_misreadings(kept, release)
        assert "does not have the lines' order" in found.reason
    apart = freeze_tag("mine", LOCAL, [iovs[0], Iov("A", "2", "1" * 32, 3, 5)])
    assert not list(find_misreadings(apart, OLD)), "the same content twice"


def test_a_release_that_does_not_say_how_it_reads_must_not_matter():
    lines = [Iov("A", "2", "2" * 32, 0, 9, 1), Iov("A", "1", "1" * 32, 3, 5, 2)]
    (found,) = find_misreadings(freeze_tag("mine", LOCAL, lines), "light-1908-kaon")
    assert "not known which line" in found.reason
    rising = [Iov("A", "1", "1" * 32, 0, 9, 1), Iov("A", "2", "2" * 32, 3, 5, 2)]
    assert not list(find_misreadings(freeze_tag("mine", LOCAL, rising), "light-1908-kaon"))


def test_a_line_number_belongs_to_a_local_database_alone():
    tag = freeze_tag("mine", "PUBLISHED", [Iov("A", "1", "1" * 32, 0, 9, 4)])
    kept, findings = read_snapshot("mine.iov", "mine", write_snapshot(tag))
    assert kept is None
    assert "not an IoV" in findings[0].message


PAYLOAD = "CDCWireHitRequirements"


@pytest.fixture
def world(tmp_path):
    """A campaign whose testing payloads hold two lines for run 3:2, the lower revision last."""
    world = World(tmp_path, campaign=ONE_STEP)
    site = tmp_path / "productions/sites/local.yaml"
    site.write_text(f"{site.read_text()}testing_payloads: {tmp_path}/testing\n")
    folder = tmp_path / "testing/mine"
    folder.mkdir(parents=True)
    (folder / "database.txt").write_text(f"dbstore/{PAYLOAD} 2 0,0,-1,-1\ndbstore/{PAYLOAD} 1 3,2,3,-1\n")
    for revision in (1, 2):
        (folder / f"dbstore_{PAYLOAD}_rev_{revision}.root").write_bytes(b"%d" % revision)
    mine = DatabaseFile(folder / "database.txt").fetch("mine")
    world.write("productions/global-tags/mine.iov", write_snapshot(mine).decode())
    testing = "    testing_payloads: [{name: mine, reason: under study, ticket: A-1}]\n"
    world.change(("    outputs: [mdst]\n", f"    outputs: [mdst]\n{testing}"))
    return world


@pytest.mark.parametrize(("release", "revision"), [("release-03-00-00", "1"), ("release-04-00-00", "2")])
def test_a_unit_is_made_with_the_payload_that_its_release_takes(world, release, revision):
    repository = world.repository()
    campaign = replace(repository.campaigns["proc7"].campaign, release=release)
    (step,) = campaign.expand()
    chains = find_chains(campaign, step, repository, Chains(((repository.snapshots["tag_a"],),)))
    used = find_payloads(chains.of(run_key(3, 2)), run_key(3, 2))
    assert (used[PAYLOAD].revision, len(used)) == (revision, 2)
    assert find_payloads(chains.of(run_key(3, 1)), run_key(3, 1))[PAYLOAD].revision == "2"


def test_what_a_job_may_use_of_its_tags_has_no_testing_payloads(world, tmp_path):
    """Of both there is a revision 1, and they have nothing to do with one another."""
    world.write("productions/global-tags/tag_a.iov", snapshot("tag_a", f"{PAYLOAD} 1 {'f' * 32} 0,0,-1,-1"))
    world.lock()
    writer = WorkPreparation(world.state, world.repository())
    ((item, _),) = writer.prepare(list_work(world.state_view().views)[:1], {})
    file = tmp_path / "conditions.sqlite"
    file.write_bytes(writer.render(item.split()[0])["conditions.sqlite"])
    assert MetadataFile(file).fetch("tag_a").iovs
    with pytest.raises(UnknownTag, match=r"it has tag_a$"):
        MetadataFile(file).fetch("local")


def test_what_jobs_use_of_a_local_database_is_told_for_a_release(world, tmp_path, capsys):
    words = ["--root", str(tmp_path), "gt", "iov", "mine", "--run", "3:5"]
    assert run(words) == Exit.USAGE
    assert "say --release" in capsys.readouterr().err
    for release, unused in (("release-03-00-00", "r2"), ("release-04-00-00", "r1")):
        assert run([*words, "--release", release]) == Exit.FINE
        (line,) = [line for line in capsys.readouterr().out.splitlines() if "not used" in line]
        assert line.split()[1] == unused
