"""How a command ends where nobody foresaw it, and on terminals that lack characters."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from ci.cli.exits import Exit
from ci.cli.rows import print_rows

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
@pytest.mark.parametrize("encoding", ["ascii", "latin-1"])
@pytest.mark.parametrize(
    "words",
    [
        "diff proc7 proc8",
        "gt diff data_reprocessing_prod6 data_reprocessing_proc7",
        "check",
        "explain proc7",
        "diff proc7 proc8 --json",
    ],
)
def test_a_terminal_that_lacks_a_character_shows_a_stand_in(tmp_path, words, encoding):
    command = [
        sys.executable,
        "-c",
        "from ci.command_line import main; main()",
        "--state",
        str(tmp_path),
        *words.split(),
    ]
    environment = {**os.environ, "PYTHONIOENCODING": encoding}
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, env=environment)
    assert (done.returncode, b"Traceback" in done.stderr) == (Exit.FINE, False)
    text = done.stdout.decode(encoding)
    if "--json" in words:
        whole = subprocess.run(command, cwd=ROOT, capture_output=True, check=False).stdout
        assert json.loads(text) == json.loads(whole)


DEFECT = """
import ci.command_line
def run(arguments):
    raise KeyError("\\u2192 unforeseen")
ci.command_line.run = run
ci.command_line.main()
"""


def test_a_defect_has_an_exit_code_of_its_own_and_says_where_its_report_lies(tmp_path):
    environment = {**os.environ, "TMPDIR": str(tmp_path), "PYTHONIOENCODING": "ascii"}
    done = subprocess.run(
        [sys.executable, "-c", DEFECT], cwd=ROOT, capture_output=True, check=False, text=True, env=environment
    )
    assert done.returncode == Exit.DEFECT
    assert "Traceback" not in done.stderr
    (report,) = tmp_path.iterdir()
    assert str(report) in done.stderr
    assert "unforeseen" in report.read_text("utf-8")
    assert report.stat().st_mode & 0o077 == 0


THREAD = """
import threading
import ci.command_line
def run(arguments):
    def fail():
        raise KeyError("unforeseen")
    thread = threading.Thread(target=fail)
    thread.start()
    thread.join()
    return 0
ci.command_line.run = run
ci.command_line.main()
"""

NO_VERSION = """
import ci.command_line, reconciler.outside.defects
def run(arguments):
    raise KeyError("unforeseen")
def version(name):
    raise ModuleNotFoundError("no metadata")
ci.command_line.run = run
reconciler.outside.defects.version = version
ci.command_line.main()
"""


@pytest.mark.parametrize(("script", "code"), [(THREAD, Exit.FINE), (NO_VERSION, Exit.DEFECT)])
def test_no_traceback_is_shown_of_a_thread_or_a_broken_installation(tmp_path, script, code):
    environment = {**os.environ, "TMPDIR": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=False, text=True, env=environment
    )
    assert done.returncode == code
    assert "Traceback" not in done.stderr
    (report,) = tmp_path.glob("b2prod-*.txt")
    assert str(report) in done.stderr
    assert "Traceback" in report.read_text()


@pytest.mark.parametrize("terminal", [False, True])
def test_a_row_is_one_line_in_a_pipe_and_folded_on_a_terminal(capsys, monkeypatch, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal, raising=False)
    monkeypatch.setenv("COLUMNS", "60")
    long = "a reason that nobody can say in a few words " * 4
    rows = [("3:529", 7, None, long + "\nand more"), ("3:530", 1200, "x", "short")]
    print_rows(("run", "files", "state", "why"), rows, numbers=("files",), title="Left out")
    title, head, *lines = re.sub(r"\x1b\[[0-9]*m", "", capsys.readouterr().out).splitlines()
    assert (title.strip(), head.split()) == ("Left out", ["run", "files", "state", "why"])
    if terminal:
        assert max(map(len, (head, *lines))) <= 60
        assert len(lines) > 4
    else:
        assert lines == [f"3:529      7         {long} and more", "3:530   1200  x      short"]
