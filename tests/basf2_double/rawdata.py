"""Unpackers: one module for each detector that is asked for."""

from __future__ import annotations

from double_facts import FACTS, bind
from double_log import B2FATAL
from double_modules import add_plain


def check_components(components):
    """Unknown detectors end the job."""
    known = FACTS["values"]["components"]["values"]
    for one in components or ():
        if one not in known:
            B2FATAL(f"Geometry component {one} is unknown or it cannot be used in standard scripts.")


def add_unpackers(*given, **named):
    bound = bind("rawdata.add_unpackers", *given, **named)
    path, components = bound["path"], bound["components"]
    check_components(components)
    for kind in ("Gearbox", "Geometry"):
        if kind not in path:
            path.add_module(kind)
    for one in components or FACTS["values"]["components"]["values"]:
        add_plain(path, f"{one}Unpacker")
