"""Runs one member of a batch in the folder of its attempt.

    python3 member.py INDEX

The folder of this file holds members.json, which lists folder, name and nonce of each member, and job.py. INDEX is a
number from 0. Needs nothing but Python 3.6 or newer.
"""

import json
import os
import sys


def main(index: int) -> None:
    here = os.path.dirname(os.path.abspath(__file__))
    with open(os.path.join(here, "members.json"), encoding="utf-8") as stream:
        folder, name, nonce = json.load(stream)[index]
    os.chdir(folder)
    log = os.open("log", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.close(log)
    # not as an argument, which everybody on the node can read
    environment = dict(os.environ, B2PROD_NONCE=nonce)
    command = [sys.executable, os.path.join(here, "job.py"), name]
    os.execve(sys.executable, command, environment)  # noqa: S606 -- the job takes over this process; there is no shell


if __name__ == "__main__":
    main(int(sys.argv[1]))
