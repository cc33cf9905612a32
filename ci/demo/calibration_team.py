"""Stands in for the calibration team in the demo: for the CAF, which calibrates, and for the upload to the conditions database.

python -m ci.demo.calibration_team calibrate HANDOVER RESULTS
python -m ci.demo.calibration_team upload RESULTS BASE TAG
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path

import rich_click as click
import uproot

from reconciler.conditions.database_file import name_file, parse_entries
from schemas.conditions.snapshot import freeze_tag, read_snapshot, write_snapshot

RESULTS = Path("caf_outputdb_results", "caf_cdc")
FOLDER = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def team() -> None:
    """What people outside b2prod do, as far as the demo needs it."""


@team.command()
@click.argument("handover", type=FOLDER)
@click.argument("results", type=FOLDER)
def calibrate(handover: Path, results: Path) -> None:
    """Read all files that were handed over, and write a payload with one number, as the CAF leaves its results."""
    inputs = json.loads((handover / "input_data.json").read_text())
    config = json.loads((handover / "caf_config.json").read_text())
    folders = [Path(folder) for places in inputs.values() for folder, _ in places]
    files = [f"{file}:tree" for folder in folders for file in sorted(folder.rglob("*.root"))]
    tracks = uproot.concatenate(files, ["nTracksLE"], library="np")["nTracksLE"]
    experiment, run, *_ = config["requested_iov"]
    entry = f"dbstore/CDCTimeZeros 1 {experiment},{run},-1,-1"
    folder = results / RESULTS
    folder.mkdir(parents=True)
    (folder / "database.txt").write_text(f"{entry}\n")
    (payload,) = parse_entries(entry)
    (folder / name_file(payload)).write_text(f"{tracks.mean():.6f} tracks per event\n")
    print(f"{len(tracks):,} events of {len(files)} files read; {folder}/database.txt has:\n{entry}")


@team.command()
@click.argument("results", type=FOLDER)
@click.argument("base", type=FILE)
@click.argument("tag", type=FILE)
def upload(results: Path, base: Path, tag: Path) -> None:
    """Write TAG: the snapshot BASE with the payloads of RESULTS, each with the next revision, as the server numbers them."""
    folder = results / RESULTS
    snapshot, _ = read_snapshot(str(base), base.stem, base.read_bytes())
    assert snapshot is not None, base
    new = [
        replace(
            one,
            revision="2",
            checksum=hashlib.md5((folder / name_file(one)).read_bytes(), usedforsecurity=False).hexdigest(),
            line=0,
        )
        for one in parse_entries((folder / "database.txt").read_text())
    ]
    frozen = freeze_tag(tag.stem, snapshot.state, [*snapshot.iovs, *new], source=f"the upload of {results}")
    tag.write_bytes(write_snapshot(frozen))
    print(f"{tag.stem} has {len(frozen.iovs)} payloads, {len(new)} of them new")


if __name__ == "__main__":
    team()
