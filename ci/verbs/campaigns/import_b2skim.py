"""Imports the campaigns that b2skim declares: import-b2skim."""

from __future__ import annotations

from pathlib import Path

import rich_click as click

from ci.changes.project import Project, load, passes_project
from ci.changes.skim_import import Choices, Sources, import_skims, read_registry
from ci.cli.console import count_things, print_data, say
from ci.cli.exits import Exit, FoundProblems, WrongUse
from ci.cli.findings import format_text
from ci.cli.options import EXISTING_FILE
from ci.cli.work_tree import write_files
from renderer.steering import load_templates
from schemas.files.text import decode_text
from schemas.files.tree import read_tree
from schemas.findings.finding import Finding
from schemas.json_schema.validation import load_schema, validate
from schemas.manifest.runs import EXPERIMENT_LIMIT, RunRange, parse_ranges
from schemas.repository import NAME, NAME_HINT, read_repository
from schemas.rules import check_repository
from schemas.skims.menu import RegistrySkim
from schemas.yaml.document import Document, read_yaml


@click.command("import-b2skim")
@click.argument("definitions", type=EXISTING_FILE)
@click.argument("info", type=EXISTING_FILE)
@click.argument("collections", type=EXISTING_FILE, required=False)
@click.option(
    "--global-tag",
    "tags",
    metavar="TAG",
    multiple=True,
    required=True,
    help="A global tag that the files do not name; may be given several times, in the order of the chain.",
)
@click.option("--registry", type=EXISTING_FILE, help="basf2's registry of skims, registry.py; never run.")
@click.option("--release", help="The release, if the files name a build or another release.")
@click.option(
    "--experiments",
    metavar="CAMPAIGN=LIST",
    multiple=True,
    help="The experiments of a campaign, if its collections do not say them, as in proc16=7-10,12.",
)
@click.option("--site", default="grid", help="Where the jobs go.")
@click.option("--layout", default="plain", help="The layout of the output paths.")
@click.option("--max-units", default=100_000, type=click.IntRange(1), help="The limit of each campaign.")
@click.option("--write", is_flag=True, help="Write the files; without this, they are only listed.")
@passes_project(any_version=True)
def import_b2skim(
    project: Project,
    definitions: Path,
    info: Path,
    collections: Path | None,
    tags: tuple[str, ...],
    registry: Path | None,
    release: str | None,
    experiments: tuple[str, ...],
    site: str,
    layout: str,
    max_units: int,
    write: bool,
) -> int:
    """Import the skim campaigns of b2skim: write a skim menu, and one campaign for each campaign and input stream of b2skim.

    DEFINITIONS (flaggedSkim.yaml) says what the combined skims combine, INFO (infoSkim.yaml) what each reads and
    needs, COLLECTIONS which data are skimmed. What one of them names and another does not define is reported and left
    out. The campaigns are held; files that exist are never changed.
    """
    repository, _ = load(project)
    sources = Sources(
        _read_source(definitions, "b2skim_definitions"),
        _read_source(info, "b2skim_info"),
        _read_source(collections, "b2skim_collections") if collections is not None else None,
        _read_registry(registry) if registry is not None else {},
    )
    menu = definitions.stem
    for what, name in (("menu", menu), ("site", site), ("layout", layout)):
        if not NAME.fullmatch(name):
            raise WrongUse(f"{name!r} is not a legal name of a {what}; {NAME_HINT}")
    chosen = dict(map(_read_experiments, experiments))
    choices = Choices(menu, tags, site, layout, max_units, release, chosen)
    made = import_skims(sources, choices, repository)
    for note in made.notes:
        say(note)
    wrong = _check_files(project, made.files)
    findings = sorted({*made.findings, *wrong})
    try:
        new = _choose_new(project, made.files)
    except WrongUse:
        say(format_text(findings).rstrip("\n"))  # they may be the reason for the error
        raise
    for file in made.files:
        print_data(f"{file}{'' if file in new else '  (is there already)'}\n")
    if not write or wrong or not made.files:
        if findings:
            raise FoundProblems(findings)
        say(f"{count_things(len(new), 'file')} to write; say --write")
        return Exit.FINE
    write_files(project.root, {file: text.encode() for file, text in new.items()})
    say(f"wrote {count_things(len(new), 'file')}; next are `b2prod check` and `b2prod resolve`")
    if findings:
        say(format_text(findings).rstrip("\n"))
        return Exit.PARTLY
    return Exit.FINE


def _read_source(path: Path, schema: str) -> Document:
    document, findings = read_yaml(str(path), path.read_bytes())
    if document is not None and not findings:
        findings = validate(document, load_schema(schema))
    if document is None or findings:
        raise FoundProblems(findings)
    return document


def _read_registry(path: Path) -> dict[str, RegistrySkim]:
    try:
        return read_registry(decode_text(path.read_bytes()))
    except (ValueError, SyntaxError, RecursionError) as error:
        raise WrongUse(f"{path} is not a registry of skims: {error}") from error


def _read_experiments(text: str) -> tuple[str, tuple[RunRange, ...]]:
    campaign, _, listed = text.partition("=")
    ranges, problems = parse_ranges(listed)
    if not campaign or not ranges or problems or ranges[-1].last > EXPERIMENT_LIMIT:
        raise WrongUse(f"{text!r} names no experiments of a campaign; write it as in proc16=7-10,12")
    return campaign, ranges


def _choose_new(project: Project, files: dict[str, str]) -> dict[str, str]:
    """The files that do not exist yet.

    Raises:
        WrongUse: a file exists with another content.
    """
    new = {}
    for file, text in files.items():
        target = project.root / file
        if not target.exists():
            new[file] = text
        elif target.read_bytes() != text.encode():
            raise WrongUse(f"{file} is there already, and says something else; nothing was written")
    return new


def _check_files(project: Project, files: dict[str, str]) -> list[Finding]:
    """The findings that `check` would have if the files were written."""
    tree, _ = read_tree(project.root)
    added = {file: text.encode() for file, text in files.items()}
    repository, findings = read_repository({**tree, **added}, load_templates())
    return [one for one in (*findings, *check_repository(repository)) if one.place.file in added]
