"""A production system in a folder, with executables that print the same texts as gbasf2's commands.

    gb2_commands.py NAME ARGUMENT…

`install` makes one executable for each command. `grid.json` holds productions and files; `faults.json` gives the fault of each
command. The wrapper refuses an environment with basf2's variables.
"""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import sys
import time
from pathlib import Path

COMMANDS = (
    "gb2_prod_register", "gb2_prod_uploadFile", "gb2_prod_approve", "gb2_prod_status", "gb2_prod_cancel",
    "gb2_ds_list", "gb2_ds_get", "gb2_proxy_info",
)  # fmt: skip
NOISE = "Welcome to gbasf2. The system is in maintenance tomorrow, please wait ...\n"
WRAPPER = """\
#!/bin/sh
# what a site's wrapper does: gbasf2's environment, and then the command
if [ -n "$BELLE2_TOOLS" ]; then echo "basf2 and gbasf2 exclude one another" >&2; exit 9; fi
PATH={folder}:$PATH exec "$@"
"""


class Grid:
    """The production system, for tests to read and change."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @property
    def wrapper(self) -> tuple[str, ...]:
        return (str(self.folder / "with-gbasf2"),)

    def read(self):
        return json.loads((self.folder / "grid.json").read_text())

    def change(self, number: int, **values) -> None:
        state = self.read()
        state["productions"][str(number)].update(values)
        self.write(state)

    def add_files(self, *paths: str, content: str = "whole") -> None:
        state = self.read()
        state["files"].update(dict.fromkeys(paths, content))
        self.write(state)

    def write(self, state) -> None:
        part = self.folder / "grid.part"
        part.write_text(json.dumps(state))
        part.rename(self.folder / "grid.json")

    def set_faults(self, **faults: str) -> None:
        (self.folder / "faults.json").write_text(json.dumps(faults))

    @property
    def calls(self) -> list[list[str]]:
        return [json.loads(line) for line in (self.folder / "calls").read_text().splitlines()]


def install(folder: Path) -> Grid:
    folder.mkdir()
    for name in COMMANDS:
        (folder / name).write_text(f'#!/bin/sh\nexec {sys.executable} -IS {__file__} {name} "$@"\n')
        (folder / name).chmod(0o755)
    (folder / "with-gbasf2").write_text(WRAPPER.format(folder=folder))
    (folder / "with-gbasf2").chmod(0o755)
    (folder / "calls").touch()
    grid = Grid(folder)
    proxy = {"timeleft": "23:59:57", "group": "belle_dataprod"}
    grid.write({"productions": {}, "files": {}, "next": 29655, "proxy": proxy})
    grid.set_faults()
    return grid


def root_file(content: str) -> bytes:
    """A file with ROOT's header, complete or truncated."""
    body = b"x" * 100
    head = (
        b"root" + (62600).to_bytes(4, "big") + (100).to_bytes(4, "big") + (20 + len(body)).to_bytes(4, "big")
    )
    return (head + bytes(4) + body)[: 60 if content == "cut" else None]


def answer(grid: Grid, name: str, arguments: list[str]) -> int:
    state = grid.read()
    productions = state["productions"]
    if name == "gb2_prod_register":
        request = json.loads(Path(arguments[0]).read_text())
        wanted = request["ProductionName"]
        if any(one["name"] == wanted for one in productions.values()):
            print(f"ERROR: production {wanted} already exists", file=sys.stderr)
            return 1
        number = state["next"]
        state["next"] += 1
        productions[str(number)] = {
            "name": wanted,
            "state": "Registered",
            "group": request["ProductionGroup"],
        }
        productions[str(number)]["request"] = request
        grid.write(state)
        print(f"Production {number} has been registered")
    elif name == "gb2_prod_uploadFile":
        one = productions[arguments[1]]
        for file in (one["request"]["SteeringFile"],):
            assert Path(file).exists(), f"{file} is not in {os.getcwd()}"
        one["state"] = "ToApprove"
        grid.write(state)
    elif name == "gb2_prod_approve":
        productions[arguments[1]]["state"] = "Approved"
        grid.write(state)
    elif name == "gb2_prod_cancel":
        productions[arguments[1]]["state"] = "Cancelled"
        grid.write(state)
    elif name == "gb2_prod_status":
        print("   ID   Name                               Status      Progress   Campaign")
        print("-------------------------------------------------------------------------")
        for number, one in productions.items():
            if "-p" in arguments and number not in arguments:
                continue
            if "-g" in arguments and one["group"] not in arguments:
                continue
            print(f" {number}  {one['name']:34} {one['state']}  {one.get('progress', '')}  proc7")
    elif name == "gb2_ds_list":
        folder = arguments[0].partition("/sub*")[0]
        found = [path for path in state["files"] if path.startswith(f"{folder}/")]
        print("\n".join(found) or "No datasets found")
    elif name == "gb2_ds_get":
        for path in arguments[1:]:
            Path(os.path.basename(path)).write_bytes(root_file(state["files"][path]))
            print(f"downloaded {path}")
    elif name == "gb2_proxy_info":
        proxy = state["proxy"]
        print("subject      : /C=JP/O=KEK/OU=CRC/CN=Somebody\nissuer       : /C=JP/O=KEK/OU=CRC")
        if proxy is not None:
            print(
                f"timeleft     : {proxy['timeleft']}\nDIRAC group  : {proxy['group']}\nusername     : prodmgr"
            )
    return 0


def play(folder: Path, name: str, arguments: list[str]) -> int:
    with (folder / "calls").open("a") as calls:
        calls.write(json.dumps([name, *arguments]) + "\n")
    fault, _, text = json.loads((folder / "faults.json").read_text()).get(name, "").partition(" ")
    if fault == "fail":
        print(text or "ERROR: the service cannot be reached", file=sys.stderr)
        return 1
    if fault == "lie":  # exit status 0 with an error in the text
        print(text or "ERROR: the service cannot be reached")
        return 0
    if fault == "hang":
        time.sleep(600)
    if fault == "empty":
        return 0
    if fault == "noise":
        print(NOISE, end="")
    with (folder / "lock").open("a") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with contextlib.redirect_stdout(io.StringIO()) as said:
            status = answer(Grid(folder), name, arguments)
    out = said.getvalue()
    print(out[: len(out) // 3] if fault == "cut" else out, end="")
    if fault == "noise":
        print(NOISE, end="")
    if fault == "accept":
        sys.stdout.flush()
        if text == "hang":
            time.sleep(600)
        print(text, file=sys.stderr)
        return 1
    return status


if __name__ == "__main__":
    sys.exit(
        play(Path(os.environ["PATH"].partition(":")[0]), sys.argv[1], sys.argv[2:])
    )  # the wrapper put it there
