from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path

import pytest

from schemas.findings.codes import CODES, WIDTH, Code, explain

BLOCKS = {1: 12, 2: 10, 3: 5, 4: 11, 5: 26, 6: 16, 7: 13, 8: 6, 9: 3}
EXPECTED = [f"BP{block}{number:02}" for block, last in BLOCKS.items() for number in range(1, last + 1)]
HOUSE = Path(__file__).parents[2]


def test_codes_are_those_of_the_table_sorted_and_unique():
    assert list(CODES) == EXPECTED


@pytest.mark.parametrize("code", EXPECTED)
def test_code_has_every_text(code):
    about = CODES[code]
    assert about.code == code
    assert all(getattr(about, field.name).strip() for field in fields(Code))
    assert about.wrong != about.right


@pytest.mark.parametrize("code", EXPECTED)
def test_explain_fits_a_terminal_and_shows_both_examples(code):
    text = explain(code)
    assert max(map(len, text.splitlines())) <= WIDTH
    assert text.startswith(f"{code}: ")
    assert "Wrong:\n    " in text
    assert "Right:\n    " in text
    assert text.endswith("\n")


def test_explain_takes_small_letters_and_refuses_unknown_codes():
    assert explain("bp104") == explain("BP104")
    with pytest.raises(KeyError):
        explain("BP999")


def test_codes_cannot_be_changed():
    with pytest.raises(TypeError):
        CODES["BP999"] = CODES["BP101"]


@pytest.mark.parametrize("room", ["schemas", "renderer", "reconciler", "ci"])
def test_every_code_used_in_the_house_is_explained(room):
    sources = [path for suffix in ("py", "json") for path in (HOUSE / room).rglob(f"*.{suffix}")]
    used = {code for path in sources for code in re.findall(r"\bBP[0-9]{3}\b", path.read_text("utf-8"))}
    assert used <= set(CODES)
