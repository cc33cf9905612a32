"""Rules on scripts: they exist, the site allows them, and their arguments are valid."""

from __future__ import annotations

from collections.abc import Iterator

from schemas.files.tree import SCRIPTS
from schemas.findings.finding import Finding
from schemas.manifest.step import Step
from schemas.repository import Repository
from schemas.rules.support.documents import ANY, find_texts
from schemas.yaml.scalars import show
from schemas.yaml.wording import list_words, suggest

PLACES = ("@inputs", "@job", "@experiment", "@run")
"""Arguments of a script that stand for a value of the job, beside `OUTPUT`."""
OUTPUT = "@output:"
"""The beginning of an argument that stands for an output's file name; the data level follows."""


def check_scripts(repository: Repository) -> Iterator[Finding]:
    """Ensure that each script is in the repository, and that the site allows it."""
    for document, path, name in find_texts(repository, "steps", ANY, "script"):
        if name not in repository.scripts and f"{SCRIPTS}/{name}" not in repository.broken:
            hint = suggest(name, repository.scripts, f"add the file {SCRIPTS}/{name}")
            yield document.report(path, "BP506", f"there is no script {show(name)}", hint)
    for campaign, document, step in repository.list_steps():
        site = repository.sites.get(campaign.site)
        if site is not None and step.script is not None and step.script_name not in site.scripts:
            message = f"the site {site.name} does not let the script {step.script_name} run"
            hint = "choose another site, or have the name added to `scripts` of the site's file, which its people sign"
            yield document.report(("steps", step.name, "script"), "BP524", message, hint)


def check_arguments(repository: Repository) -> Iterator[Finding]:
    """Ensure that every placeholder in a script's arguments has a value."""
    for _, document, step in repository.list_steps():
        for index, word in enumerate(step.arguments):
            if wrong := _find_wrong(step, word):
                known = [*PLACES, *(f"{OUTPUT}{output}" for output in step.outputs)]
                hint = f"words with `@` in front are {list_words(known)}"
                yield document.report(("steps", step.name, "arguments", index), "BP205", wrong, hint)


def _find_wrong(step: Step, word: str) -> str | None:
    if not word.startswith("@") or word in PLACES:
        return None
    if word.startswith(OUTPUT):
        output = word.removeprefix(OUTPUT)
        return None if output in step.outputs else f"the step {step.name} does not write {show(output)}"
    return f"{show(word)} stands for nothing"
