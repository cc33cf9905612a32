"""The note of an edition: what is new against the one before, payloads by detector, skims, luminosity, verdicts, missing runs, issues."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ci.cli.exits import Exit
from reconciler.datasets.comparison import DatasetValue
from reconciler.datasets.contents import RunContent
from reconciler.ledger.reading.editions import find_edition, list_editions
from reconciler.ledger.store.database import reading
from reconciler.planning.edition_notes.gathering import find_before
from reconciler.planning.edition_notes.payload_changes import compare_payloads, find_detector
from schemas.manifest.dataset import parse_dataset
from tests.support.worlds.frozen_datasets import freeze
from tests.support.worlds.noted_world import AFTER, BEFORE, make_noted
from tests.support.worlds.scheme_world import Told

PLANTED = {
    "CDCTimeZeros": "CDC",
    "CDClayerTimeCut": "CDC",
    "EKLMDisplacement": "KLM",
    "BKLMElectronicMapping": "KLM",
    "KLMChannelStatus": "KLM",
    "VXDAlignment": "VXD",
    "TOPCalTimebase": "TOP",
    "BeamSpot": "other",
    "Geometry": "other",
}


@pytest.mark.parametrize(("payload", "detector"), PLANTED.items())
def test_a_payload_belongs_to_the_detector_that_its_name_begins_with(payload, detector):
    assert find_detector(payload) == detector


SETS = st.dictionaries(st.sampled_from(sorted(PLANTED)), st.sampled_from("12"))


@given(st.lists(SETS, min_size=1, max_size=3), st.lists(SETS, min_size=1, max_size=3), st.data())
def test_each_payload_change_counts_the_runs_of_both_that_have_it(old, new, data):
    def tell(side, sets):
        drawn = data.draw(st.dictionaries(st.integers(1, 6), st.integers(0, 3)))
        runs = {
            run: RunContent(
                run, "0", 1, 1, 1, "a/b/mdst", 1, 1, "i", None if place == 3 else f"{side}{place}"
            )
            for run, place in drawn.items()
        }
        return DatasetValue("a/b/mdst", runs, {}, {f"{side}{place}": one for place, one in enumerate(sets)})

    before, after = tell("old", old), tell("new", new)
    found = compare_payloads(before, after)
    expected: dict[tuple[str, str], int] = {}
    known = 0
    for run in before.runs.keys() & after.runs.keys():
        sides = [one.payloads.get(one.runs[run].conditions or "") for one in (before, after)]
        if None in sides:
            continue
        known += 1
        for name in PLANTED:
            was, now = (side.get(name) for side in sides)
            if was != now:
                what = "added" if was is None else "removed" if now is None else "changed"
                expected[name, what] = expected.get((name, what), 0) + 1
    listed = {(one.name, one.change): one.runs for group in found.detectors.values() for one in group}
    assert listed == expected
    assert all(find_detector(one.name) == key for key, group in found.detectors.items() for one in group)
    assert (found.runs, found.unknown) == (known, len(before.runs.keys() & after.runs.keys()) - known)


@pytest.fixture(scope="module")
def world(tmp_path_factory, circle):
    return make_noted(tmp_path_factory.mktemp("noted") / "checkout", circle)


@pytest.fixture
def told(world, capsys):
    return Told(world, capsys)


def test_the_note_tells_what_is_new_and_how_it_was_made(told):
    note = told.json("dataset", "note", AFTER)
    assert (note["against"]["name"], note["runs"]) == (BEFORE, "3:2-4")
    assert (note["gained"], note["lost"], note["same"]) == ("3:4", "3:1", 0)
    (changed,) = note["changed"]
    assert changed["runs"] == "3:2-3"
    assert "release changed: release-03-00-00 -> release-03-00-01" in changed["reason"]
    made = [note[side]["made_with"][0]["release"] for side in ("against", "edition")]
    assert made == ["release-03-00-00", "release-03-00-01"]
    assert note["payloads"] == {
        "runs": 2,
        "unknown": 0,
        "detectors": {
            "CDC": [{"name": "CDCTimeZeros", "change": "changed", "runs": 2}],
            "ECL": [{"name": "ECLCrystalEnergy", "change": "added", "runs": 2}],
            "other": [{"name": "BeamSpot", "change": "removed", "runs": 2}],
        },
    }


@pytest.mark.usefixtures("database")
def test_the_note_is_the_same_on_both_databases_and_leaves_nothing_open(tmp_path, circle, capsys):
    """On PostgreSQL a result that is not read to its end must be closed: else pytest fails."""
    world = make_noted(tmp_path / "checkout", circle)
    server = () if world.state.server is None else ("--database", world.state.server)
    told = Told(world, capsys)
    note = told.json(*server, "dataset", "note", AFTER)
    assert (note["gained"], note["lost"], note["missing"]["selected"]) == ("3:4", "3:1", 4)
    assert [one["kept"] for one in note["edition"]["skims"]] == [900]


def test_the_note_tells_skims_and_luminosity_of_just_these_runs(told):
    note = told.json("dataset", "note", AFTER)
    kept = {
        side: [(one["dataset"], one["selects"], one["kept"], one["read"]) for one in note[side]["skims"]]
        for side in ("against", "edition")
    }
    assert kept == {
        "against": [("proc7/skims/many", [{"cut": "nTracksLE >= 3"}], 684, 1200)],
        "edition": [("proc8/skims/many", [{"cut": "nTracksLE >= 2"}], 900, 1200)],
    }
    lumi = [
        (one["method"], one["value"], one["runs"], one["without"]) for one in note["edition"]["luminosity"]
    ]
    assert lumi == [("bhabha", 207e3, 2, "3:4"), ("gamma_gamma", 207e3, 2, "3:4")]
    pairs = {one["method"]: one["ratio"] for one in note["common_luminosity"]}
    assert pairs == pytest.approx({"bhabha": 207 / 205, "gamma_gamma": 207 / 205})


def test_the_note_tells_verdict_missing_runs_and_known_issues(told):
    note = told.json("dataset", "note", AFTER)
    (verdict,) = note["validation"]
    assert (verdict["verdict"], verdict["validation"], verdict["against"]) == ("pass", "production", BEFORE)
    assert (verdict["runs"], verdict["current"]) == ("3:2-3", True)
    assert note["missing"]["selected"] == 4
    (missing,) = note["missing"]["missing"]
    assert missing["runs"] == "3:5"
    assert missing["reason"].startswith("not produced: ")
    (issue,) = note["known_issues"]
    assert (issue["name"], issue["runs"]) == ("SVD", "3:3-4"), (
        "run 2 does not have it, and runs 5 to 9 are not in it"
    )


def test_the_same_facts_give_the_same_bytes_and_both_texts_name_all_parts(told):
    first, again = (told.read("dataset", "note", AFTER, "--json")[0] for _ in range(2))
    assert first == again
    text, markdown = (told.read("dataset", "note", AFTER, "--format", one)[0] for one in ("text", "markdown"))
    for part in (
        "Known issues",
        "Payloads by detector",
        "Skims, their cuts",
        "Luminosity",
        "Validation",
        "Missing runs",
    ):
        assert part in text
        assert f"### {part}" in markdown
    assert "75.0 +1.3 −1.3" in text
    assert "| CDC | CDCTimeZeros changed (2) |" in markdown


def test_the_first_edition_of_all_is_compared_with_nothing_and_a_stopped_campaign_says_what_it_lacks(told):
    note = told.json("dataset", "note", BEFORE)
    assert "against" not in note
    assert note["missing"] == {"selected": 3, "missing": []}
    assert note["known_issues"] == []
    assert "there is no edition before it" in told.read("dataset", "note", BEFORE)[0]
    turned = told.json("dataset", "note", BEFORE, "--against", AFTER)
    assert (turned["against"]["name"], turned["gained"]) == (AFTER, "3:1")


def test_what_is_not_an_edition_has_no_note(told):
    _, said = told.read("dataset", "note", "proc8/reco/mdst", code=Exit.USAGE)
    assert "is not an edition: write it as proc8/reco/mdst:1" in said
    assert "has :1 of" in told.read("dataset", "note", "proc8/reco/mdst:7", code=Exit.USAGE)[1]


def test_the_edition_before_is_of_the_superseded_campaign_or_else_the_number_before(world):
    with reading(world.state) as connection:
        repository = world.repository()
        mine = find_edition(connection, parse_dataset(AFTER))
        assert find_before(connection, repository, mine).name == BEFORE
        assert find_before(connection, repository, find_edition(connection, parse_dataset(BEFORE))) is None
        other = replace(mine, dataset="proc7/reco/mdst", number=4)
        assert find_before(connection, repository, other).name == BEFORE
        assert len(list_editions(connection)) == 2


def test_runs_that_were_made_after_the_edition_are_said_to_be_so(tmp_path, circle, capsys):
    world = make_noted(tmp_path / "checkout", circle)
    world.behave("made 400", "reco-5")
    world.reconstruct("data_proc8", lambda events: events, range(5, 6))
    world.reconcile("proc8")
    note = Told(world, capsys).json("dataset", "note", AFTER)
    assert [(one["reason"], one["runs"]) for one in note["missing"]["missing"]] == [
        ("made after the edition was frozen", "3:5")
    ]
    freeze(world, name="proc8/reco/mdst")
    again = Told(world, capsys).json("dataset", "note", "proc8/reco/mdst:2")
    assert (again["missing"]["missing"], again["known_issues"]) == ([], []), "the issue is fixed in edition 2"


REQUIRED = {"creators", "titles", "publisher", "publicationYear", "types", "schemaVersion"}
"""What DataCite's schema 4.5 requires."""
KNOWN = REQUIRED | {
    *("doi", "version", "language", "dates", "alternateIdentifiers", "sizes", "formats", "descriptions"),
    *("relatedIdentifiers", "relatedItems"),
}
"""The properties of DataCite's schema 4.5 that are used; it refuses others than its own."""


