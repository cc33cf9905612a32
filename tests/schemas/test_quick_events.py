"""libyaml and the parser in Python read the same in every text that is not left to the latter alone."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from schemas.yaml.composer import Composer
from schemas.yaml.layout import find_comments

PRODUCTIONS = Path(__file__).parents[2] / "productions"
MANIFESTS = sorted(PRODUCTIONS.rglob("*.yaml"))
STYLES = """\
---
a: [
  b, {c: "d", e: 'f'},  # g
]
h: |
  i # j

  k
l: >-
  m
  n
'o': p
  q
r:
- s: -1.5e3
  t: "\\u00e9"
"""
TEXTS = [STYLES, *(file.read_text() for file in MANIFESTS)]
PIECES = [
    *"\n\t#:-?|>{}[],\"'&*!%@\\~1aé",
    *(" ", "---", "...", ": ", "- ", "? ", " #", "\n  ", "\n\n", "0x", "|-", ">+", "|2", '"\\x41"', "''"),
]


@st.composite
def damaged(draw):
    """Some lines of a sound text with some characters replaced."""
    lines = draw(st.sampled_from(TEXTS)).split("\n")
    first = draw(st.integers(0, len(lines) - 1))
    text = "\n".join(lines[first : first + draw(st.integers(1, 12))])
    for piece in draw(st.lists(st.sampled_from(PIECES), max_size=3)):
        at = draw(st.integers(0, len(text)))
        text = text[:at] + piece + text[at + draw(st.integers(0, 2)) :]
    return text


def agrees(text):
    """Whether a text is left to the parser in Python, or read alike by both."""
    quick, exact = Composer("a.yaml", text), Composer("a.yaml", text)
    if not quick.read_quickly():
        return True
    return (
        exact.read()
        and not exact.findings
        and (repr(exact.data), exact.root, exact.refused) == (repr(quick.data), quick.root, quick.refused)
        and list(find_comments(text, exact.spans)) == list(find_comments(text, quick.spans))
    )


@settings(max_examples=500, deadline=None)
@given(damaged())
def test_both_parsers_read_the_same(text):
    assert agrees(text)


@pytest.mark.parametrize(
    "text",
    [
        "a: x\ty\n",
        "? a\n: 1\n",
        '[? "a"\n :b]\n',
        '["a":b]\n',
        "a: 1\n...\n...\n",
        "a: ># b\n  c\n",
        "a: |\n    \n  b\n",
        "|\n# c\n",
        "--- >\nc\n",
        "a:\n- \n",
    ],
)
def test_what_they_read_differently_is_left_to_the_parser_in_python(text):
    assert not Composer("a.yaml", text).read_quickly()


def test_sound_manifests_are_read_quickly():
    doubted = [file for file in MANIFESTS if not Composer(file.name, file.read_text()).read_quickly()]
    assert len(doubted) < len(MANIFESTS) / 10
