"""Histograms that steps made, compared by `b2prod compare`: read from their published files, of real files too."""

from __future__ import annotations

import json
import sys
from hashlib import sha256
from pathlib import Path

import pytest
from sqlalchemy import select, update

from ci.cli.exits import Exit
from reconciler.ledger.schema.tables import outputs, products
from reconciler.ledger.store.database import State, opened, reading
from schemas.files.canonical import canonical_json
from tests.support.worlds.skim_checkout import FILE, Checkout

QUANTITIES = """\
schema: validation/1
title: Words
checks:
  histograms:
    p: {warn: 0.01, fail: 0.001}
    difference: {warn: 0.5, fail: 2}
    shift: {warn: 0.3, fail: 2}
    min_runs: 1
    min_entries: 20
quantities:
  tracks:
    title: Tracks of an event
    expression: nTracksLE
    bins: {number: 12, low: 0, high: 12}
    per: event
    shown_to: shifter
"""
COUNTS = """\
schema: validation/1
title: Numbers of events
checks:
  events: {min_runs: 1}
"""
MENU = """\
schema: skims/1
title: A menu
provenance: Made up for tests
skims:
  many: {cut: "[nTracksLE >= 0]"}
  more: {cut: "[nTracksLE >= 5]"}
"""
STEPS = """
  shapes: {application: uproot, input: {step: skims, skim: many}, validation: words}
  few: {application: uproot, input: {step: skims, skim: more}, validation: words}"""
MANY, MORE = "seven/skims/many", "seven/skims/more"
SHAPES, FEW = "seven/shapes/histograms_json", "seven/few/histograms_json"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Three runs of 400 events in two skims, with histograms of both."""
    checkout = Checkout(
        tmp_path_factory.mktemp("made"), menu=MENU, size=400, tracks=lambda run, events: events % (run + 6)
    )
    checkout.write("productions/validations/words.yaml", QUANTITIES)
    checkout.write("productions/validations/counts.yaml", COUNTS)
    checkout.declare("many", "more", more=STEPS)
    assert checkout.b2prod("check") == Exit.FINE
    assert checkout.b2prod("resolve", "seven") == Exit.FINE
    assert checkout.b2prod("trust", "pin") == Exit.FINE
    for _ in range(2):
        assert checkout.b2prod("reconcile", "--once") == Exit.FINE
    return checkout


@pytest.fixture
def call(made, capsys):
    def compare(*words):
        capsys.readouterr()
        code = made.b2prod("compare", *words, *(() if "--by" in words else ("--by", "words")))
        told = capsys.readouterr()
        return code, told.out, told.err

    return compare


def find_files(made, step):
    """The paths of a step's JSON files, by the number of the run."""
    with reading(State(made.state)) as connection:
        columns = (outputs.c.run, outputs.c.storage, outputs.c.folder, products.c.path)
        query = select(*columns).join(products, products.c.output == outputs.c.id)
        rows = connection.execute(query.where(outputs.c.step == step, outputs.c.output == "histograms_json"))
        return {run: Path(*place) for run, *place in rows}


def replace_file(made, file, data, content=None):
    """Another content of a published file, with its checksum in the ledger."""
    content = canonical_json(data) if content is None else content
    mode = file.parent.stat().st_mode
    file.parent.chmod(0o755)
    file.chmod(0o644)
    file.write_bytes(content)
    file.parent.chmod(mode)
    with opened(State(made.state)) as engine, engine.begin() as connection:
        rows = connection.execute(select(outputs.c.id, outputs.c.storage, outputs.c.folder)).all()
        (output,) = [row.id for row in rows if Path(row.storage, row.folder) == file.parent]
        which = (products.c.output == output) & (products.c.path == file.name)
        changed = update(products).where(which).values(checksum=f"sha256:{sha256(content).hexdigest()}")
        assert connection.execute(changed).rowcount == 1


def read_row(text):
    (result,) = json.loads(text)["results"]
    return result, {row["quantity"]: row for row in result["rows"]}