def test_the_metadata_for_a_doi_have_what_datacite_asks_for(told):
    found = told.json("dataset", "note", AFTER, "--datacite")
    assert REQUIRED <= found.keys() <= KNOWN
    assert found["schemaVersion"] == "http://datacite.org/schema/kernel-4"
    assert found["creators"] == [{"name": "Belle II Collaboration", "nameType": "Organizational"}]
    assert found["publisher"] == {"name": "Belle II Collaboration"}
    assert (found["publicationYear"], found["version"]) == (found["dates"][0]["date"][:4], "1")
    assert found["types"] == {"resourceTypeGeneral": "Dataset", "resourceType": "mdst"}
    assert found["sizes"][:2] == ["1,200 events", "3 files"]
    assert [one["descriptionType"] for one in found["descriptions"]] == ["Abstract", "TechnicalInfo"]
    assert "3 runs of experiment 3: 3:2-4." in found["descriptions"][0]["description"]
    (before,) = found["relatedItems"]
    assert before == {
        "relationType": "IsNewVersionOf",
        "relatedItemType": "Dataset",
        "titles": [{"title": BEFORE}],
    }
    words = ("--datacite", "--doi", "10.5072/proc8-mdst-1", "--doi-before", "10.5072/proc7-mdst-1")
    minted = told.json("dataset", "note", AFTER, *words)
    assert minted["doi"] == "10.5072/proc8-mdst-1"
    assert minted["relatedIdentifiers"] == [
        {
            "relationType": "IsNewVersionOf",
            "relatedIdentifier": "10.5072/proc7-mdst-1",
            "relatedIdentifierType": "DOI",
        }
    ]
    first = told.json("dataset", "note", BEFORE, "--datacite")
    assert not first.keys() & {"relatedItems", "relatedIdentifiers", "doi"}
    _, said = told.read("dataset", "note", AFTER, "--datacite", "--doi", "doi:10.1/x", code=Exit.USAGE)
    assert "is not a DOI" in said
