"""Run lists in the forms that the field has, and each way in which a line of them is dirty."""

from __future__ import annotations

import json

import pytest

from ci.cli.exits import Exit
from ci.command_line import run
from reconciler.model.run import Run
from reconciler.outside.errors import SourceUnavailable
from reconciler.run_catalogue.lists.run_lists import RunList, collect_runs


def read(tmp_path, text, *options):
    file = tmp_path / "list"
    file.write_text(text)
    return collect_runs(RunList(file, *options))


def numbers(found):
    return [(one.experiment, one.run) for one in found[0]]


RUNS = [(3, 529), (3, 530), (3, 620)]


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("experiment,run\n3,529\n3,530\n3,620\n", ()),
        ("# from the run database\n\nexp run type\n3   529 physics\n3 530   beam\n3 620 cosmic\n", ()),
        ("RunNumber,Field\n529,1.5\n530,1.5\n620,1.5\n", (3, {"run": "RunNumber"})),
        ('[{"Exp": 3, "RunNumber": 529}, {"Exp": 3, "RunNumber": 530}, {"Exp": 3, "RunNumber": "620"}]',
         (None, {"run": "RunNumber", "experiment": "Exp"})),
        ("3,529\n3,530\n# a remark\n3,620\n", ()),
        ("529-530, 620\n", (3,)),
        ('{"529": [[1, 40]], "530": [[1, 2], [5, 9]], "620": [[1, 1]]}', (3,)),
    ],
    ids=["commas", "blanks", "mapping", "objects", "lines", "ranges", "certification"],
)  # fmt: skip
def test_a_list_is_known_by_its_content(tmp_path, text, options):
    found = read(tmp_path, text, *options)
    assert numbers(found) == RUNS
    assert found[1] == ()


def test_the_certifications_of_another_experiment_are_read_whole(shared_data):
    file = shared_data / "cms/golden/Cert_160404-180252_7TeV_ReRecoNov08_Collisions11_JSON.txt"
    found, refused = collect_runs(RunList(file, 11))
    assert (len(found), refused) == (470, ())
    assert {one.run for one in found} == set(map(int, json.loads(file.read_text())))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("3,530,physics,-99,,", "'-99' is not a count"),
        ("3,530,physics,1,2019-01-02T00:00:00Z,2019-01-01T00:00:00Z", "stops"),
        ("3,530,cosmic (B=0),1,,", "cosmic (B=0)"),
        ("3,530,physics,1,about noon,", "'about noon' is not a time"),
        ("3,530,physics", "3 cells instead of 6"),
        ("3,530,physics,1,,,,", "8 cells instead of 6"),
        ("3,five,physics,1,,", "'five' is not a count"),
        ("3,529,beam,1,,", "listed before, differently"),
        (",530,physics,1,,", "experiment or run is missing"),
        ('3,530,"physics"s,1,,,', "text follows the quote that closes in line 3, column 15"),
        ("3,530,physics,1,2019-02-30T00:00:00Z,", "not a time"),
        ("3,530,physics,1,2019-01-01T00:00:00Z,never", "'never' is not a time"),
        ("4,530,physics,1,,", "the run is of experiment 4, the list was said to be of 3"),
    ],
    ids=lambda value: value[:24],
)
def test_a_line_that_cannot_be_trusted_is_refused_with_its_number_and_the_rest_is_taken(tmp_path, line, why):
    header = "experiment,run,type,events,start,stop"
    text = f"{header}\n3,529,physics,7,2019-01-01T00:00:00Z,\n{line}\n3,620,physics,,,\n"
    found, (refused,) = read(tmp_path, text, 3 if line.startswith("4") else None)
    assert found == (Run(3, 529, "physics", 7, "2019-01-01T00:00:00Z"), Run(3, 620, "physics"))
    assert refused.line == 3
    assert why in refused.reason


@pytest.mark.parametrize("line", ["529-", "613-529", "3:529", "0-99999999"])
def test_a_range_that_is_none_is_refused_and_the_rest_is_taken(tmp_path, line):
    found, refused = read(tmp_path, f"{line}\n620\n", 3)
    assert [(one.experiment, one.run) for one in found] == [(3, 620)]
    assert [one.line for one in refused] == [1]


@pytest.mark.parametrize("text", ["", "\n#\n", "529\n", '{"529": []}', "{}", "what is this", "a,b\n1,2\n"])
def test_what_is_no_list_changes_nothing(tmp_path, text):
    with pytest.raises(SourceUnavailable, match="list"):
        read(tmp_path, text)


def test_the_command_line_maps_columns(tmp_path, capsys):
    (tmp_path / "productions").mkdir()
    (tmp_path / "runs.csv").write_text("RunNumber\n529\nnone\n")
    call = ["--root", str(tmp_path), "runs", "import", str(tmp_path / "runs.csv"), "--experiment", "3"]
    assert run([*call, "--mapping", "number=RunNumber"]) == Exit.USAGE
    assert "one of experiment, run" in capsys.readouterr().err
    assert run([*call, "--mapping", "run=RunNumber"]) == Exit.FINDINGS
    said = capsys.readouterr().err
    assert "line 3 refused: run 'none' is not a count" in said
    assert "1 new, 0 changed, 0 unchanged, 1 refused" in said


def test_what_else_a_list_may_know_is_read_and_its_labels_are_checked(tmp_path):
    header = "experiment,run,energy,quality,files,start"
    lines = [
        "3,1,4s_OffRes,GOOD,5,2019-01-01T09:00:00+09:00",
        "3,2, ,,,2019-01-01 00:00:00.5",
        "3,3,6S,,,",
        "3,4,,fine,,",
        "3,5,,,-1,",
    ]
    found, refused = read(tmp_path, "\n".join([header, *lines]))
    midnight = "2019-01-01T00:00:00Z"
    assert found == (
        Run(3, 1, start=midnight, energy="4S_offres", quality="good", files=5),
        Run(3, 2, start=midnight),
    )
    assert [row.reason.split(" is ")[0] for row in refused] == [
        "beam energy '6S'",
        "quality 'fine'",
        "files '-1'",
    ]


def test_two_experiments_in_a_list_of_one_are_told_apart(tmp_path):
    found, refused = read(tmp_path, "exp,run\n3,1\n4,1\n3,2\n", 3)
    assert found == (Run(3, 1), Run(3, 2))
    assert [(row.line, row.text) for row in refused] == [(3, "4,1")]
