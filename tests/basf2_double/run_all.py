"""Runs `steering.py job.json` in folders, each in a child of its own; what it prints goes to `log` there.

    python run_all.py TRIALS

TRIALS is a JSON file: a list of pairs, a file of facts and the folders that are run by it. The modules of the double are
imported once for each file of facts, so that a script costs a fork. Statuses are written to `status` in the folders.
"""

import importlib
import json
import os
import runpy
import sys
import traceback


def run(folder):
    log = os.open(os.path.join(folder, "log"), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)
    os.chdir(folder)
    sys.argv = ["steering.py", "job.json"]
    status = 1
    try:
        runpy.run_path("steering.py", run_name="__main__")
        status = 0
    except SystemExit as end:
        status = end.code if isinstance(end.code, int) else 1
    except BaseException:  # as the interpreter does, which a child of a fork would not
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def run_those(facts, folders):
    os.environ["BASF2_FACTS"] = facts
    for module in ("basf2", "reconstruction", "ROOT"):  # once, for all children
        importlib.import_module(module)
    for folder in folders:
        child = os.fork()
        if not child:
            run(folder)
        with open(os.path.join(folder, "status"), "w") as stream:
            stream.write(str(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])))
    os._exit(0)


with open(sys.argv[1]) as trials:
    for one in json.load(trials):
        group = os.fork()
        if not group:
            run_those(*one)
        if os.waitpid(group, 0)[1]:
            sys.exit("a state of basf2 cannot be imported")
