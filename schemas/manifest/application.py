"""What manifests may say of the steps of each application, as the schema `campaign/1` has it beside their names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import Any

from schemas.json_schema.validation import load_schema
from schemas.json_schema.values import read_named


@dataclass(frozen=True, slots=True)
class ApplicationKeys:
    """What a step of the application says.

    `needs` are the keys that it must have beside those of every step, `refuses` those that mean nothing to it. `writes`
    are `levels`, `skims` or `levels or skims`. `split` is how input is divided where the step does not say it. `level` is
    the data level of its skims; None: that of the input. With `software` it is made with a release and global tags.
    `parameters` maps each name that it reads to what that is; None: a template says it, or the step itself.
    """

    name: str
    needs: tuple[str, ...]
    refuses: tuple[str, ...]
    writes: str
    split: str
    level: str | None = None
    software: bool = False
    parameters: Mapping[str, str] | None = None


@cache
def load_applications() -> Mapping[str, ApplicationKeys]:
    """The applications by name, in the order of the schema."""
    step = load_schema("campaign")["$defs"]["step"]
    declared: Mapping[str, Mapping[str, Any]] = step["properties"]["application"]["x-applications"]
    return MappingProxyType(read_named(ApplicationKeys, declared))
