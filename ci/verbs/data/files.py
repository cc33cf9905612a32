"""Files of the run catalogue: files import, list, remove, verify."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rich_click as click

from ci.changes.project import Project, load_any, pass_project
from ci.cli.console import count_things, limit_lines, print_data, print_json, progress, say
from ci.cli.exits import Exit, WrongUse
from ci.cli.options import processes_option, read_runs, writes_json
from ci.cli.rows import print_rows
from ci.verbs.data.runs import NAME_LIMIT, separator_option, tell_imported, tell_refused
from reconciler.datasets.verification.file_check import Depth
from reconciler.datasets.verification.file_pool import look
from reconciler.datasets.verification.rounds import list_registered
from reconciler.ledger.store.database import opened, reading
from reconciler.ledger.writing.transaction import name_user, now
from reconciler.model.run import LEVELS, File
from reconciler.run_catalogue.catalogue import list_files, list_removals, list_replicas, list_runs
from reconciler.run_catalogue.dataset_register import Provenance
from reconciler.run_catalogue.file_decision import RefusedFile, Replica
from reconciler.run_catalogue.file_register import Filed, import_files
from reconciler.run_catalogue.file_removal import AmbiguousFileError, find_gone, remove_files
from reconciler.run_catalogue.lists.file_lists import find_files, is_event_file, read_dataset
from reconciler.run_catalogue.lists.records import SEPARATORS
from reconciler.run_catalogue.lists.run_lists import RefusedRow
from reconciler.run_catalogue.run_import import ImportedRuns, replace_quarantine
from schemas.manifest.dataset import UNASSIGNED, DatasetName, parse_dataset
from schemas.manifest.runs import format_runs, run_key
from schemas.repository import Repository

_SHOWN = 50
"""The largest number of lines of one kind that an import prints."""

_level_option = click.option("--level", type=click.Choice(LEVELS), help="Only this data level.")
_runs_argument = click.argument("which", metavar="[RUNS]", required=False)


@click.group()
def files() -> None:
    """Import, list, verify and remove the files of the run catalogue."""


@dataclass(slots=True)
class _Sources:
    """The content of the sources of an import. `lists` are the names of the sources that are lists.

    `results` counts files by how they store HLT results: layout and number of lines. `undeclared` are paths of early raw
    data, which wrongly state that their events are simulated. `listed`: path of a file in a list → the list's name, line
    number and text.
    """

    lists: tuple[str, ...] = ()
    found: list[File] = field(default_factory=list)
    replicas: list[Replica] = field(default_factory=list)
    refused: list[tuple[str | None, RefusedFile]] = field(default_factory=list)
    results: Counter[tuple[str, int]] = field(default_factory=Counter)
    undeclared: list[str] = field(default_factory=list)
    listed: dict[str, tuple[str, int, str]] = field(default_factory=dict)

    def list_refused(self, name: str) -> list[RefusedRow]:
        """The refused rows of a list."""
        return [
            RefusedRow(one.line, one.text, f"{one.path}: {one.reason}" if one.path else one.reason)
            for where, one in self.refused
            if where == name
        ]

    def refuse(self, refused: RefusedFile) -> None:
        """Adds a file that contradicts what is registered."""
        name, line, text = self.listed.get(refused.path, (None, 0, ""))
        self.refused.append((name, RefusedFile(refused.path, refused.reason, line, text)))


@files.command("import")
@click.argument("sources", nargs=-1, required=True, type=click.Path(exists=True, path_type=Path))
@click.option(
    "--level",
    type=click.Choice(LEVELS),
    help="Their data level, if a list does not say another and the dataset does not end with it.",
)
@click.option(
    "--dataset",
    metavar="NAME",
    help="Whose data they are, as in prod6/skims/hlt_bhabha; raw data are the detector's.",
)
@click.option("--release", help="The release that the dataset was made with, if it is known.")
@click.option("--global-tag", help="The global tag that the dataset was made with, if it is known.")
@click.option("--replicas", is_flag=True, help="The files are copies of registered ones; no job reads them.")
@separator_option
@pass_project
def import_event_files(
    project: Project,
    sources: tuple[Path, ...],
    level: str | None,
    dataset: str | None,
    release: str | None,
    global_tag: str | None,
    replicas: bool,
    separator: str | None,
) -> int:
    """Register files of events: of a folder, single ones, or those of a list (a table or JSON) with a column `path`.

    Experiment, run and events are read from the files: ROOT files, and raw data in the DAQ's format (.sroot, .sroot-1
    …, also .gz), of level sroot. A list may give them, with size, checksum (as in adler32:0a1b2c3d) and storage (disk,
    tape, staging); then ROOT files are not opened. The name of a RAW file says its run.

    A file is refused if it holds other events than its FileMetaData states. Files that say that their events are simulated,
    or of which a list says so (`simulated`, yes or no), are listed; if their run is one of real data, no template for real
    data reads them.

    Each file belongs to one dataset. Files that other productions made are adopted by --dataset CAMPAIGN/STEP/OUTPUT: so two
    productions of one level live side by side. Without it raw data are the detector's, and others stay in unassigned/LEVEL
    until they are imported with a dataset.

    A run has one file of a name in a dataset, and a content is registered once: files that contradict this are refused,
    each with the other's path. A copy of a file is a replica: give --replicas, or a column `replica_of` with the path or
    name of the file. Files below a folder that are registered and gone are listed, and stay registered. A file that was
    removed stays so until its own path is given.
    """
    sources = tuple(dict.fromkeys(sources))
    level = _choose_level(project, level, dataset)
    read = _read_sources(sources, level, dataset, separator, replicas=replicas)
    _refuse_made(project, read)
    state = project.state
    single = [os.path.abspath(one) for one in sources if one.is_file() and is_event_file(one.name)]
    with progress("recording", None), opened(state) as engine:
        filed = import_files(
            engine, read.found, read.replicas, single, now(), Provenance(release, global_tag)
        )
        for one in filed.decision.refused:
            read.refuse(one)
        for name in read.lists:
            with engine.begin() as connection:
                replace_quarantine(connection, name, read.list_refused(name), now())
    refused = [one for name, one in read.refused if name is None]
    _tell_lines(["refused: " + ": ".join(filter(None, (one.path, one.reason))) for one in refused])
    for name in read.lists:
        tell_refused(name, read.list_refused(name))
    _tell_filed(filed, len(read.refused))
    for (layout, lines), times in sorted(read.results.items()):
        say(f"HLT results of {count_things(lines, 'line')}, {layout}: in {count_things(times, 'file')}")
    with reading(state) as connection:
        types = {run_key(row.experiment, row.run): row.type for row in connection.execute(list_runs())}
        folders = [os.path.abspath(source) for source in sources if source.is_dir()]
        gone = [one for folder in folders for one in find_gone(connection, folder)]
    contradicting = _tell_simulated(read, types)
    unlisted = sorted({run_key(file.experiment, file.run) for file in read.found} - types.keys())
    if unlisted:
        say(f"not in the run catalogue, so no campaign selects them: {count_things(len(unlisted), 'run')}")
        say(f"    {format_runs(unlisted, most=5)}; add them with `b2prod runs import`")
    if gone:
        count = count_things(len(gone), "file")
        say(f"registered and gone: {count}; say `b2prod files remove FILE … --reason …`")
        replica = ", a replica is at "
        _tell_lines([f"    {file.path}{replica + places[0] if places else ''}" for file, places in gone])
    wrong = read.refused or gone or filed.excess or filed.decision.alone or contradicting
    return Exit.FINDINGS if wrong else Exit.FINE


def _tell_maker(repository: Repository, name: DatasetName) -> str | None:
    """Why no files of others can be in a dataset that a live campaign makes; None if none makes it."""
    declared = repository.campaigns.get(name.campaign)
    if declared is None or not declared.campaign.is_live or not declared.campaign.makes(name):
        return None
    what = f"{name} is made by the campaign {name.campaign} of this repository"
    return f"{what}; files of another production need another name"


def _refuse_made(project: Project, read: _Sources) -> None:
    """Refuses the files that a list puts into datasets that live campaigns make."""
    names = {dataset: parse_dataset(dataset) for dataset in {file.dataset for file in read.found}}
    if all(name.is_held for name in names.values()):
        return
    repository = load_any(project)[0]
    owned = {dataset: _tell_maker(repository, name) for dataset, name in names.items()}
    for file in read.found:
        if (reason := owned[file.dataset]) is not None:
            read.refuse(RefusedFile(file.path, reason))
    read.found[:] = [file for file in read.found if owned[file.dataset] is None]


def _choose_level(project: Project, level: str | None, dataset: str | None) -> str:
    """The data level of the files: as said, or that of the dataset.

    Raises:
        WrongUse: the level is not said, or the dataset has no legal name, or another owner.
    """
    if dataset is not None:
        try:
            name = parse_dataset(read_dataset(dataset))
        except ValueError as error:
            raise WrongUse(f"--dataset: {error}") from error
        if (owned := _tell_maker(load_any(project)[0], name)) is not None:
            raise WrongUse(owned)
        level = level or (dataset.rpartition("/")[2] if dataset.rpartition("/")[2] in LEVELS else None)
    if level is None:
        raise WrongUse(f"say the data level of the files: --level {' | '.join(LEVELS)}")
    return level


def _read_sources(
    sources: Sequence[Path], level: str, dataset: str | None, separator: str | None, *, replicas: bool
) -> _Sources:
    from reconciler.run_catalogue.file_import import read_files  # noqa: PLC0415 -- reading ROOT files costs a second

    cells = SEPARATORS[separator] if separator else None
    rows = [(source, row) for source in sources for row in find_files(source, cells)]
    lists = [source for source in sources if not source.is_dir() and not is_event_file(source.name)]
    names = {source: f"files {_show(source.name)}"[:NAME_LIMIT] for source in lists}
    read = _Sources(tuple(names.values()))
    with progress("files", len(rows)) as advance:
        for source, row in rows:
            name = names.get(source)
            beside = Path.cwd() if name is None else source.parent
            for item in read_files([row], level, Path(os.path.abspath(beside)), dataset):
                if isinstance(item, RefusedFile):
                    read.refused.append((name, item))
                    continue
                if name is not None:
                    read.listed[item.file.path] = name, row.line, row.text
                if replicas or item.replica_of is not None:
                    read.replicas.append(Replica(item.file, item.replica_of))
                else:
                    read.found.append(item.file)
                    if item.results is not None and item.results.lines:
                        read.results[item.results.layout.value, len(item.results.lines)] += 1
                    if item.undeclared:
                        read.undeclared.append(item.file.path)
            advance()
    return read


def _show(name: str) -> str:
    return "".join(one if one.isprintable() else "\ufffd" for one in name)


def _tell_filed(filed: Filed, refused: int) -> None:
    made = filed.decision
    tell_imported("files", filed.counts, refused)
    if refused and filed.counts == ImportedRuns() and not made.replicas:
        say("nothing was changed")
    for name, files in Counter(before.dataset for before, _ in made.assigned).items():
        say(f"{count_things(files, 'file')} of {name}: now known whose they are")
    held = Counter(file.dataset for file in made.new if parse_dataset(file.dataset).campaign == UNASSIGNED)
    for name, files in held.items():
        whose = "import them with `--dataset CAMPAIGN/STEP/OUTPUT` to say whose they are"
        say(f"{count_things(files, 'file')} in {name}: {whose}")
    _tell_lines([f"moved: {before.path} is now {after.path}" for before, after in made.moved])
    if made.replicas:
        say(f"replicas: {len(made.replicas)} new")
    if made.kept_out:
        count = count_things(len(made.kept_out), "file")
        say(f"{count} removed earlier and left out; `b2prod files import` with its own path brings one back")
        _tell_lines([f"    {file.path}" for file in made.kept_out])
    alone = "which is not registered; import it too, or put it elsewhere"
    _tell_lines([f"{path}: basf2 reads {after} after it, {alone}" for path, after in made.alone])
    _tell_lines([f"more events than the run has: {one}" for one in filed.excess])


def _tell_simulated(read: _Sources, types: Mapping[int, str]) -> bool:
    """Prints which files state that they have simulated events; True if one contradicts the type of its run."""
    simulated = [file for file in read.found if file.simulated]
    if simulated:
        count = count_things(len(simulated), "file")
        say(f"of simulated events, by what they say of themselves (isMC): {count}")
    if read.undeclared:
        count = count_things(len(read.undeclared), "file")
        said = "raw data from before 30 June 2019, which say wrongly that they are simulated"
        say(f"{said}: {count}, taken as real")
    against = []
    for file in read.found:
        kind = types.get(run_key(file.experiment, file.run), "unknown")
        if file.simulated and kind not in ("mc", "unknown"):
            said = f"its events are simulated, and its run is one of {kind} data"
        elif file.simulated is False and kind == "mc":
            said = "its events are real, and its run is one of simulated events"
        else:
            continue
        against.append(f"{file.path}: it says that {said}")
    if against:
        say("real data are not made of simulated events; correct the run's type, or remove the file:")
        _tell_lines([f"    {one}" for one in against])
    return bool(against)


def _tell_lines(lines: Sequence[str]) -> None:
    for line in limit_lines(lines, _SHOWN):
        say(line)


@files.command("list")
@_runs_argument
@_level_option
@click.option("--removed", is_flag=True, help="List the removed files, with the reasons.")
@writes_json
@pass_project
def show_files(project: Project, which: str | None, level: str | None, removed: bool, as_json: bool) -> None:
    """List the files that are registered, or those that were removed: of all runs, or of RUNS as in "3:529-613,620"."""
    keys = None if which is None else read_runs(which)
    with reading(project.state) as connection:
        query = list_removals(level) if removed else list_files(level)
        rows = [dict(row) for row in connection.execute(query).mappings()]
        places: dict[tuple[Any, ...], list[str]] = {}
        for copy in connection.execute(list_replicas()):
            places.setdefault((copy.dataset, copy.experiment, copy.run, copy.name), []).append(copy.path)
    shown = [row for row in rows if keys is None or run_key(row["experiment"], row["run"]) in keys]
    for row in shown:
        del row["id"]
        if removed:
            del row["restored"]
        else:
            where = tuple(row[name] for name in ("dataset", "experiment", "run", "name"))
            row["replicas"] = places.get(where, [])
    if as_json:
        print_json(shown)
        return
    last = {"storage": "storage", "path": "path"}
    if removed:
        last = {"time": "removed", "who": "by", "reason": "reason"}
    cells: list[Sequence[Any]] = []
    for row in shown:
        run = f"{row['experiment']}:{row['run']}"
        ends = (row[name] for name in last)
        cells.append((row["dataset"], run, row["name"], row["events"], row["size"], *ends))
        cells += [("", "", "", "", "", "replica", path) for path in row.get("replicas", ())]
    columns = ("dataset", "run", "name", "events", "bytes", *last.values())
    print_rows(columns, cells, numbers=("events", "bytes"))


@files.command("remove")
@click.argument("which", metavar="FILE…", nargs=-1, required=True)
@click.option("--reason", required=True, help="Why; kept with your name, and shown by plans.")
@pass_project
def remove(project: Project, which: tuple[str, ...], reason: str) -> None:
    """Take files out of the run catalogue: by path, by name, or as DATASET/RUN/NAME as in detector/raw/12:1/a.root.

    Nothing is deleted from disk. The units that read the file are made again, with this reason, or wait for another
    file. If a file has replicas, a path takes out only the copy there. `files import` with its path brings it back.
    """
    reason = " ".join(reason.split())
    if not reason:
        raise WrongUse("--reason is empty; write why the files are taken out")
    with opened(project.state) as engine:
        try:
            removed = remove_files(engine, which, reason, name_user(), now())
        except AmbiguousFileError as error:
            raise WrongUse(str(error)) from error
    for one in removed:
        stays = f"; the file stays registered, at {one.stays}" if one.stays else ""
        say(f"removed: {one.path}{stays}")


@files.command("verify")
@_runs_argument
@_level_option
@processes_option
@writes_json
@pass_project
def verify_files(
    project: Project, which: str | None, level: str | None, processes: int | None, as_json: bool
) -> int:
    """Read the registered files that are on disk, and compare size, checksum, run and events with the catalogue.

    Of all runs, or of RUNS as in "3:529-613,620". Nothing is changed: a person decides about what is gone or wrong.
    """
    with reading(project.state) as connection:
        registered = list(list_registered(connection, level, None if which is None else read_runs(which)))
    flaws = []
    with progress("verifying", len(registered)) as advance:
        for _, flaw in look(registered, Depth.FULL, processes=processes):
            if flaw is not None:
                flaws.append(flaw)
            advance()
    flaws.sort(key=lambda flaw: flaw.text)
    if as_json:
        troubles = [{"trouble": flaw.trouble.value, "text": flaw.text} for flaw in flaws]
        print_json({"files": len(registered), "troubles": troubles})
    else:
        for flaw in flaws:
            print_data(f"{flaw.trouble.value}: {flaw.text}\n")
        say(f"{count_things(len(registered), 'file')} checked, {count_things(len(flaws), 'trouble')}")
    return Exit.FINDINGS if flaws else Exit.FINE
