"""Doubles of a batch system's commands that play faults: they note each call, and then run the real command, or worse.

    doubles.py FOLDER COMMAND ARGUMENT…

is what each executable in a folder of doubles does; `FOLDER/faults.json` says what goes wrong with which command, and
`FOLDER/real.json` where the real ones are.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

NOISE = "Authorized use only. All activity is monitored.\nplease wait ...\n"


def install(folder: Path, real: dict[str, str]) -> None:
    """Makes a folder of doubles; put it in front of PATH."""
    folder.mkdir(exist_ok=True)
    (folder / "real.json").write_text(json.dumps(real))
    (folder / "faults.json").write_text("{}")
    for name in real:
        double = folder / name
        arguments = f"sys.argv[:1] = ['doubles', {str(folder)!r}, {name!r}]"
        run = f"runpy.run_path({__file__!r}, run_name='__main__')"
        # without site packages: twice as fast
        double.write_text(f"#!{sys.executable} -S\nimport runpy, sys\n{arguments}\n{run}\n")
        double.chmod(0o755)


def set_faults(folder: Path, faults: dict[str, str]) -> None:
    part = folder / "faults.part"
    part.write_text(json.dumps(faults))
    part.rename(folder / "faults.json")


def list_calls(folder: Path) -> list[str]:
    """The commands that were called, in order."""
    calls = folder / "calls"
    return [json.loads(line)[0] for line in calls.read_text().splitlines()] if calls.exists() else []


def play(folder: Path, name: str, arguments: list[str]) -> int:
    with (folder / "calls").open("a") as calls:
        calls.write(json.dumps([name, *arguments]) + "\n")
    real = json.loads((folder / "real.json").read_text())[name]
    fault = json.loads((folder / "faults.json").read_text()).get(name)
    if fault is None:
        os.execv(real, [name, *arguments])
    word, _, text = fault.partition(" ")
    if word == "fail":
        print(text or f"{name}: error: no answer", file=sys.stderr)
        return 1
    if word == "hang":
        time.sleep(600)
    if word == "empty" and text == "at once":
        return 0
    if word == "nothing":  # LSF's, for an id or a name that it does not know
        print("No matching job found" if name == "bhist" else "No job found", file=sys.stderr)
        return 255
    if word == "partial":
        arguments = [one.replace(*text.split()) for one in arguments]
    done = subprocess.run([real, *arguments], executable=real, capture_output=True, text=True, check=False)
    out, status = done.stdout, done.returncode
    if word == "accept" and text == "hang":
        time.sleep(600)
    elif word == "accept":
        print(text, file=sys.stderr)
        return 1
    elif word == "before":
        out = NOISE + out
    elif word == "around":
        out = NOISE + out + NOISE
    elif word == "inline":
        out = out.replace("\n", " please wait ...\n")
    elif word == "empty":
        out = ""
    elif word == "cut":
        out = out[: len(out) // 3]
    sys.stdout.write(out)
    sys.stderr.write(done.stderr)
    return status


if __name__ == "__main__":
    sys.exit(play(Path(sys.argv[1]), sys.argv[2], sys.argv[3:]))