@pytest.mark.slow
@pytest.mark.parametrize(("one", "other"), [(MANY, MORE), (SHAPES, FEW)], ids=["datasets", "histograms"])
def test_the_histograms_of_datasets_are_those_made_of_them(call, one, other):
    code, out, _ = call(one, one)
    assert code == Exit.FINE, out
    code, out, _ = call(one, other, "--json")
    _, rows = read_row(out)
    row = rows["tracks"]
    assert (row["runs"], row["entries"]) == (3, 1200)
    expected = sum(n % (run + 6) >= 5 for run in (1, 2, 3) for n in range(400))
    assert row["against"]["entries"] == expected
    assert (row["verdict"], code) == ("fail", Exit.FINDINGS)
    assert json.loads(out)["compared"]["histograms"] != json.loads(out)["against"]["histograms"]
    assert call(one, other, "--json")[1] == out


@pytest.mark.slow
def test_error_flagged_events_are_those_that_files_of_histograms_tell(made, call):
    """The runs hold ntuples, which have no such branch: files that tell the numbers are put in place of those made."""
    kept = {}
    try:
        code, out, _ = call(MANY, MANY, "--by", "counts", "--json")
        (result,) = json.loads(out)["results"]
        assert (result["verdict"], code) == ("pass", Exit.FINE)
        assert result["reason"].endswith("differ; error-flagged events are not known")
        for step, flagged in (("shapes", 7), ("few", 5)):
            for run, file in find_files(made, step).items():
                if run < 3:
                    kept[file] = file.read_bytes()
                    replace_file(made, file, {**json.loads(kept[file]), "error_flagged": flagged})
        code, out, _ = call(MANY, MORE, "--by", "counts", "--json")
        assert code == Exit.FINDINGS
        (result,) = json.loads(out)["results"]
        reason = "; error-flagged are 14 here and 10 there; of 1 run error-flagged events are not known"
        assert (result["verdict"], result["reason"][-len(reason) :]) == ("warn", reason)
        rows = [(row["run"], row["number"], row["against"], row["read"]) for row in result["rows"]]
        assert rows == [("7:1", 7, 5, 400), ("7:2", 7, 5, 400)]
        for file in (*find_files(made, "shapes").values(), *find_files(made, "few").values()):
            if file in kept:
                replace_file(made, file, {**json.loads(kept[file]), "error_flagged": 500})
        _, out, _ = call(MANY, MORE, "--by", "counts", "--json")
        assert json.loads(out)["results"][0]["reason"].endswith("differ; error-flagged events are not known")
    finally:
        for file, content in kept.items():
            replace_file(made, file, {}, content)


@pytest.mark.slow
@pytest.mark.parametrize("how", ["changed", "gone", "a link"])
def test_a_file_that_is_not_what_the_ledger_has_is_not_known(made, call, how, tmp_path):
    file = find_files(made, "shapes")[2]
    content, mode = file.read_bytes(), file.parent.stat().st_mode
    file.parent.chmod(0o755)
    file.chmod(0o644)
    try:
        if how == "changed":
            file.write_bytes(content.replace(b'"events":400', b'"events":399'))
        else:
            file.unlink()
        if how == "a link":
            (tmp_path / "else").write_bytes(content)
            file.symlink_to(tmp_path / "else")
        code, out, _ = call(MANY, MANY, "--json")
        result, rows = read_row(out)
        assert code == Exit.PARTLY
        assert rows["tracks"]["runs"] == 2
        told = {
            "changed": "the file has another checksum than the ledger",
            "gone": "the file is gone",
            "a link": "the file is not a plain file, or too large",
        }
        assert f"{told[how]} in 1 run (7:2)" in result["reason"]
    finally:
        file.unlink(missing_ok=True)
        file.write_bytes(content)
        file.chmod(0o444)
        file.parent.chmod(mode)
    assert call(MANY, MANY)[0] == Exit.FINE


@pytest.mark.slow
def test_histograms_of_other_outputs_than_these_do_not_count(made, call):
    with opened(State(made.state)) as engine, engine.begin() as connection:
        chosen = (outputs.c.step == "shapes", outputs.c.run == 3)
        kept = connection.execute(select(outputs.c.input).where(*chosen)).scalar()
        connection.execute(update(outputs).where(*chosen).values(input="0" * 64))
    code, out, _ = call(MANY, MANY)
    with opened(State(made.state)) as engine, engine.begin() as connection:
        connection.execute(update(outputs).where(*chosen).values(input=kept))
    assert code == Exit.PARTLY
    assert f"{MANY}: no histograms were made in 1 run (7:3)" in out


