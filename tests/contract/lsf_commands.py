"""LSF's commands, played on a real Slurm: `lsf_commands.py COMMAND ARGUMENT…`.

No LSF can be had for tests. These answer in the form of LSF 10.1, after its documentation and recorded replies; the jobs
that they submit, list and kill are Slurm's. An option that LSF does not have, or that is not played here, is an error.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

STATES = {
    "PENDING": "PEND",
    "RUNNING": "RUN",
    "COMPLETING": "RUN",
    "CONFIGURING": "RUN",
    "SUSPENDED": "SSUSP",
    "COMPLETED": "DONE",
}
UNFINISHED = ("PENDING", "RUNNING", "SUSPENDED", "COMPLETING", "REQUEUED", "RESIZING")
VALUES = {"-J", "-q", "-P", "-W", "-M", "-env", "-cwd", "-o", "-R", "-n"}
WRAPPER = """\
#!/bin/sh
LSB_JOBINDEX=${SLURM_ARRAY_TASK_ID:-0}
LSB_JOBID=${SLURM_ARRAY_JOB_ID:-$SLURM_JOB_ID}
export LSB_JOBINDEX LSB_JOBID
exec "$@"
"""


def slurm(*command):
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if "Unable to contact" in done.stderr:
        print("Failed in an LSF library call: Communication time out. Please wait ...", file=sys.stderr)
        sys.exit(255)
    return done


def read_options(arguments, values, switches):
    """Options and operands, which begin at the first word that is no option."""
    options, rest = {}, list(arguments)
    while rest and rest[0].startswith("-"):
        word = rest.pop(0)
        if word in values:
            options[word] = rest.pop(0)
        elif word in switches:
            options[word] = None
        else:
            print(f"{word}: bad or unknown option. Job not submitted.", file=sys.stderr)
            sys.exit(255)
    return options, rest


def bsub(arguments):
    options, command = read_options(arguments, VALUES, {"-rn"})
    name, elements, most = re.fullmatch(r"([^\[\]%]+)(?:\[([\d,-]+)\])?(%\d+)?", options["-J"]).groups()
    if not command or re.search(r"[^A-Za-z0-9_.:/+ -]", " ".join([name, *command])):
        print("Empty or dangerous job. Job not submitted.", file=sys.stderr)
        return 255
    variables = options["-env"].replace(" ", "")
    script = Path(options["-cwd"]) / "lsf.sh"
    script.write_text(WRAPPER)
    done = slurm(
        *("sbatch", "--parsable", "--no-requeue", f"--job-name={name}", f"--partition={options['-q']}"),
        *((f"--array={elements}{most or ''}",) if elements else ()),
        *(
            f"--export={variables}",
            f"--chdir={options['-cwd']}",
            f"--output={options['-o']}",
            "--open-mode=append",
        ),
        *(str(script), *command),
    )
    if done.returncode:
        print(f"{options['-q']}: No such queue. Job not submitted.", file=sys.stderr)
        return 255
    print(f"Job <{done.stdout.strip()}> is submitted to queue <{options['-q']}>.")
    return 0


def list_jobs(*whom):
    """Id, index, name, state, exit status and signal of the jobs that the queue has."""
    form = "jobarrayid:|,state:|,exit_code:|,name:"
    done = slurm("squeue", "-h", "-r", "-t", "all", *whom, "-O", form)
    for line in done.stdout.splitlines():
        place, state, code, name = (word.strip() for word in line.split("|", 3))
        job, _, index = place.partition("_")
        yield job, index or "0", name, state, code


def bjobs(arguments):
    options, ids = read_options(arguments, {"-o", "-J"}, {"-a", "-json"})
    assert {"-json", "-o"} <= options.keys(), "only this form is played"
    jobs = list(list_jobs())
    if "-J" in options:
        pattern = re.escape(options["-J"]).replace(r"\*", ".*")
        chosen = [job for job in jobs if re.fullmatch(pattern, job[2])]
        if not chosen:
            print(f"Job <{options['-J']}> is not found", file=sys.stderr)
            return 255
    else:
        chosen = [job for job in jobs if job[0] in ids or not ids]
    if "-a" not in options:
        chosen = [job for job in chosen if STATES.get(job[3]) in {"PEND", "RUN", "SSUSP"}]
    records = []
    for job, index, name, state, code in chosen:
        word = STATES.get(state, "EXIT")
        status = code.split(":")[0] if word == "EXIT" and not code.startswith("0") else ""
        reason = "TERM_OWNER: job killed by owner" if state.startswith("CANCELLED") else ""
        shown = name if index == "0" else f"{name}[{index}]"
        values = {"JOBID": job, "JOBINDEX": index, "JOB_NAME": shown, "STAT": word}
        values |= {"EXIT_CODE": status, "EXIT_REASON": reason}
        records.append({field.upper(): values[field.upper()] for field in options["-o"].split()})
    known = {job[0] for job in chosen}
    records += [{"JOBID": job, "ERROR": f"Job <{job}> is not found"} for job in ids if job not in known]
    print(json.dumps({"COMMAND": "bjobs", "JOBS": len(records), "RECORDS": records}, indent=2))
    return 255 if len(known) < len(ids) else 0


def bkill(arguments):
    status = 0
    for word in arguments:
        job, indices = re.fullmatch(r"(\d+)(?:\[([\d,-]+)\])?", word).groups()
        if not [one for one in list_jobs() if one[0] == job]:
            print(f"Job <{job}>: No matching job found", file=sys.stderr)
            status = 255
            continue
        slurm("scancel", f"{job}_[{indices}]" if indices else job)
        print(f"Job <{word}> is being terminated")
    return status


def bhist(arguments):
    options, ids = read_options(arguments, {"-n", "-J"}, {"-w", "-a", "-d"})
    whom = [f"--name={options['-J']}"] if "-J" in options else [f"--jobs={','.join(ids)}"]
    done = slurm("sacct", "-X", "-P", "-n", "-S", "now-1day", *whom, "-o", "JobID,User,State,JobName")
    if done.returncode:
        print("Failed in an LSF library call: event file is busy", file=sys.stderr)
        return 255
    rows = set()
    for place, user, state, name in (line.split("|", 3) for line in done.stdout.splitlines()):
        if "-a" in options or ("-d" in options and state.split()[0] not in UNFINISHED):
            rows.add((place, user, name))
    if "-J" in options:
        rows |= {
            (job if index == "0" else f"{job}_{index}", "root", name)
            for job, index, name, *_ in list_jobs(*whom)
        }
    if not rows:
        print("No matching job found", file=sys.stderr)
        return 255
    print("Summary of time in seconds spent in various states:")
    print("JOBID   USER    JOB_NAME  PEND    PSUSP   RUN     USUSP   SSUSP   UNKWN   TOTAL")
    for place, user, name in sorted(rows):
        job, _, index = place.partition("_")
        indices = [index] if not index.startswith("[") else spread(index)
        for one in indices:
            if str(one) == "0":
                # Slurm's own batch, whose number was given again: no element of LSF's counts from 0
                continue
            print(
                f"{job}{f'[{one}]' if one else ''}  {user}  {name}  1       0       1       0       0       0       2"
            )
    return 0


def spread(text):
    for term in text.strip("[]").partition("%")[0].split(","):
        first, _, last = term.partition("-")
        yield from range(int(first), int(last or first) + 1)


def bqueues(arguments):
    done = slurm("sinfo", "-h", "-o", "%R %a", *(["-p", arguments[0]] if arguments else []))
    rows = done.stdout.split("\n")[:-1]
    if not rows:
        print(f"{arguments[0]}: No such queue", file=sys.stderr)
        return 255
    print("QUEUE_NAME      PRIO STATUS          MAX JL/U JL/P JL/H NJOBS  PEND   RUN  SUSP")
    for row in rows:
        name, state = row.split()
        word = "Open:Active" if state == "up" else "Closed:Active"
        print(f"{name:15} 50  {word:15} -    -    -    -     0     0     0     0")
    return 0


def bparams(arguments):
    assert arguments == ["-a"]
    print(
        "    MBD_SLEEP_TIME = 10 (seconds)\n    MAX_JOB_ARRAY_SIZE = 1000\n    CLEAN_PERIOD = 3600 (seconds)"
    )
    return 0


if __name__ == "__main__":
    name = os.path.basename(sys.argv[1])
    sys.exit(globals()[name](sys.argv[2:]))
