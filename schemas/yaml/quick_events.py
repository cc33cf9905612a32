"""The events of a sound YAML text, from libyaml: twenty times faster than the parser in Python.

libyaml goes by YAML 1.1, and its errors are terse. So a text that it refuses, or that has anything which the two parsers may read
differently, is for the parser in Python (`schemas.yaml.syntax`), which alone says what is wrong.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import yaml

LOADER = getattr(yaml, "CSafeLoader", None)
"""The door to libyaml; None where PyYAML was built without it."""


class Doubtful(Exception):
    """The text is for the parser in Python."""


_RARE = re.compile(r"""\t|(^|[\s\[\]{},"'])[?:]\S|\?(\s|$)|^\.\.\.""", re.MULTILINE)
"""Tabs, marks of keys and values that touch what they belong to, `?`, and ends of documents: libyaml allows them in more places."""
_BLOCK = re.compile(r"[|>][+-]?\n +[^ \n]")
"""The beginning of a block of text on whose meaning the two parsers agree: no comment, no indentation by number, no blank line, and
a text that is indented.
"""


def parse_quickly(text: str) -> Iterator[Any]:
    """Yields the events of a text, as `yaml.events` has them.

    Raises:
        Doubtful: libyaml is missing or refuses the text, or there is something in it on which the two parsers may differ.
    """
    if LOADER is None or _RARE.search(text):
        raise Doubtful
    try:
        for event in yaml.parse(text, Loader=LOADER):
            if isinstance(event, yaml.NodeEvent):
                _judge(event, text)
            yield event
    except (yaml.YAMLError, ValueError) as error:
        raise Doubtful from error


def _judge(event: Any, text: str) -> None:
    start: int = event.start_mark.index
    if isinstance(event, yaml.AliasEvent) or event.anchor is not None or event.tag is not None:
        raise Doubtful
    if not isinstance(event, yaml.ScalarEvent):
        return
    if not event.value and not event.style:  # the parsers place an empty value differently
        raise Doubtful
    if event.style in ("|", ">") and not _BLOCK.match(text, start):
        raise Doubtful