@pytest.mark.slow
def test_plots_are_drawn_worst_first_and_twice_the_same(call, tmp_path):
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        code, _, err = call(MANY, MORE, "--plots", str(folder))
        assert code == Exit.FINDINGS
        assert f"1 plot as SVG and PNG in {folder}" in err
    first, second = ({file.name: file.read_bytes() for file in folder.iterdir()} for folder in folders)
    assert first == second
    assert sorted(first) == ["01-fail-tracks.png", "01-fail-tracks.svg"]
    assert first["01-fail-tracks.svg"].startswith(b"<?xml")
    assert first["01-fail-tracks.png"].startswith(b"\x89PNG")


@pytest.mark.slow
def test_plots_that_cannot_be_drawn_are_told_with_what_to_do(call, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    code, out, err = call(MANY, MANY, "--plots", str(tmp_path / "file"))
    assert (code, out) == (Exit.USAGE, "")
    code, _, err = call("0" * 64, "--plots", str(tmp_path))
    assert code == Exit.USAGE
    assert "a kept comparison has no histograms to plot; compare A and B again" in err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    code, _, err = call(MANY, MANY, "--plots", str(tmp_path / "plots"))
    assert code == Exit.USAGE
    assert "pip install 'b2prod[plots]'" in err


REAL = """\
schema: campaign/1
title: Real files
kind: skim
runs:
  - {{experiment: 0, ranges: "0"}}
site: local
layout: plain
steps:
  validate: {{application: uproot, input: {{dataset: {name}/reco/mdst}}, validation: tracking}}
limits: {{max_units: 20, max_restate: 0}}
"""
HOUSE = Path(__file__).parents[3]


@pytest.mark.slow
def test_real_files_pass_against_themselves_and_differ_from_those_of_other_releases(
    tmp_path, shared_data, capsys
):
    checkout = Checkout(tmp_path)
    (tmp_path / FILE).unlink()
    text = (HOUSE / "productions/validations/tracking.yaml").read_text()
    start, rest = text.split("checks:\n")
    checks = QUANTITIES[QUANTITIES.index("checks:") : QUANTITIES.index("quantities:")]
    checks = checks.replace("min_entries: 20", "min_entries: 5").replace("fail: 2}", "fail: 9}")
    checkout.write(
        "productions/validations/tracking.yaml", start + checks + rest[rest.index("quantities:") :]
    )
    (tmp_path / "real.json").write_text(json.dumps([{"experiment": 0, "run": 0, "type": "mc"}]))
    assert checkout.b2prod("runs", "import", tmp_path / "real.json") == Exit.FINE
    files = {
        "old": "mdst/mdst-v05-00-00.root",
        "new": "mdst/mdst-v06-00-00.root",
        "other": "mdst/150_noBKG_DtoPiNuNu.root",
        "oldest": "mdst-2019/mdst-v02-01-00.root",
    }
    for name, file in files.items():
        listed = tmp_path / f"{name}.json"
        row = {"path": str(shared_data / "belle2" / file), "experiment": 0, "run": 0}
        listed.write_text(json.dumps([row]))
        words = ("files", "import", listed, "--level", "mdst", "--dataset", f"{name}/reco/mdst")
        assert checkout.b2prod(*words) == Exit.FINE
        checkout.write(f"productions/campaigns/{name}s/campaign.yaml", REAL.format(name=name))
    assert checkout.b2prod("trust", "pin") == Exit.FINE
    for name in files:
        assert checkout.b2prod("resolve", f"{name}s") == Exit.FINE
    assert checkout.b2prod("reconcile", "--once") == Exit.FINE
    for name in files:
        dataset = f"{name}s/validate/histograms_json"
        capsys.readouterr()
        assert checkout.b2prod("compare", dataset, dataset, "--by", "tracking") == Exit.FINE
    capsys.readouterr()
    words = (f"{name}s/validate/histograms_json" for name in ("other", "new"))
    assert checkout.b2prod("compare", *words, "--by", "tracking", "--json") == Exit.FINDINGS
    result, rows = read_row(capsys.readouterr().out)
    assert result["verdict"] == "warn"
    assert rows["tracks"]["against"]["entries"] == 10
    assert rows["tracks"]["entries"] == 150
    assert rows["clusters"]["shift"] < -1  # without background there are fewer clusters
