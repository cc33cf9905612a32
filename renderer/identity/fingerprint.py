"""Fingerprints (`fp/1`): the digest of all that determines an output's data, and of nothing else.

    fingerprint = sha256 of canonical JSON {"conditions": …, "fp": 1, "input": {"files": …} or {"unit": …}, "recipe": …}

`recipe` is the digest of what all runs of a step's output have in common. `conditions` is the digest of the run's payload
set; steps that use no conditions have no such key. `input` is the digest of the registered files, or the fingerprint of
the upstream output. Titles, tickets, expectations, tag names, campaigns, paths, queues and sites do not change it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from hashlib import sha256
from typing import Any, overload

from renderer.applications import APPLICATIONS
from renderer.identity.digest_columns import WIDTH, DigestColumn, choose
from schemas.files.canonical import digest
from schemas.manifest.campaign import Campaign
from schemas.manifest.step import Step
from schemas.repository import Repository


@dataclass(frozen=True, slots=True)
class Recipe:
    """What determines one output of a step, apart from the run: JSON data, and their digest."""

    output: str
    content: Mapping[str, Any]
    digest: str


def write_recipes(campaign: Campaign, step: Step, repository: Repository) -> tuple[Recipe, ...]:
    """The recipes of a step's outputs, in their declared order.

    Raises:
        TemplateBroken: the step's template cannot be rendered.
    """
    application = APPLICATIONS[step.application]
    common = {"split": step.split, **application.write_recipe(campaign, step, repository)}
    recipes = []
    for output in step.outputs:
        made: dict[str, Any] = {"level": step.level_of(output)}
        if step.skims:
            made |= {"skim": output, **repository.skims[output].describe()}
        content = {**common, "output": made}
        recipes.append(Recipe(output, content, digest(content)))
    return tuple(recipes)


def name_changes(before: Mapping[str, Any], after: Mapping[str, Any]) -> Iterable[str]:
    """What differs between two recipes, in words."""
    for key in sorted(before.keys() | after.keys()):
        old, new = before.get(key), after.get(key)
        if isinstance(old, dict) and isinstance(new, dict):
            yield from name_changes(old, new)
        elif old != new:
            shown = key in ("release", "application", "cut", "line", "decision", "split")
            yield f"{key} changed: {old} -> {new}" if shown else f"{key} changed"


def digest_files(files: Iterable[tuple[str, int, str]]) -> str:
    """The digest of a run's input files, each with name, size in bytes and checksum; their order does not count."""
    return digest(sorted([name, size, checksum] for name, size, checksum in files))


def fingerprint(recipe: str, source: str, input_digest: str, conditions: str | None = None) -> bytes:
    """One fingerprint, 32 bytes. `source` is `files` or `unit`; digests are hexadecimal."""
    return Fingerprints(recipe, source, [input_digest], None if conditions is None else [conditions])[0]


@dataclass(frozen=True, slots=True)
class Fingerprints(Sequence[bytes]):
    """The fingerprints of many runs, 32 bytes each, which are computed when they are asked for.

    `inputs` and `conditions` have one hexadecimal digest per run; the fingerprint is determined by these and by `recipe`.
    `source` is `files` or `unit`; if runs differ in that, `made` says of each run whether its input is what a unit made. A plan of a million runs compares those, which costs a fifth of computing all fingerprints.
    """

    recipe: str
    source: str
    inputs: Sequence[str] = field(repr=False)
    conditions: Sequence[str] | None = field(default=None, repr=False)
    made: Sequence[bool] | None = field(default=None, repr=False)

    def __len__(self) -> int:
        return len(self.inputs)

    @overload
    def __getitem__(self, index: int) -> bytes: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[bytes]: ...
    def __getitem__(self, index: int | slice) -> bytes | Sequence[bytes]:
        if isinstance(index, slice):
            return self.choose(range(*index.indices(len(self))))
        return self._compute(index, self._end())

    def _end(self) -> bytes:
        return f'"}},"recipe":"{self.recipe}"}}'.encode()

    def _compute(self, index: int, end: bytes) -> bytes:
        # the canonical JSON is written by hand, since it must be fast for a million runs
        payloads = "" if self.conditions is None else f'"conditions":"{self.conditions[index]}",'
        source = self.source if self.made is None else "unit" if self.made[index] else "files"
        begun = f'{{{payloads}"fp":1,"input":{{"{source}":"{self.inputs[index]}'
        return sha256(begun.encode() + end).digest()

    def __iter__(self) -> Iterator[bytes]:
        end = self._end()
        if self.conditions is None and self.made is None:
            begun = sha256(f'{{"fp":1,"input":{{"{self.source}":"'.encode())
            for text in _encode(self.inputs):
                one = begun.copy()
                one.update(text + end)
                yield one.digest()
            return
        for index in range(len(self.inputs)):
            yield self._compute(index, end)

    def choose(self, indices: Iterable[int]) -> Fingerprints:
        """The fingerprints at some indices."""
        listed = indices if isinstance(indices, range) else list(indices)
        conditions = None if self.conditions is None else [self.conditions[index] for index in listed]
        made = None if self.made is None else [self.made[index] for index in listed]
        return replace(self, inputs=choose(self.inputs, listed), conditions=conditions, made=made)

    def pack(self) -> DigestColumn:
        """All of them, as the inputs of units that read these outputs."""
        return DigestColumn(b"".join(self))


def _encode(inputs: Sequence[str]) -> Iterator[bytes]:
    if not isinstance(inputs, DigestColumn):
        yield from (item.encode() for item in inputs)
        return
    for text in inputs.write():
        block = text.encode()
        for place in range(0, len(block), WIDTH):
            yield block[place : place + WIDTH]
