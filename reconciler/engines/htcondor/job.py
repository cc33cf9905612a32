"""The submit description of a batch for HTCondor; values that HTCondor could take for syntax are refused."""

from __future__ import annotations

import os
import re
from pathlib import Path

from reconciler.engines.shared_folders import VARIABLES
from reconciler.model.engine import Batch
from schemas.policy.site import Site

LOG = "condor.log"
"""The event log of an attempt, in its folder."""

_PLAIN = re.compile(r"[A-Za-z0-9_.:/+@=-]+")


def describe(batch: Batch, site: Site) -> str:
    """The submit description, to which the items of `list_items` are added.

    HTCondor removes a job instead of starting it a second time, because its folder can be used only once.

    Raises:
        ValueError: a path or an option is not plain, or HTCondor cannot pass on an environment variable.
    """
    folder, settings = Path(os.path.abspath(batch.folder)), site.batch
    lines = {
        "universe": "vanilla",
        "executable": _plain(settings.python),
        "arguments": f'"{_plain(str(folder / "member.py"))} $(place)"',
        "initialdir": "$(folder)",
        "log": f"$(folder)/{LOG}",
        "output": "$(folder)/condor.out",
        "error": "$(folder)/condor.out",
        "should_transfer_files": "NO",
        "getenv": "False",
        "environment": f'"{_write_environment(site)}"',
        "JobBatchName": _plain(batch.name),
        "+B2Batch": f'"{_plain(batch.name)}"',
        "max_retries": "0",
        "periodic_remove": "(JobStatus == 1 && NumJobStarts > 0)",
        "notification": "Never",
    }
    if (memory := batch.memory or settings.memory) is not None:
        lines["request_memory"] = str(memory)
    if settings.minutes is not None:
        lines["allowed_job_duration"] = str(settings.minutes * 60)
    if settings.account is not None:
        lines["accounting_group"] = _plain(settings.account)
    if settings.running is not None:
        lines["max_materialize"] = str(settings.running)
    for option in settings.options:
        if option.value is not None and ("$" in option.value or "\n" in option.value):
            raise ValueError(f"the option {option.name} has a value that HTCondor would expand")
        lines[option.name] = option.value or "True"
    return "".join(f"{name} = {value}\n" for name, value in lines.items())


def list_items(batch: Batch) -> list[dict[str, str]]:
    """The place and the folder of each attempt, in order: process N of the cluster is the attempt in place N.

    Raises:
        ValueError: a folder's path is not plain.
    """
    return [
        {"place": str(handle.index), "folder": _plain(os.path.abspath(handle.folder))}
        for handle in batch.handles
    ]


def _write_environment(site: Site) -> str:
    """The environment in HTCondor's new syntax: blanks separate variables, quotes in values are doubled."""
    words = []
    for name in (*VARIABLES, *site.environment):
        value = os.environ.get(name)
        if value is None:
            continue
        if "\n" in value or "$(" in value:
            raise ValueError(f"the environment variable {name} has a value that HTCondor cannot pass on")
        quoted = value.replace('"', '""').replace("'", "''")
        words.append(f"{name}='{quoted}'")
    return " ".join(words)


def _plain(text: str) -> str:
    if not _PLAIN.fullmatch(text):
        raise ValueError(f"{text[:200]!r} has characters that HTCondor would take for more than a name")
    return text
