"""Scripts: executable files of the repository that steps of the application `script` run."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass

from schemas.files.tree import SCRIPTS, Tree
from schemas.findings.finding import Finding, Place
from schemas.yaml.scalars import show

NAME = re.compile(r"[a-z][a-z0-9_]{0,39}/[1-9][0-9]{0,5}", re.ASCII)
"""The form of NAME/VERSION of a script, as `script` of the schema `campaign/1`."""
_BEGINNINGS = (b"#!", b"\x7fELF")
"""The first bytes of files that a worker node can execute."""


@dataclass(frozen=True, slots=True)
class Script:
    """One version of a script. `name` is NAME/VERSION, `digest` is the hexadecimal sha256 of the content."""

    name: str
    content: bytes
    digest: str


def read_scripts(tree: Tree) -> tuple[dict[str, Script], tuple[Finding, ...]]:
    """The scripts of a repository by NAME/VERSION, and the findings on the files of their folder."""
    scripts: dict[str, Script] = {}
    findings = []
    for file, content in sorted(tree.items()):
        name = file.removeprefix(f"{SCRIPTS}/")
        if name == file or name.rpartition("/")[2].startswith(".git"):
            continue
        if NAME.fullmatch(name) is None:
            message = f"{show(name)} is not a name and version of a script"
            hint = f"write it as {SCRIPTS}/NAME/VERSION, as in {SCRIPTS}/convert_raw/1"
        elif not content.startswith(_BEGINNINGS):
            message = f"{name} cannot be started: it begins with no `#!`, and is not a program of Linux"
            hint = "name its interpreter in the first line, as in `#!/usr/bin/env python3`"
        elif content.startswith(b"#!") and b"\r" in content.partition(b"\n")[0]:
            message = f"the first line of {name} ends with a carriage return, which becomes a part of the interpreter's name"
            hint = "let its lines end with \\n alone"
        else:
            scripts[name] = Script(name, content, hashlib.sha256(content).hexdigest())
            continue
        findings.append(Finding(Place(file), "BP305", message, hint))
    return scripts, tuple(findings)
